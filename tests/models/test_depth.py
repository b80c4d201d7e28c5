"""Greys with more than 8 bits: one range for all pictures, and notes where values are outside of it or fill little of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.depth import Note, extremes
from models.preprocess import STRIP_PIXELS, Pixels, Preprocessing, preprocess

THE_RANGE = "the range of the model's pictures"


def converted(values: NDArray[Any], range: tuple[float, float] | None = None) -> tuple[Pixels, list[Note]]:
    notes: list[Note] = []
    height, width = values.shape
    return preprocess(Image.fromarray(values), Preprocessing(1, height, width, range=range), notes)[0], notes


@pytest.mark.parametrize("dtype", ["<u2", "<i4", "<f4"])
def test_a_range_becomes_0_to_255(dtype: str) -> None:
    values = np.array([[100, 140, 180, 300]], dtype)
    pixels, notes = converted(values, (100, 300))
    assert (pixels.tolist(), notes) == ([[0, 51, 102, 255]], [])


def test_values_outside_are_clipped_and_counted() -> None:
    pixels, notes = converted(np.array([[0, 100, 300, 5000]], np.uint16), (100, 300))
    assert pixels.tolist() == [[0, 0, 255, 255]]
    detail = f"values reach from 0 to 5000: 2 of 4 pixels (50.00 %) are clipped to 100 to 300, {THE_RANGE}"
    assert notes == [("clipped", detail)]


def test_pictures_with_8_bits_are_not_touched() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels, notes = converted(values, (0, 4095))
    assert (pixels.tolist(), notes) == (values.tolist(), [])


def test_the_same_floats_on_another_scale_are_nearly_the_same() -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    one, more = (converted(values * np.float32(factor), (0, 1))[0].astype(int) for factor in (1, 1.02))
    assert np.abs(one - more).max() <= 6


def test_nan_is_black_and_infinity_is_clipped() -> None:
    pixels, notes = converted(np.array([[np.nan, -1, 1, np.inf, -np.inf]], np.float32), (-1, 1))
    assert ("clipped", "1 of 5 pixels (20.00 %) are NaN and become black") in notes
    assert pixels.tolist() == [[0, 0, 255, 255, 0]]
    assert "2 of 5 pixels" in notes[0][1]


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        (
            np.array([[9, 4095]], np.uint16),
            "values reach only 4095 of 65535; scale the picture to 0 to 65535, or use a model that was trained with --range",
        ),
        (
            np.array([[0, 2.5]], np.float32),
            "values reach only 2.5 of 255; scale the picture to 0 to 255, or use a model that was trained with --range",
        ),
        (
            np.array([[0, 0.125]], np.float32),
            "values reach only 0.125 of 1; scale the picture to 0 to 1, or use a model that was trained with --range",
        ),
    ],
)
def test_values_that_fill_a_sliver_without_a_range(values: NDArray[Any], detail: str) -> None:
    assert converted(values)[1] == [("low_range", detail)]


@pytest.mark.parametrize("values", [np.array([[0, 40000]], np.uint16), np.array([[0, 0.5]], "f"), np.array([[0, 99]], "f")])
def test_usual_values_have_no_notes(values: NDArray[Any]) -> None:
    assert converted(values)[1] == []


def test_floats_slightly_above_one_are_clipped_not_taken_for_bytes() -> None:
    values = np.array([[0, 0.5, 1.02]], np.float32)
    pixels, notes = converted(values)
    assert pixels.tolist() == [[0, 128, 255]]
    assert [code for code, _ in notes] == ["clipped"]


def test_large_pictures_are_looked_at_whole() -> None:
    values = np.zeros((300, 300), np.uint16)
    assert values.size > STRIP_PIXELS
    values[0, 0], values[299, 299] = 7, 9000
    found = f"values reach from 0 to 9000: 1 of 90000 pixels (0.00 %) are clipped to 0 to 100, {THE_RANGE}"
    assert converted(values, (0, 100))[1] == [("clipped", found)]


def test_extremes_of_nothing() -> None:
    assert extremes([]) == extremes([np.array([np.nan])]) == (0.0, 0.0)


@pytest.mark.parametrize("bad", [[1, 1], [2, 1], [0], "01", [0, float("inf")], [0, True], [None, 1], [0, 5e-324]])
def test_ranges_that_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="range must be two numbers"):
        Preprocessing(1, 8, 8, range=bad)


def test_a_range_out_of_json_is_a_tuple() -> None:
    assert Preprocessing(1, 8, 8, range=[0, 4095]).range == (0.0, 4095.0)  # type: ignore[arg-type]


def test_twelve_bits_of_an_x_ray(tmp_path: Path) -> None:
    values = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        pixels = preprocess(image, Preprocessing(1, 8, 8, range=(0, 4095)))
    assert (pixels.min(), pixels.max()) == (0, 255)
