"""Splits and classes from the names of folders."""

from pathlib import Path

import pytest

from models.readers.download import DataError
from models.readers.layout import arrange, class_lines
from models.readers.left_out import LeftOut
from tests.models.readers.pictures import many

Answer = dict[str, tuple[str | None, str | None]]


def arranged(*folders: str, left_out: LeftOut | None = None) -> Answer:
    """Split and label of each folder's files."""
    paths = [Path(name) for folder in folders for name in many(folder, 2)]
    layout = arrange(Path("set"), paths, left_out)
    return {
        path.parent.as_posix(): (split, label) for path, split, label in zip(paths, layout.splits, layout.labels, strict=True)
    }


@pytest.mark.parametrize("names", [("train", "test", "val"), ("Train", "TEST", "valid"), ("training_set", "TestSet", "dev")])
def test_a_first_level_of_splits_has_the_classes_below(names: tuple[str, str, str]) -> None:
    expected = [("train", "train"), ("test", "test"), ("validation", "val")]
    found = arranged(*(f"{name}/{label}" for name in names for label in ("cat", "dog/old")))
    for name, (split, _) in zip(names, expected, strict=True):
        assert found[f"{name}/cat"] == (split, "cat")
        assert found[f"{name}/dog/old"] == (split, "dog")


def test_any_other_first_level_has_classes() -> None:
    assert arranged("cat", "dog/old") == {"cat": (None, "cat"), "dog/old": (None, "dog")}


def test_a_folder_around_everything_says_nothing() -> None:
    assert arranged("photos/set/cat", "photos/set/dog") == {
        "photos/set/cat": (None, "cat"), "photos/set/dog": (None, "dog")
    }  # fmt: skip
    assert arranged("data/train", "data/test") == {"data/train": ("train", None), "data/test": ("test", None)}


def test_splits_below_the_classes() -> None:
    found = arranged("cat/train", "cat/test", "dog/train")
    assert found == {"cat/train": ("train", "cat"), "cat/test": ("test", "cat"), "dog/train": ("train", "dog")}


def test_splits_without_classes() -> None:
    assert arranged("train", "val") == {"train": ("train", None), "val": ("validation", None)}


def test_folders_in_folders_of_the_same_name_as_archives_have_them() -> None:
    found = arranged("data/data/train/train/cat", "data/data/train/train/dog", "data/data/test/test/cat")
    assert list(found.values()) == [("train", "cat"), ("train", "dog"), ("test", "cat")]
    paths = [Path("train/train/1.png"), Path("test/test/2.png")]
    assert arrange(Path("set"), paths).remarks == [
        "folders with the name of the folder around them say nothing: test/test/, train/train/"
    ]
    assert arranged("train/train", "train/test", "test/train")["train/train"] == ("train", "train")


def test_a_class_that_is_called_train() -> None:
    assert arranged("car", "train")["train"] == (None, "train")


def test_one_class_and_pictures_beside_classes_are_no_labels() -> None:
    assert arranged("cat") == {"cat": (None, None)}
    layout = arrange(Path("set"), [Path("1.png"), Path("cat/2.png"), Path("dog/3.png")])
    assert layout.labels == [None] * 3
    assert layout.remarks == ["no classes are used: 1 of 3 pictures lie in no folder of a class (1.png)"]


def test_pictures_beside_splits_are_left_out_with_their_names() -> None:
    left_out = LeftOut()
    layout = arrange(Path("set"), [Path("cover.png"), Path("train/1.png"), Path("test/2.png")], left_out)
    assert layout.kept == [False, True, True]
    assert left_out.lines() == ["left out: pictures outside of the splits: 1 (cover.png)"]


def test_classes_that_not_every_split_has() -> None:
    paths = [Path(name) for name in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/cow/1.png")]
    assert arrange(Path("set"), paths).remarks == ["warning: not every split has the classes cow, dog"]


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("eval", "train"), "splits are taken as classes: eval/, train/; for splits, put all"),
        (
            ("trainImages", "test-set", "val2017", "hold out"),
            "taken as classes: hold out/, test-set/, trainImages/ and 1 more",
        ),
        (("cats/train", "cats/test", "dogs"), "splits are taken as plain folders: cats/test/, cats/train/"),
        (("cats/test", "dogs/test"), "splits are taken as plain folders: cats/test/, dogs/test/"),
        (
            ("cats/train", "cats/test", "dogs/train", "dogs/test"),
            "the folders test/, train/ within the classes are read as splits",
        ),
        (("images", "masks"), "masks or labels beside images are taken as classes: masks/"),
        (("train/images", "train/labels"), "masks or labels beside images are taken as classes: train/labels/"),
        (("1/images", "1/masks", "2/images", "2/masks"), "beside images are read as pictures: 1/masks/, 2/masks/"),
        (("seg_train", "seg_test", "seg_pred"), "taken as classes: seg_test/, seg_train/; for"),
        (("trainA", "trainB", "testA", "testB"), "taken as classes: testA/, testB/, trainA/ and 1 more"),
        (("train_dir", "valid_dir"), "taken as classes: train_dir/, valid_dir/"),
        (("training", "PublicTest", "PrivateTest"), "taken as classes: PrivateTest/, PublicTest/, training/"),
        (
            ("bounding_box_train", "bounding_box_test", "gt_bbox", "query"),
            "taken as classes: bounding_box_test/, bounding_box_",
        ),
        (("tr", "te"), "taken as classes: te/, tr/"),
        (("de", "en", "te", "tr"), None),
        (("bullet train", "test tube", "with_mask", "without_mask"), None),
    ],
)
def test_names_that_look_like_splits_or_annotations(folders: tuple[str, ...], said: str | None) -> None:
    remarks = arrange(Path("set"), [Path(name) for folder in folders for name in many(folder, 2)]).remarks
    assert [said in remark for remark in remarks if said] == [True] if said else not remarks


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("test", "cat", "dog"), "test/ beside cat/, dog/: it is not clear"),
        (("train", "test", "extra"), "test/, train/ beside extra/"),
    ],
)
def test_what_could_be_both_is_refused(folders: tuple[str, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        arranged(*folders)


def test_pictures_beside_a_test_split_alone_are_refused() -> None:
    with pytest.raises(DataError, match=r"1 picture beside the folder test/"):
        arrange(Path("set"), [Path("1.png"), Path("test/2.png")])


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a", "A", "a b"] * 4, []),
        (
            ["a", "", " "] * 4,
            ["the class of 8 pictures has an empty name", "are different classes: '', ' '; give"],
        ),
        (["caf\u00e9", "cafe\u0301", "a ", "a"] * 4, [r"equal are different classes: 'a', 'a '", r"'cafe\u0301', 'caf\xe9'"]),
        ([str(i) for i in range(12)], ["each picture has a label of its own"]),
        (["a", "b", "c"], []),
    ],
)
def test_names_of_classes_that_are_hardly_meant(labels: list[str], said: list[str]) -> None:
    lines = class_lines(labels)[1:]
    assert len(lines) == len(said)
    assert all(words in line for words, line in zip(said, lines, strict=True))
