"""What is held out: any pictures, blocks of neighbours with gaps beside them, or whole groups."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data import Items, hold_out, load_data
from models.data.clusters import clusters
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.readers.holding_out import (
    block_line,
    block_sizes,
    enough_groups,
    held_out_count,
    hold_out_both,
    hold_out_rows,
)
from tests.models.readers.pictures import many, write_all


def test_random_is_what_it_has_always_been() -> None:
    """Checkpoints that were trained before there was a choice find their validation pictures again."""
    order = torch.randperm(100, generator=torch.Generator().manual_seed(3))
    training, held_out = hold_out_rows(100, 5, "random", 3)
    assert held_out.tolist() == order[:5].tolist()
    assert training.tolist() == order[5:].tolist()


# A short video gets gaps that are long against its blocks: frames a few places apart are nearly the same picture.
SIZES = [
    (60_000, 3000, 10, 150), (10_000, 500, 10, 30), (2000, 100, 10, 30), (1967, 98, 9, 30), (600, 60, 5, 18), (250, 25, 5, 7),
    (120, 12, 5, 3), (50, 1, 1, 7), (20, 2, 2, 1), (3, 1, 1, 1),
]  # fmt: skip


def nearest(some: torch.Tensor, others: torch.Tensor) -> int:
    """Return the least distance of a number of the one to a number of the other."""
    line = others.sort().values
    after = torch.searchsorted(line, some)
    below, above = line[(after - 1).clamp(min=0)], line[after.clamp(max=len(line) - 1)]
    return int(torch.minimum((some - below).abs(), (some - above).abs()).min())


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
            assert nearest(training, held_out) == gap + 1


@pytest.mark.parametrize(
    ("count", "test", "validation"), [(120, 12, 12), (2000, 200, 200), (400, 40, 5), (60, 6, 24), (10, 1, 1)]
)
def test_validation_and_test_take_turns_in_the_same_blocks(count: int, test: int, validation: int) -> None:
    number, gap = block_sizes(count, max(test, validation))
    training, first, second = hold_out_both(count, test, validation, "blocks")
    assert (len(second), len(first)) == (validation, test)
    assert len(torch.cat([training, second, first]).unique()) == len(training) + validation + test
    held_out = torch.cat([second, first]).sort().values
    assert (training[:, None] - held_out).abs().min() == gap + 1
    assert len(training) >= count - test - validation - 2 * number * gap
    if min(test, validation) >= 4 * number:
        kept, *parts = (Items(torch.empty(len(part)), place=part) for part in (training, first, second))
        for part in parts:  # Two blocks whose gaps meet are one.
            assert number - 1 <= len(clusters("blocks", part, kept).unique()) <= number
        for own in (first, second):
            assert 1 + int((own.diff() > 1).sum()) == 2 * number  # each has two turns in a block
            assert len((number * own // count).unique()) == number  # one block in each equal part
        is_ahead = [bool(second[i * validation // number] < first[i * test // number]) for i in range(number)]
        assert is_ahead == [i % 2 == 0 for i in range(number)]


def test_pictures_of_a_trend_give_both_the_same_mean() -> None:
    """Blocks whose places were drawn for each of the two on its own would differ by several times as much."""
    _, first, second = hold_out_both(1000, 100, 100, "blocks")
    assert abs(float(second.double().mean() - first.double().mean())) < 10


def test_the_line_of_blocks_has_their_gap_and_a_warning_if_it_is_short() -> None:
    line = "blocks: validation has 10 blocks of neighbours, 31 or more places from the nearest training picture"
    assert block_line(["validation"], 10_000, 500) == line
    short = block_line(["test", "validation"], 120, 12)
    both = "warning: blocks: test and validation share 5 blocks of neighbours in turns, 4 or more places from the nearest"
    assert short.startswith(both)
    assert short.endswith("these numbers may look too good; more frames make the gaps longer")


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


def test_enough_groups_are_held_out() -> None:
    fonts = torch.arange(24 * 124) // 124
    assert held_out_count(len(fonts), None, "group", fonts) == 5 * 124  # a tenth would be 2
    assert held_out_count(len(fonts), 0.05, "group", fonts) == round(0.05 * len(fonts))
    assert held_out_count(1000, None, "blocks", None) == 100
    assert held_out_count(1000, None, "random", None) == 50
    assert enough_groups(fonts[: 8 * 124], 99) == 2 * 124  # a quarter of 8
    assert enough_groups(torch.arange(3), 1) == 1
    assert enough_groups(torch.tensor([0] * 1000 + list(range(1, 21))), 30) == 30  # one large group is not typical


def test_groups_of_validation_and_test_are_neighbours() -> None:
    groups = torch.arange(480) // 10
    training, first, second = hold_out_both(480, 50, 50, "group", groups)
    parts = [set(groups[part].tolist()) for part in (training, second, first)]
    assert [len(part) for part in parts] == [38, 5, 5]
    assert set.union(*parts) == set(range(48))
    assert all(one - 1 in parts[2] or one + 1 in parts[2] for one in parts[1])


def test_which_pictures_resemble_each_other() -> None:
    def pictures(*place: int) -> Items:
        return Items(torch.zeros(len(place)), place=torch.tensor(place), groups=torch.tensor([9, 2, 9, 4, 4])[: len(place)])

    held_out, training = pictures(7, 3, 9, 5, 20), pictures(1, 6, 15)
    assert clusters("blocks", held_out, training).unique(return_inverse=True)[1].tolist() == [1, 0, 1, 0, 2]
    assert clusters("group", held_out, training).tolist() == [9, 2, 9, 4, 4]
    assert clusters("random", held_out, training).tolist() == [0, 1, 2, 3, 4]


def test_the_real_share_is_told_and_a_warning_if_it_is_far(tmp_path: Path) -> None:
    def summary(*sizes: int) -> list[str]:
        groups = np.repeat(np.arange(len(sizes)), sizes)
        np.savez(tmp_path / "x.npz", images=np.zeros((len(groups), 8, 8), np.uint8), groups=groups)
        return load_data(f"npz:{tmp_path / 'x.npz'}", tmp_path, FolderOptions(hold_out="group")).summary

    even = summary(200, 25, 25, 25, 25)
    assert even[1] == "splits: train 250, test 25, validation 25 (held out of 300 pictures: test and validation, whole groups)"
    assert not any("wanted" in line for line in even)
    assert any(line.startswith("validation: as many as for the test, drawn alike, because") for line in even)
    large = summary(100, 100, 100)
    for part in ("test", "validation"):
        assert f"warning: {part} has 100 of 300 pictures where 30 were wanted, because whole groups are held out" in large


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
    assert "splits: train 36, test 12, validation 12 (held out of 60 pictures: test and" in splits.summary[1]
    assert splits.validation is not None
    parts = [set(part.x.flatten().tolist()) for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [6, 2, 2]
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
    training, validation = splits.train, splits.validation
    assert validation is not None
    assert (len(training), len(validation), len(splits.test)) == (10, 5, 5)
    assert training.groups is not None
    assert validation.groups is not None
    assert not set(training.groups.tolist()) & set(validation.groups.tolist())


def test_beside_a_test_split_of_the_data_validation_groups_are_enough(tmp_path: Path) -> None:
    people = [f"p{i}" for i in range(8)]
    write_all(tmp_path / "set", *(f"train/{name}" for who in people for name in many(who, 3)), *many("test/zoe", 3))
    splits = load_data(f"folder:{tmp_path / 'set'}", tmp_path, FolderOptions(hold_out="group"))
    assert splits.validation is None
    assert [len(part) for part in hold_out(splits.train, None, 0, in_place=True, kind="group")] == [18, 6]


def test_blocks_hold_out_the_test_split_too(tmp_path: Path) -> None:
    x = np.repeat(np.arange(200), 64).astype(np.uint8).reshape(200, 8, 8)
    np.save(tmp_path / "x.npy", x)
    splits = load_data(f"npz:{tmp_path / 'x.npy'}", tmp_path, FolderOptions(hold_out="blocks"))
    assert "left out beside the blocks 60 (" in splits.summary[1]
    assert any("5 blocks of neighbours in turns, 7 or more places from the nearest" in line for line in splits.summary)
    assert splits.validation is not None
    frames = [part.x[:, 0, 0, 0].long() for part in (splits.train, splits.validation, splits.test)]
    assert frames[0].tolist() == sorted(frames[0].tolist())
    assert [len(part) for part in frames] == [100, 20, 20]
    for held_out in frames[1:]:
        assert (frames[0][:, None] - held_out).abs().min() == 7
    given = load_data(f"npz:{tmp_path / 'x.npy'}", tmp_path, FolderOptions(hold_out="blocks", validation=0.05))
    assert given.validation is not None
    assert (len(given.validation), len(given.test)) == (10, 20)
    assert not any(line.startswith("validation:") for line in given.summary)
