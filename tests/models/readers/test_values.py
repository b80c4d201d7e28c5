"""One range, one background and one ink for a whole set of files."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.preprocess import Preprocessing, preprocess
from models.readers.arrays import read_arrays
from models.readers.folder import FolderOptions, read_folder
from models.readers.values import ValueOptions, measure

SPEC = Preprocessing(1, 8, 8)


def saved(directory: Path, name: str, values: NDArray[Any] | Image.Image) -> Path:
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(directory / name)
    return directory / name


def stroke(background: tuple[int, ...] | int, ink: tuple[int, ...] | int, mode: str) -> Image.Image:
    image = Image.new(mode, (8, 8), background)
    image.paste(ink, (3, 2, 5, 6))
    return image


def deep(directory: Path, most: list[int]) -> list[Path]:
    return [
        saved(directory, f"{i}.png", np.linspace(10, top, 64).astype(np.uint16).reshape(8, 8)) for i, top in enumerate(most)
    ]


def test_the_range_is_that_of_all_pictures(tmp_path: Path) -> None:
    spec, lines = measure(deep(tmp_path, [4000, 4095, 3000]), SPEC, ValueOptions())
    assert spec.range == (10, 4095)
    assert lines == ["values: 10 to 4095 in pictures with more than 8 bits (3 of 3) become 0 to 255"]


def test_outliers_do_not_stretch_the_range(tmp_path: Path) -> None:
    values = np.linspace(0, 1000, 4096).astype(np.uint16).reshape(64, 64)
    values[5, 5] = 65535
    spec, lines = measure([saved(tmp_path, "a.png", values)], SPEC, ValueOptions())
    assert spec.range is not None
    assert spec.range[1] < 1100
    assert "99.8 % of them are from" in lines[0]


def test_a_range_that_is_asked_for(tmp_path: Path) -> None:
    spec, lines = measure(deep(tmp_path, [4000, 9000]), SPEC, ValueOptions(range=(0, 4095)))
    assert spec.range == (0, 4095)
    assert lines[0].endswith("0 to 4095 (--range) become 0 to 255; 1 of 2 have values outside, which are clipped")


def test_floats_of_one_set_share_a_scale(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    files = [saved(tmp_path, "a.tif", values), saved(tmp_path, "b.tif", values * np.float32(1.02))]
    spec, _ = measure(files, SPEC, ValueOptions())
    assert spec.range == pytest.approx((0, 1.02))
    first, second = (preprocess(Image.open(file), spec).astype(int) for file in files)
    assert np.abs(first - second).max() <= 6


def test_what_cannot_be_right_gets_a_warning(tmp_path: Path) -> None:
    flat = saved(tmp_path, "flat.png", np.full((8, 8), 900, np.uint16))
    spec, lines = measure([flat], SPEC, ValueOptions())
    assert (spec.range, lines[0][:31]) == (None, "warning: all values are 900 in ")
    plain = saved(tmp_path, "plain.png", stroke(0, 255, "L"))
    assert measure([plain], SPEC, ValueOptions(range=(0, 1)))[1] == [
        "warning: --range changes nothing, because no picture has more than 8 bits"
    ]
    floats = saved(tmp_path, "floats.tif", np.eye(8, dtype=np.float32))
    assert any("convert them to one kind" in line for line in measure([flat, floats], SPEC, ValueOptions())[1])


def test_plain_pictures_change_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    files = [saved(tmp_path, "a.png", stroke(0, 255, "L")), broken]
    assert measure(files, SPEC, ValueOptions()) == (SPEC, [])


def test_masks_of_zeros_and_ones_are_nearly_black(tmp_path: Path) -> None:
    warning = "warning: the largest value is {} of 255, so all pictures are nearly black; .* multiply them by {} "
    masks = np.eye(8, dtype=np.uint8)
    for most, factor in ((1, 255), (4, 63), (63, 4), (64, None)):
        saved(tmp_path, "a.png", masks * np.uint8(most))
        np.save(tmp_path / "a.npy", np.stack([masks] * 9) * np.uint8(most))
        for found in (read_folder(tmp_path, FolderOptions()), read_arrays(tmp_path / "a.npy", FolderOptions())):
            assert found.x.max() == most  # Bytes are never stretched, as the service never stretches them.
            said = re.search(warning.format(most, factor), "\n".join(found.summary))
            assert bool(said) == (factor is not None)
    options = FolderOptions(values=ValueOptions(range=(0, 4)))
    assert "warning: --range changes nothing, because the values are bytes" in read_arrays(tmp_path / "a.npy", options).summary


def test_transparent_pictures_get_the_background_of_opaque_ones(tmp_path: Path) -> None:
    opaque = [saved(tmp_path, f"{i}.png", stroke((255,) * 3, (0,) * 3, "RGB")) for i in range(3)]
    transparent = saved(tmp_path, "t.png", stroke((0, 0, 0, 0), (0, 0, 0, 255), "RGBA"))
    whole = saved(tmp_path, "w.png", stroke((255,) * 4, (0, 0, 0, 255), "RGBA"))  # has alpha, but nothing shines through
    spec, lines = measure([*opaque, transparent, whole], SPEC, ValueOptions())
    assert (spec.ink, spec.background) == ("dark", "auto")
    assert lines[0].startswith("1 of 5 pictures is partly transparent, and put on white, as the opaque ones are")
    assert lines[1] == "ink: 4 of 4 opaque pictures have light borders: dark on light"
    np.testing.assert_array_equal(preprocess(Image.open(transparent), spec), preprocess(Image.open(opaque[0]), spec))


def test_all_of_them_transparent(tmp_path: Path) -> None:
    files = [saved(tmp_path, "a.png", stroke((0, 0, 0, 0), (200, 30, 30, 255), "RGBA"))]
    spec, lines = measure(files, SPEC, ValueOptions())
    assert (spec, lines[0][:70]) == (SPEC, "1 of 1 picture is partly transparent, and put on black (drawings of a ")
    spec, _ = measure(files, SPEC, ValueOptions(background="white"))
    assert (spec.background, spec.ink) == ("white", "dark")


def test_pictures_that_become_blank_are_counted(tmp_path: Path) -> None:
    files = [saved(tmp_path, "a.png", stroke((0, 0, 0, 0), (0, 0, 0, 255), "RGBA"))]
    assert "warning: 1 of them becomes blank" in measure(files, SPEC, ValueOptions(background="black"))[1][0]


def test_inverted_sets(tmp_path: Path) -> None:
    opaque = saved(tmp_path, "o.png", stroke((255,) * 3, (0,) * 3, "RGB"))
    transparent = saved(tmp_path, "t.png", stroke((0, 0, 0, 0), (0, 0, 0, 255), "RGBA"))
    spec, lines = measure([opaque, transparent], SPEC, ValueOptions(invert="yes"))
    assert (spec.ink, spec.invert, spec.background) == ("light", "yes", "white")
    assert lines[-1] == "all pictures are inverted: light on dark from now on"
    first, second = (preprocess(Image.open(file), spec) for file in (opaque, transparent))
    np.testing.assert_array_equal(first, second)
    assert first[0, 0, 0] == 0


def test_pictures_that_contradict_the_others_are_inverted(tmp_path: Path) -> None:
    files = [saved(tmp_path, f"{i}.png", stroke(255 * (i == 0), 255 * (i != 0), "L")) for i in range(5)]
    spec, lines = measure(files, SPEC, ValueOptions(invert="auto"))
    assert (spec.ink, spec.invert) == ("light", "auto")
    assert lines == ["1 of 5 opaque pictures contradict the others' borders; such pictures are inverted"]
    np.testing.assert_array_equal(preprocess(Image.open(files[0]), spec), preprocess(Image.open(files[1]), spec))
