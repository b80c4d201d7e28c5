"""Data that people bring: their splits, names given to --data, and what is said about them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data import Items, class_names, hold_out, load_data
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from tests.models.readers.pictures import many, noise, write, write_all

X = noise(40, 12, 10)


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """A folder with train, test and val, each with two classes."""
    names = [name for split, count in (("train", 8), ("test", 3), ("val", 2)) for label in ("cat", "dog")
             for name in many(f"{split}/{label}", count)]  # fmt: skip
    write_all(tmp_path / "set", *names)
    return tmp_path / "set"


def test_splits_of_folders_are_kept_apart(splits: Path) -> None:
    found = load_data(f"folder:{splits}", Path("unused"))
    assert found.validation is not None
    assert (len(found.train), len(found.test), len(found.validation)) == (16, 6, 4)
    greys = [set(part.x[:, 0, 0, 0].tolist()) for part in (found.test, found.train, found.validation)]
    assert greys == [set(range(16, 22)), set(range(16)), set(range(22, 26))]
    assert found.classes == ["cat", "dog"]
    assert found.train.labels is not None
    assert found.train.labels.tolist() == [0] * 8 + [1] * 8
    assert found.summary[1] == "splits: train 16, test 6, validation 4 (as the data set has them)"
    assert found.preprocessing is not None
    assert found.preprocessing.shape == tuple(found.train.x.shape[1:])


def test_training_and_validation_alone_get_a_test_split(splits: Path) -> None:
    (splits / "test").rename(splits.parent / "away")
    found = load_data(f"folder:{splits}", Path("unused"))
    assert found.validation is not None
    assert (len(found.train), len(found.test), len(found.validation)) == (15, 1, 4)


def test_a_test_split_alone_is_never_trained_on(splits: Path) -> None:
    for name in ("train", "val"):
        (splits / name).rename(splits.parent / name)
    with pytest.raises(DataError, match="has only a test split, so there is nothing to train on"):
        load_data(f"folder:{splits}", Path("unused"))
    (splits.parent / "val").rename(splits / "val")
    with pytest.raises(DataError, match="has only a test split and a validation split, so there is nothing to train on"):
        load_data(f"folder:{splits}", Path("unused"))


def test_copies_are_counted_in_train_and_warned_of_elsewhere(splits: Path) -> None:
    assert not any(line.startswith("copies") for line in load_data(f"folder:{splits}", Path("unused")).summary)
    shutil.copy(splits / "train/cat/00.png", splits / "train/cat/copy.png")
    shutil.copy(splits / "train/cat/00.png", splits / "test/dog/copy.png")
    copies, warning = load_data(f"folder:{splits}", Path("unused")).summary[-2:]
    assert copies == "copies: 1 of 17 training pictures is equal to an earlier one"
    assert warning.startswith("warning: 1 of 7 test pictures is also in train, so the numbers of that split look too good")


def test_a_split_that_cannot_be_read_is_refused(splits: Path) -> None:
    for path in (splits / "val").rglob("*.png"):
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"set: the folder val/ is a split, but nothing in it can be read \(files .* 00.heic;"):
        load_data(f"folder:{splits}", Path("unused"))
    for path in (splits / "val").rglob("*.heic"):
        path.with_suffix(".png").write_text("not a picture")
    options = FolderOptions(max_corrupt=0.5)
    with pytest.raises(DataError, match=r"nothing in the validation split can be read \(.*val/cat/00.png: not a picture .*;"):
        load_data(f"folder:{splits}", Path("unused"), options)
    write(splits / "val" / "dog" / "00.png")
    found = load_data(f"folder:{splits}", Path("unused"), options)
    assert found.validation is not None
    assert len(found.validation) == 1


def test_a_class_that_cannot_be_read(tmp_path: Path) -> None:
    write_all(tmp_path, *many("cat", 12), *many("dog", 12), "cow/1.png")
    (tmp_path / "cow" / "1.png").write_text("not a picture")
    summary = load_data(f"folder:{tmp_path}", Path("unused")).summary
    assert summary[-1] == "warning: no picture of 1 class can be read: cow"


def test_splits_of_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_train=X[:30], y_train=np.arange(30), x_test=X[30:], y_test=np.arange(30, 40))
    found = load_data(f"npz:{tmp_path / 'x.npz'}", Path("unused"))
    np.testing.assert_array_equal(found.train.x[:, 0], X[:30])
    np.testing.assert_array_equal(found.test.x[:, 0], X[30:])
    assert found.test.labels is not None
    assert found.test.labels.tolist() == list(range(30, 40))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{}/set", "unknown data set .*; it is a folder: use --data folder:{}/set"),
        ("{}/x.npz", "unknown data set .*; it is a file: use --data npz:{}/x.npz"),
        ("{}/set/train/cat/00.png", "use --data folder:{}/set/train/cat for the folder of this picture"),
        ("{}/nowhere", "there is no file or folder {}/nowhere either"),
        ("folder:{}/x.npz", "x.npz is a file, not a folder; use --data npz:{}/x.npz"),
        ("folder:{}/x.zip", "is a file, not a folder; unpack it, and use --data folder:PATH"),
        ("npz:{}/set", "set is a folder, not a file of arrays; use --data folder:{}/set"),
    ],
)
def test_what_to_give_instead(splits: Path, given: str, said: str) -> None:
    root = splits.parent
    np.savez(root / "x.npz", images=X)
    (root / "x.zip").touch()
    with pytest.raises(DataError, match=said.format(root)):
        load_data(given.format(root), Path("unused"))


def test_the_home_directory(splits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(splits.parent))
    assert len(load_data("folder:~/set", Path("unused")).train) == 16


def test_holding_out_in_place_gives_the_same_pictures() -> None:
    pictures = Items(torch.from_numpy(X[:, None]), torch.arange(40), {"hue": torch.arange(40) % 3})
    copies = hold_out(pictures, 0.2, seed=3)
    own = Items(pictures.x.clone(), pictures.labels, pictures.factors)
    for a, b in zip(hold_out(own, 0.2, seed=3, in_place=True), copies, strict=True):
        assert torch.equal(a.x, b.x)
        assert a.labels is not None
        assert b.labels is not None
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.factors["hue"], b.factors["hue"])


def test_class_names_of_a_checkpoint() -> None:
    assert class_names({"name": "folder:x", "classes": ["cat", "dog"]}) == ["cat", "dog"]
    assert class_names({"name": "fashion-mnist", "classes": [3]}) == class_names({"name": "fashion-mnist"})
    assert class_names({"name": ["a"]}) is None


def test_sizes_of_a_folder(tmp_path: Path) -> None:
    write_all(tmp_path, *many(".", 12))
    for i in range(3):
        write(tmp_path / f"other{i}.png", size=(12, 8) if i else (9, 9))
    summary = load_data(f"folder:{tmp_path}", Path("unused")).summary
    assert summary[2] == (
        "sizes (height x width): 4 x 6 (12), 8 x 12 (2), 9 x 9 (1); 3 of 15 are resized to 4 x 6, 1 of them cut "
        "(--fit pad keeps the whole picture)"
    )
    for i in range(12):
        write(tmp_path / f"more{i}.png", size=(20 + i, 20))
    with pytest.raises(DataError, match=r"15 sizes, and none is that of more than half of them; .*4 x 6 \(12\).*--size 8x8"):
        load_data(f"folder:{tmp_path}", Path("unused"))
