"""Arrays as others store them: names, layouts, types and splits. Unclear ones are refused with what was found."""

import gzip
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.preprocess import Preprocessing
from models.readers.arrays import read_arrays
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.readers.found import Found
from tests.models.readers.pictures import noise, write

X = noise(40, 12, 10)
Y = np.arange(40) % 4
RGB = noise(40, 12, 10, 3, seed=1)
Array = np.ndarray[Any, np.dtype[Any]]


def read(path: Path, /, **arrays: Any) -> Found:
    return read_as(path, FolderOptions(), **arrays)


def read_as(path: Path, options: FolderOptions, /, **arrays: Any) -> Found:
    np.savez(path, **arrays)
    return read_arrays(path, options)


class TestNames:
    @pytest.mark.parametrize("name", ["images", "x", "X", "data", "imgs", "faces", "arr_0"])
    def test_one_array_of_pictures(self, npz: Path, name: str) -> None:
        np.testing.assert_array_equal(read(npz, **{name: X}).x[:, 0], X)

    @pytest.mark.parametrize(
        "names",
        [
            ("x_train", "y_train", "x_test", "y_test"),
            ("X_train", "Y_train", "X_test", "Y_test"),
            ("train_images", "train_labels", "test_images", "test_labels"),
            ("trainX", "trainY", "testX", "testY"),
            ("Xtrain", "ytrain", "Xtest", "ytest"),
            ("images_train", "targets_train", "images_test", "targets_test"),
        ],
    )
    def test_splits_of_keras_medmnist_and_others(self, npz: Path, names: tuple[str, ...]) -> None:
        parts = (X[:30], Y[:30], X[30:], Y[30:])
        found = read(npz, **dict(zip(names, parts, strict=True)))
        assert found.splits == ["train"] * 30 + ["test"] * 10
        np.testing.assert_array_equal(found.x[:, 0], X)
        np.testing.assert_array_equal(found.labels, Y)

    def test_validation_and_a_lone_training_split(self, npz: Path) -> None:
        found = read(npz, train_images=X[:20], val_images=X[20:25], test_images=X[25:])
        assert found.splits is not None
        assert [found.splits.count(split) for split in ("train", "validation", "test")] == [20, 5, 15]
        assert set(read(npz, x_train=X).splits or ()) == {"train"}

    def test_splits_as_text(self, npz: Path) -> None:
        words = ["train"] * 30 + ["Test"] * 10
        assert read(npz, images=X, split=np.array(words)).splits == [word.lower() for word in words]

    def test_others_are_named(self, npz: Path) -> None:
        found = read(npz, images=X, masks=X > 3, weight=np.ones(40))
        assert found.summary[-1] == "left out: the arrays masks bool (40, 12, 10), weight float64 (40,)"


class TestLayouts:
    @pytest.mark.parametrize(
        ("stored", "expected"),
        [
            (X[..., None], X[:, None]),
            (X[:, None], X[:, None]),
            (RGB, RGB.transpose(0, 3, 1, 2)),
            (RGB.transpose(0, 3, 1, 2), RGB.transpose(0, 3, 1, 2)),
            (np.asfortranarray(RGB), RGB.transpose(0, 3, 1, 2)),
            (X[:, :10].reshape(40, 100), X[:, None, :10]),
            (X.astype(">u2"), X[:, None]),
        ],
        ids=["NHW1", "N1HW", "NHWC", "NCHW", "Fortran", "flat", "big endian"],
    )
    def test_brought_to_one(self, npz: Path, stored: Array, expected: Array) -> None:
        np.testing.assert_array_equal(read(npz, images=stored).x, expected)

    def test_pictures_along_the_last_axis_if_labels_say_so(self, npz: Path) -> None:
        np.testing.assert_array_equal(read(npz, X=X.transpose(1, 2, 0), y=Y).x[:, 0], X)
        np.testing.assert_array_equal(read(npz, X=RGB.transpose(1, 2, 3, 0), y=Y[:, None]).x, RGB.transpose(0, 3, 1, 2))

    @pytest.mark.parametrize("axis", [1, 3])
    def test_grey_pixels_stored_in_colour(self, npz: Path, axis: int) -> None:
        stored = np.stack([np.where(X == 0, np.nan, X)] * 3, axis)
        found = read(npz, images=stored)
        np.testing.assert_array_equal(found.x[:, 0], X)
        assert found.summary[-1].startswith(
            "40 pictures are stored in colour but have grey pixels only; they are read as grey"
        )
        assert read_as(npz, FolderOptions(channels=3), images=stored).x.shape[1] == 3
        kept = FolderOptions(model=Preprocessing(3, 6, 5))  # A model gets what it was trained on.
        assert read_as(npz, kept, images=stored).x.shape == (40, 3, 6, 5)
        stored[39].flat[0] = 3
        assert read(npz, images=stored).x.shape[1] == 3

    def test_transparency(self, npz: Path) -> None:
        rgba = np.concatenate([RGB, np.full((40, 12, 10, 1), 255, np.uint8)], 3)
        np.testing.assert_array_equal(read(npz, images=rgba).x, RGB.transpose(0, 3, 1, 2))

    def test_a_size_and_channels_that_are_asked_for(self, npz: Path) -> None:
        found = read_as(npz, FolderOptions(size=(6, 5), channels=3), images=X)
        assert found.x.shape == (40, 3, 6, 5)
        assert "all are resized to 6 x 5" in found.summary[1]

    @pytest.mark.parametrize(
        ("arrays", "said"),
        [
            ({"images": X[:, :10].transpose(1, 2, 0)}, r"may be 40 pictures of 10 x 10 \(H, W, N\), or 10 of 10 x 40"),
            ({"images": RGB[0]}, "looks like one picture in colour"),
            ({"images": noise(12, 10, 3, 40)}, r"looks like \(H, W, C, N\)"),
            ({"images": noise(40, 12, 10, 2)}, "no axis has 1 .grey., 3 .RGB. or 4 .RGBA. channels"),
            ({"images": noise(40, 3, 20, 3)}, r"may be \(N, H, W, C\) or \(N, C, H, W\)"),
            ({"x": noise(40, 3072)}, "neither pictures nor rows of square grey pictures"),
            ({"mu": np.zeros((40, 16))}, "no array of pictures; it has mu float64"),
            ({"a": X, "b": X}, "several arrays that may be pictures; it has a uint8"),
            ({"images": np.array([X[0], None], object)}, "'images' of Python objects"),
        ],
    )
    def test_unclear_ones_are_refused(self, npz: Path, arrays: dict[str, Any], said: str) -> None:
        with pytest.raises(DataError, match=said):
            read(npz, **arrays)


class TestFiles:
    @pytest.mark.parametrize("packed", [False, True])
    def test_idx_with_its_labels(self, tmp_path: Path, packed: bool) -> None:
        end, write_bytes = (".gz", gzip.compress) if packed else ("", bytes)
        for name, array in (("images-idx3", X), ("labels-idx1", Y.astype(np.uint8))):
            content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
            (tmp_path / f"train-{name}-ubyte{end}").write_bytes(write_bytes(content))
        found = read_arrays(tmp_path / f"train-images-idx3-ubyte{end}", FolderOptions())
        np.testing.assert_array_equal(found.x[:, 0], X)
        np.testing.assert_array_equal(found.labels, Y)

    def test_npy(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", X)
        np.testing.assert_array_equal(read_arrays(tmp_path / "a.npy", FolderOptions()).x[:, 0], X)

    def test_an_archive_of_pictures(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(write(tmp_path / "a.png"), "a.png")
        with pytest.raises(
            DataError, match="an archive of picture files; unpack it, and give its folder instead; for training as folder:PATH"
        ):
            read_arrays(tmp_path / "a.zip", FolderOptions())

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"hello",
            b"\0\0",
            b"\0\0\x08",
            b"\0\0\x08\x03\0\0\0\x01",
            b"\x93NUMPY",
            b"\x93NUMPY\1\0\2\0((",
            b"\x1f\x8bxx",
            b"PK",
        ],
    )
    def test_broken(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npz: not a complete npz, npy or IDX file"):
            read_arrays(tmp_path / "a.npz", FolderOptions())


def test_parts_of_different_types_are_refused(npz: Path) -> None:
    """One scale for both would make one of them black."""
    with pytest.raises(DataError, match="different types; convert them to one"):
        read(npz, x_train=(X / 255).astype(np.float32), x_test=X)
