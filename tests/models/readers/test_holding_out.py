"""What is held out: any pictures, blocks of neighbours with gaps beside them, or whole groups."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.data import hold_out, load_data
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.readers.holding_out import BLOCKS, hold_out_rows
from tests.models.readers.pictures import many, write_all


def test_random_is_what_it_has_always_been() -> None:
    """Checkpoints that were trained before there was a choice find their validation pictures again."""
    order = torch.randperm(100, generator=torch.Generator().manual_seed(3))
    training, held_out = hold_out_rows(100, 5, "random", 3)
    assert held_out.tolist() == order[:5].tolist()
    assert training.tolist() == order[5:].tolist()


@pytest.mark.parametrize(("count", "wanted"), [(2000, 100), (1967, 98), (300, 7), (50, 1), (20, 2)])
def test_blocks_lie_apart_from_what_is_trained_on(count: int, wanted: int) -> None:
    training, held_out = hold_out_rows(count, wanted, "blocks", 0)
    assert len(held_out) == wanted
    together = torch.cat([training, held_out])
    assert len(together.unique()) == len(together)
    assert len(training) >= count - 3 * wanted - 2 * BLOCKS
    blocks = 1 + int((held_out.diff() > 1).sum())
    assert 1 <= blocks <= min(BLOCKS, wanted)
    assert (training[:, None] - held_out).abs().min() > 1


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
    assert 50 <= len(held_out) <= 50 + int(groups.bincount().max())
    assert held_out.tolist() != hold_out_rows(500, 50, "group", 1, None, groups)[1].tolist()


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
    assert splits.summary[1] == "splits: train 54, test 6 (a tenth of the training pictures is held out as test, whole groups)"
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


def test_groups_of_another_shape_stay_among_the_other_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((20, 8, 8), np.uint8), groups=np.zeros(3, np.int64))
    splits = load_data(f"npz:{tmp_path / 'x.npz'}", tmp_path)
    assert splits.train.groups is None
    assert "left out: the arrays groups int64 (3,)" in splits.summary


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
    assert "left out beside the blocks 20 (" in splits.summary[1]
    training, validation = hold_out(splits.train, 0.1, 0, in_place=True, kind="blocks")
    frames = [part.x[:, 0, 0, 0].long() for part in (training, validation, splits.test)]
    assert frames[0].tolist() == sorted(frames[0].tolist())
    assert (len(splits.test), len(validation)) == (20, 16)
    for held_out in frames[1:]:
        assert (frames[0][:, None] - held_out).abs().min() > 1
