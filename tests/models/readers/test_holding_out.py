"""What is held out: any pictures, blocks of neighbours with gaps beside them, or whole groups."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data import hold_out, load_data
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.readers.holding_out import block_line, block_sizes, hold_out_rows
from tests.models.readers.pictures import many, write_all


def test_random_is_what_it_has_always_been() -> None:
    """Checkpoints that were trained before there was a choice find their validation pictures again."""
    order = torch.randperm(100, generator=torch.Generator().manual_seed(3))
    training, held_out = hold_out_rows(100, 5, "random", 3)
    assert held_out.tolist() == order[:5].tolist()
    assert training.tolist() == order[5:].tolist()


# A short video gets gaps that are long against its blocks: frames a few places apart are nearly the same picture.
SIZES = [
    (60_000, 3000, 10, 150), (10_000, 500, 10, 30), (2000, 100, 6, 30), (1967, 98, 6, 30), (600, 60, 2, 30), (250, 25, 2, 12),
    (120, 12, 2, 6), (50, 1, 1, 5), (20, 2, 2, 1), (3, 1, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize(("count", "wanted", "blocks", "gap"), SIZES)
def test_blocks_lie_apart_from_what_is_trained_on(count: int, wanted: int, blocks: int, gap: int) -> None:
    assert block_sizes(count, wanted) == (blocks, gap)
    for seed in range(5):
        training, held_out = hold_out_rows(count, wanted, "blocks", seed)
        assert len(held_out) == wanted
        together = torch.cat([training, held_out])
        assert len(together.unique()) == len(together)
        assert len(training) >= count - wanted - 2 * blocks * gap
        assert 1 <= 1 + int((held_out.diff() > 1).sum()) <= blocks
        if len(training):
            assert (training[:, None] - held_out).abs().min() == gap + 1


def test_gaps_of_validation_are_as_long_as_the_source_allows() -> None:
    place = torch.cat([torch.arange(100), torch.arange(200, 400)])
    assert block_sizes(300, 30) == (2, 15)
    assert block_sizes(300, 30, place) == (2, 20)
    assert block_sizes(300, 30, 1000 * place) == (2, 30)  # as for at most twice as many pictures
    training, held_out = hold_out_rows(300, 30, "blocks", 0, place)
    assert (place[training][:, None] - place[held_out]).abs().min() > 20


def test_the_line_of_blocks_has_their_gap_and_a_warning_if_it_is_short() -> None:
    line = "blocks: validation has 10 blocks of neighbours, 31 or more places from the nearest training picture"
    assert block_line("validation", 10_000, 500) == line
    short = block_line("test", 120, 12)
    assert short.startswith("warning: blocks: test has 2 blocks of neighbours, 7 or more places from the nearest training")
    assert short.endswith("its numbers may look too good; more frames make the gaps longer")


def test_blocks_follow_the_order_of_the_source() -> None:
    place = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    rows = hold_out_rows(400, 20, "blocks", 5, place)
    straight = hold_out_rows(400, 20, "blocks", 5)
    for own, expected in zip(rows, straight, strict=True):
        assert place[own].tolist() == expected.tolist()


def test_groups_are_never_divided() -> None:
    groups = torch.randint(0, 30, (500,), generator=torch.Generator().manual_seed(0))
    training, held_out = hold_out_rows(500, 50, "group", 0, None, groups)
    assert len(training) + len(held_out) == 500
    assert not torch.isin(groups[training], groups[held_out]).any()
    assert abs(len(held_out) - 50) <= int(groups.bincount().min())
    assert held_out.tolist() != hold_out_rows(500, 50, "group", 1, None, groups)[1].tolist()


@pytest.mark.parametrize("seed", range(8))
def test_a_group_that_is_too_large_is_passed_over(seed: int) -> None:
    groups = torch.tensor([0] * 200 + [i for i in (1, 2, 3, 4) for _ in range(25)])
    assert len(hold_out_rows(300, 30, "group", seed, None, groups)[1]) == 25
    assert len(hold_out_rows(300, 60, "group", seed, None, groups)[1]) == 50
    assert len(hold_out_rows(300, 70, "group", seed, None, groups)[1]) == 75
    assert len(hold_out_rows(300, 100, "group", seed, None, groups, 3)[1]) == 50


def test_the_real_share_is_told_and_a_warning_if_it_is_far(tmp_path: Path) -> None:
    def summary(*sizes: int) -> list[str]:
        groups = np.repeat(np.arange(len(sizes)), sizes)
        np.savez(tmp_path / "x.npz", images=np.zeros((len(groups), 8, 8), np.uint8), groups=groups)
        return load_data(f"npz:{tmp_path / 'x.npz'}", tmp_path, FolderOptions(hold_out="group")).summary

    even = summary(200, 25, 25, 25, 25)
    assert even[1] == "splits: train 275, test 25 (held out as test: 25 of 300 pictures, whole groups)"
    assert not any("wanted" in line for line in even)
    warning = "warning: test has 100 of 300 pictures where 30 were wanted, because whole groups are held out"
    assert warning in summary(100, 100, 100)


def test_training_validation_and_test_need_a_group_each(tmp_path: Path) -> None:
    write_all(tmp_path / "set", *many("cat", 8), *many("dog", 8))
    wanted = r"needs at least 3 groups, one each for training, validation and test, but there are 2 \(cat, dog\)"
    with pytest.raises(DataError, match=wanted):
        load_data(f"folder:{tmp_path / 'set'}", tmp_path, FolderOptions(hold_out="group"))
    write_all(tmp_path / "set2", *many("train/cat", 8), *many("test/cat", 8), *many("test/dog", 8))
    with pytest.raises(DataError, match=r"at least 2 groups, one each for training and validation, but there is 1 \(cat\)"):
        load_data(f"folder:{tmp_path / 'set2'}", tmp_path, FolderOptions(hold_out="group"))


def test_groups_that_are_whole_classes_get_a_warning(tmp_path: Path) -> None:
    write_all(tmp_path / "set", *(name for label in ("cat", "dog", "eel") for name in many(label, 8)))
    whole = load_data(f"folder:{tmp_path / 'set'}", tmp_path, FolderOptions(hold_out="group")).summary
    assert any(line.startswith("warning: each group is a whole class, so the classes of validation") for line in whole)
    people = [f"{label}/{who}" for label in ("cat", "dog") for who in ("ann", "bob")]
    write_all(tmp_path / "set2", *(name for folder in people for name in many(folder, 8)))
    finer = load_data(f"folder:{tmp_path / 'set2'}", tmp_path, FolderOptions(hold_out="group")).summary
    assert not any("whole class" in line for line in finer)


def test_one_group_stays_for_training() -> None:
    training, held_out = hold_out_rows(4, 4, "group", 0, None, torch.tensor([0, 0, 7, 7]))
    assert (len(training), len(held_out)) == (2, 2)


@pytest.mark.parametrize(("groups", "found"), [(None, "have no groups"), (torch.zeros(9), "only 1 group")])
def test_without_groups_it_says_how_to_give_them(groups: torch.Tensor | None, found: str) -> None:
    with pytest.raises(DataError, match=rf"{found}: give an array `groups`.*sub-?|folder"):
        hold_out_rows(9, 1, "group", 0, None, groups)


@pytest.mark.parametrize("groups", [np.arange(60) // 6, np.array([f"patient {i // 6}" for i in range(60)])])
def test_an_array_of_groups_keeps_test_and_validation_apart(tmp_path: Path, groups: np.ndarray) -> None:
    x = np.repeat(np.arange(60) // 6, 64).astype(np.uint8).reshape(60, 8, 8)
    np.savez(tmp_path / "x.npz", images=x, groups=groups)
    splits = load_data(f"npz:{tmp_path / 'x.npz'}", tmp_path, FolderOptions(hold_out="group"))
    assert "groups: 10, from the array groups" in splits.summary
    assert splits.summary[1] == "splits: train 54, test 6 (held out as test: 6 of 60 pictures, whole groups)"
    training, validation = hold_out(splits.train, 0.05, 0, kind="group")
    parts = [set(part.x.flatten().tolist()) for part in (training, validation, splits.test)]
    assert [len(part) for part in parts] == [8, 1, 1]
    assert set.union(*parts) == set(range(10))


def test_groups_in_two_splits_get_a_warning(tmp_path: Path) -> None:
    x = np.zeros((6, 8, 8), np.uint8)
    np.savez(tmp_path / "x.npz", x_train=x[:4], x_test=x[4:], groups=np.array([1, 1, 2, 2, 2, 3]))
    warning = "warning: groups: 3, from the array groups; 1 group in train and in another split, too"
    assert warning in load_data(f"npz:{tmp_path / 'x.npz'}", tmp_path).summary
    np.savez(tmp_path / "x.npz", x_train=x[:4], x_test=x[4:], groups=np.array([1, 1, 2, 2]))
    splits = load_data(f"npz:{tmp_path / 'x.npz'}", tmp_path)
    assert "groups: 2, from the array groups" in splits.summary
    assert splits.train.groups is not None
    assert splits.train.groups.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        (np.zeros(3, np.int64), "groups int64 (3,), should be one number or text for each of 20 pictures"),
        (np.zeros((20, 2), np.int64), "groups int64 (20, 2), should be one number or text for each of 20 pictures"),
        (np.array([1.0] * 19 + [np.nan]), "each of 20 pictures; the first that is none is nan, number 19 counted from 0"),
        (np.array(["a"] * 20, object), "each of 20 pictures; Python objects are not read: store text as np.array(groups, "),
    ],
)
def test_groups_that_cannot_be_used_are_refused(tmp_path: Path, groups: np.ndarray, found: str) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((20, 8, 8), np.uint8), groups=groups)
    with pytest.raises(DataError, match=re.escape(found)):
        load_data(f"npz:{tmp_path / 'x.npz'}", tmp_path)


def test_sub_folders_are_groups(tmp_path: Path) -> None:
    write_all(tmp_path / "set", *(name for person in ("ann", "bob", "cy", "di") for name in many(f"faces/{person}", 5)))
    splits = load_data(f"folder:{tmp_path / 'set'}", tmp_path, FolderOptions(hold_out="group"))
    assert "groups: 4, from sub-folders" in splits.summary
    assert (len(splits.train), len(splits.test)) == (15, 5)
    training, validation = hold_out(splits.train, 0.05, 0, in_place=True, kind="group")
    assert (len(training), len(validation)) == (10, 5)
    assert training.groups is not None
    assert validation.groups is not None
    assert not set(training.groups.tolist()) & set(validation.groups.tolist())


def test_blocks_hold_out_the_test_split_too(tmp_path: Path) -> None:
    x = np.repeat(np.arange(200), 64).astype(np.uint8).reshape(200, 8, 8)
    np.save(tmp_path / "x.npy", x)
    splits = load_data(f"npz:{tmp_path / 'x.npy'}", tmp_path, FolderOptions(hold_out="blocks"))
    assert "left out beside the blocks 40 (" in splits.summary[1]
    assert "test has 2 blocks of neighbours, 11 or more places from the nearest training picture" in splits.summary[-1]
    training, validation = hold_out(splits.train, 0.1, 0, in_place=True, kind="blocks")
    frames = [part.x[:, 0, 0, 0].long() for part in (training, validation, splits.test)]
    assert frames[0].tolist() == sorted(frames[0].tolist())
    assert (len(splits.test), len(validation)) == (20, 14)
    for held_out, away in zip(frames[1:], (9, 11), strict=True):  # The last frames were left out beside the test.
        assert (frames[0][:, None] - held_out).abs().min() == away
