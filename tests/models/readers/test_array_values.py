"""The values of arrays: the scale and the ink of all pictures, and the same pixels in training, evaluation and serving."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.preprocess import Invert, Preprocessing, preprocess
from models.readers.arrays import open_pictures
from models.readers.folder import FolderOptions
from models.readers.values import ValueOptions
from tests.models.readers.pictures import noise
from tests.models.readers.test_arrays import Array, X, read, read_as


class TestValues:
    @pytest.mark.parametrize(
        ("stored", "stored_range"),
        [
            (X.astype(np.float32), (0, 255)),
            (X / 255, (0, 1)),
            (X / 127.5 - 1, (-1, 1)),
            (X.astype(np.int64), (0, 255)),
            (X.astype(np.uint16), (0, 255)),
            (X.astype(np.uint16) * 16, (0, 4080)),
        ],
        ids=["floats of bytes", "0 to 1", "-1 to 1", "int64", "uint16", "12 bits"],
    )
    def test_the_scale_is_recognised(self, npz: Path, stored: Array, stored_range: tuple[float, float] | None) -> None:
        found = read(npz, images=stored)
        np.testing.assert_array_equal(found.x[:, 0], X)
        assert found.preprocessing is not None
        assert found.preprocessing.range == stored_range
        assert any(line.startswith("values: ") for line in found.summary)

    @pytest.mark.parametrize("kind", [bool, np.int64, np.float32])
    def test_zeros_and_ones(self, npz: Path, kind: type[Any]) -> None:
        np.testing.assert_array_equal(read(npz, images=(X > 99).astype(kind)).x[:, 0], 255 * (X > 99))

    def test_the_range_of_the_user(self, npz: Path) -> None:
        found = read_as(npz, FolderOptions(values=ValueOptions(range=(0.0, 510.0))), images=X.astype(np.float64) * 2)
        np.testing.assert_array_equal(found.x[:, 0], X)

    def test_numbers_that_are_none(self, npz: Path) -> None:
        found = read(npz, images=np.where(X == 0, np.nan, X / 255))
        np.testing.assert_array_equal(found.x[:, 0], X)
        assert any("not finite numbers" in line for line in found.summary)

    def test_pictures_of_one_value(self, npz: Path) -> None:
        assert "warning: all pixels of all pictures are equal" in read(npz, images=X * 0).summary

    def test_bytes_of_zeros_and_ones_stay_as_they_are(self, npz: Path) -> None:
        """Files of such pictures are not stretched either, when the service reads them."""
        masks = (X > 99).astype(np.uint8)
        for values in (ValueOptions(), ValueOptions(range=(0, 1))):
            found = read_as(npz, FolderOptions(values=values), images=masks)
            np.testing.assert_array_equal(found.x[:, 0], masks)
            assert any("multiply them by 255" in line for line in found.summary)

    def test_a_few_values_above_1(self, npz: Path) -> None:
        values = X / 255
        values[3, 0, :2] = 1.29, -0.02
        found = read(npz, images=values)
        assert found.preprocessing is not None
        assert found.preprocessing.range == (0, 1)
        assert "values: -0.02 to 1.29; 0 to 1 become 0 to 255, and the others (at most 0.1 %) are clipped" in found.summary
        found = read(npz, images=X / 255 * 1.29)
        assert found.preprocessing is not None
        assert found.preprocessing.range == (0, 1.29)

    @pytest.mark.parametrize(
        ("values", "wanted", "most"), [(X / 255 / 255, None, 1), (X / 25600, None, 3), (X / 255, (0, 255), 1)]
    )
    def test_floats_that_become_nearly_black(
        self, npz: Path, values: Array, wanted: tuple[float, float] | None, most: int
    ) -> None:
        found = read_as(npz, FolderOptions(values=ValueOptions(wanted)), images=values)
        assert found.x.max() == most
        assert found.summary[-1].startswith(f"warning: the largest value is {most} of 255, so all pictures are nearly black")

    def test_the_range_of_another_model(self, npz: Path) -> None:
        values = ValueOptions((-1, 1.53), range_source="the range of --init-from runs/old")
        found = read_as(npz, FolderOptions(values=values), images=X.astype(np.uint16) * 16)
        said = "warning: 40 of 40 pictures are partly outside of the range of --init-from runs/old, -1 to 1.53, and clipped; "
        assert any(line.startswith(said) for line in found.summary)

    def test_a_model_without_a_range_is_evaluated_as_it_is_served(self, npz: Path) -> None:
        found = read_as(npz, FolderOptions(model=Preprocessing(1, 12, 10)), images=X.astype(np.uint16) * 16)
        np.testing.assert_array_equal(found.x[:, 0], np.rint(X / 257 * 16))
        assert any("nearly black" in line for line in found.summary)


class TestInk:
    @pytest.mark.parametrize("invert", ["no", "yes", "auto"])
    @pytest.mark.parametrize("size", [(8, 8), (12, 8)])
    @pytest.mark.parametrize("kind", ["dark on light", "light on dark", "some transparent"])
    def test_training_evaluation_and_files_prepare_pictures_alike(
        self, npz: Path, kind: str, size: tuple[int, int], invert: Invert
    ) -> None:
        """What is stored describes what was done, also where pictures are padded, blended or inverted."""
        drawings = np.zeros((12, 8, 8), np.uint8)
        drawings[:, 2:6, 3:5] = noise(12, 4, 2)
        if kind != "light on dark":
            drawings = 255 - drawings
        drawings[0] = 255 - drawings[0]
        if kind == "some transparent":
            colors = np.stack([drawings, drawings // 2, drawings, np.full_like(drawings, 255)], 3)
            colors[8:, :4, :, 3] = 0
            drawings = colors
        options = FolderOptions(size=size, values=ValueOptions(invert=invert))
        found = read_as(npz, options, images=drawings)
        assert found.preprocessing is not None
        assert found.preprocessing.ink == ("light" if (kind == "light on dark") != (invert == "yes") else "dark")
        served = [preprocess(Image.fromarray(one), found.preprocessing) for one in drawings]
        np.testing.assert_array_equal(found.x, served)
        again = read_as(npz, FolderOptions(model=found.preprocessing), images=drawings)
        np.testing.assert_array_equal(again.x, found.x)
        if kind == "some transparent":
            assert any(line.startswith("4 of 12 pictures are partly transparent, and put on ") for line in found.summary)


def test_parts_of_different_scales_are_warned_of(npz: Path) -> None:
    found = read(npz, x_train=X.astype(np.float32), x_test=(X / 255).astype(np.float32))
    warning = (
        "warning: 40 pictures with values up to 2 and 40 with values above 128 get the same range; bring them to one scale"
    )
    assert warning in found.summary
    mixed = np.where(np.arange(40)[:, None, None] % 2, X / 255, X)
    assert warning.replace("40", "20") in read(npz, images=mixed).summary


def test_a_served_model_without_a_range_reads_every_file_with_one_scale(npz: Path) -> None:
    for factor in (16, 200):
        values = (X.astype(np.uint16) * factor).reshape(40, 12, 10)
        np.savez(npz, images=values)
        with open_pictures(npz) as pictures:
            scale = pictures.scale(None, served=True)
        assert scale.range == (0, 65535)
        assert ("warning: values reach only" in " ".join(scale.lines)) == (factor == 16)
