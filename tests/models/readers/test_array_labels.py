"""Labels, splits and factors of arrays: numbers, one-hot rows or text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.readers.arrays import read_arrays
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.readers.found import Found
from tests.models.readers.pictures import noise

Array = NDArray[Any]
X = noise(40, 6, 5)
Y = np.arange(40) % 4


def read(path: Path, /, **arrays: Any) -> Found:
    np.savez(path, **arrays)
    return read_arrays(path, FolderOptions())


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return tmp_path / "x.npz"


@pytest.mark.parametrize(
    "labels",
    [Y[:, None], Y.astype(np.float32), np.eye(4)[Y], np.eye(4, dtype=bool)[Y], Y.astype(">i2")],
    ids=["column", "floats", "one-hot", "one-hot bool", "big endian"],
)
def test_numbers(npz: Path, labels: Array) -> None:
    found = read(npz, images=X, labels=labels)
    np.testing.assert_array_equal(found.labels, Y)
    assert "4 labels: 0: 10, 1: 10, 2: 10, 3: 10" in found.summary


@pytest.mark.parametrize("kind", ["U", "S"])
def test_text(npz: Path, kind: str) -> None:
    found = read(npz, images=X, y=np.array(["ant", "bee", "cat", "dog"])[Y].astype(kind))
    np.testing.assert_array_equal(found.labels, Y)
    assert found.classes == ["ant", "bee", "cat", "dog"]


def test_halves_of_surrogate_pairs(npz: Path) -> None:
    found = read(npz, images=X, y=np.array(["\ud800", "b"] * 20))
    assert found.classes == ["\\ud800", "b"]
    assert "2 classes: \\ud800 20, b 20" in found.summary


def test_factors_that_are_too_large(npz: Path) -> None:
    found = read(npz, images=X, hue=np.full(40, 2**63, np.uint64), size=Y)
    assert list(found.factors) == ["size"]
    assert found.summary[-1] == "left out: the arrays hue uint64 (40,)"


def test_several_labels_of_each_picture_are_left_out(npz: Path) -> None:
    found = read(npz, images=X, labels=noise(40, 14) % 2)
    assert found.labels is None
    assert "left out: labels uint8 (40, 14), because each picture has several labels" in found.summary


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (Y[1:], "; these are 39 labels for 40 pictures"),
        (Y[0], ""),
        (Y / 4, r"; the first that is none is 0\.25, number 1 counted from 0"),
        (np.array(["a"] * 40, object), ""),
        (np.zeros((40, 2), "U1"), ""),
        (np.where(Y == 2, np.inf, Y), "; the first that is none is inf, number 2 "),
        (np.where(Y == 3, np.nan, Y), "; the first that is none is nan, number 3 "),
        (Y + 1e30, r"; the first that is none is 1e\+30, number 0 "),
        (np.full(40, 2**63, np.uint64), ""),
    ],
)
def test_what_are_no_labels(npz: Path, labels: Array, why: str) -> None:
    wrong = r"labels .* should be whole numbers below 2.63, text or one-hot rows for 40 pictures"
    with pytest.raises(DataError, match=wrong + why):
        read(npz, images=X, labels=labels)


def test_one_for_each_picture(npz: Path) -> None:
    said = "warning: each picture has a label of its own, so the labels are no classes"
    assert said in read(npz, images=X, labels=np.arange(40)).summary


def test_numbers_of_splits_are_not_guessed(npz: Path) -> None:
    found = read(npz, images=X, split=Y % 2)
    assert found.splits is None
    assert any(line.startswith("warning: split int64 (40,) is not read as splits; give") for line in found.summary)
