"""Pictures, animations, bytes and JSON numbers as they go out."""

import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.formats import pictures as codecs
from service.formats import png
from service.formats.json_values import json_bytes

Pixels = NDArray[np.uint8]

MANY = settings(max_examples=300, deadline=None, derandomize=True)


def pixels(channels: int = 1, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, channels), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_pixel(channels: int) -> None:
    data = png.write(pixels(channels))
    back = Image.open(io.BytesIO(data))
    assert (back.format, back.mode) == ("PNG", {1: "L", 3: "RGB"}[channels])
    np.testing.assert_array_equal(np.asarray(back).reshape(8, 8, channels), pixels(channels))
    assert data == png.write(pixels(channels))


def frames_of(data: bytes) -> tuple[list[Pixels], list[int], int]:
    """(frames as RGB, milliseconds of each, how often they are shown: 0 for ever)."""
    frames, durations = [], []
    with Image.open(io.BytesIO(data)) as animation:
        for i in range(getattr(animation, "n_frames", 1)):
            animation.seek(i)
            frames.append(np.asarray(animation.convert("RGB")))
            durations.append(animation.info["duration"])
        return frames, durations, animation.info["loop"]


@pytest.mark.parametrize(("kind", "channels"), [("gif", 1), ("webp", 1), ("webp", 3)])
def test_an_animation_keeps_every_pixel_of_every_frame(kind: Literal["gif", "webp"], channels: int) -> None:
    sent = [pixels(channels, seed) for seed in range(5)]
    frames, durations, loop = frames_of(codecs.animation(sent, kind))
    for frame, expected in zip(frames, sent, strict=True):
        np.testing.assert_array_equal(frame, np.broadcast_to(expected, (8, 8, 3)))
    assert (durations, loop) == ([100] * 5, 0)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_frames_that_are_equal_are_shown_as_long(kind: Literal["gif", "webp"]) -> None:
    _, durations, loop = frames_of(codecs.animation([pixels()] * 3 + [pixels(seed=1)] * 2, kind))
    assert (sum(durations), loop) == (500, 0)


@pytest.mark.parametrize(
    ("value", "byte"),
    [
        (0, 0),
        (1, 255),
        (-0.5, 0),
        (1.5, 255),
        (0.5, 128),
        (1 / 255, 1),
        (0.4999 / 255, 0),
        (0.5001 / 255, 1),
        (254.6 / 255, 255),
    ],
)
def test_pixels_are_rounded_to_the_nearest_byte(value: float, byte: int) -> None:
    assert codecs.to_uint8(np.full((1, 1), value, np.float32)).tolist() == [[byte]]


def test_every_byte_survives_the_way_through_floats() -> None:
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(codecs.to_uint8(every.astype(np.float32) / np.float32(255)), every)


NUMBERS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=5)


@MANY
@given(numbers=NUMBERS)
def test_json_numbers_are_the_shortest_that_read_back_the_same(numbers: Sequence[float]) -> None:
    array = np.array(numbers, np.float32)
    written = json_bytes({"mu": array})
    assert orjson.loads(written)["mu"] == [float(str(number)) for number in array]
    np.testing.assert_array_equal(np.array(orjson.loads(written)["mu"], np.float32), array)


def test_json_numbers_are_not_those_of_float64() -> None:
    assert json_bytes({"mu": np.array([[0.1, 1e-7]], np.float32)}) == b'{"mu":[[0.1,1e-7]]}'
