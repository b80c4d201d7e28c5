"""Rows in a file are what the same rows in memory are, and only those that are needed are read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.data import Items, file_rows
from models.data.file_rows import FileRows, RowFile, rows_of_array
from models.readers.download import DataError
from models.train.kinds.picture_choices import mean_values, spread
from models.train.run_directory import data_digest
from tests.models.readers.pictures import noise

X = noise(300, 3, 4, 5)
FIRST = 7  # bytes before the rows


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileRows:
    """X in a file; what has more than 8 rows is not read at once."""
    monkeypatch.setattr(file_rows, "AT_ONCE", 8 * X[0].size)
    (tmp_path / "x").write_bytes(bytes(FIRST) + X.tobytes())
    found = rows_of_array(np.memmap(tmp_path / "x", np.uint8, "r", FIRST, X.shape))
    assert isinstance(found, FileRows)
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each read."""
    counts, real = list[int](), RowFile.read

    def counted(self: RowFile, rows: Tensor) -> Tensor:
        counts.append(len(rows))
        return real(self, rows)

    monkeypatch.setattr(RowFile, "read", counted)
    return counts


CHOICES: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "slice": (lambda x: x[5:9], 4),
    "long slice": (lambda x: x[5:200], 0),
    "steps": (lambda x: x[::50], 6),
    "index": (lambda x: x[torch.tensor([5, 299, 5, 0])], 4),
    "long index": (lambda x: x[torch.arange(299, 100, -1)], 0),
    "list": (lambda x: x[[1, 2]], 2),
    "batch": (lambda x: x.index_select(0, torch.tensor([8, 9, 1])), 3),
    "mask": (lambda x: x[torch.arange(300) % 100 == 0], 3),
    "one": (lambda x: x[-1], 1),
    "block": (lambda x: x.split(70)[4], 0),
    "block of numbers": (lambda x: x.split(70)[4].float() / 255, 20),
    "same device": (lambda x: x.to(torch.device("cpu")), 0),
    "order of an order": (lambda x: x[torch.arange(299, 100, -1)][10:30], 0),
    "other dimension": (lambda x: x[:, 1], 300),
    "flat": (lambda x: x.flatten(1), 300),
    "both": (lambda x: torch.cat([x, x]), 600),
    "none": (lambda x: x[:0], 0),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_like_in_memory(rows: FileRows, read: list[int], choice: str) -> None:
    choose, count = CHOICES[choice]
    expected = choose(torch.from_numpy(X))
    found = choose(rows)
    assert sum(read) == count
    assert (found.shape, found.dtype, found.device) == (expected.shape, expected.dtype, expected.device)
    np.testing.assert_array_equal(found.numpy(), expected.numpy())
    with torch.inference_mode():
        assert torch.equal(choose(rows).float(), expected.float())


def test_neighbours_are_read_together(rows: FileRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_rows, "PIECE", 2 * X[0].size)
    size = X[0].size
    pieces = list(rows.file._pieces(np.array([4, 5, 6, 9, 3])))
    assert pieces == [
        (0, FIRST + 4 * size, 2 * size),
        (2 * size, FIRST + 6 * size, size),
        (3 * size, FIRST + 9 * size, size),
        (4 * size, FIRST + 3 * size, size),
    ]
    assert list(rows.file._pieces(np.array([], np.int64))) == []


def test_what_is_computed_at_the_start_is_the_same(rows: FileRows, read: list[int]) -> None:
    x = torch.from_numpy(X)
    assert spread(rows) == spread(x)
    assert torch.equal(mean_values(rows), mean_values(x))
    assert data_digest(rows) == data_digest(x)


def test_the_digest_is_that_of_one_block(rows: FileRows, monkeypatch: pytest.MonkeyPatch, read: list[int]) -> None:
    expected = data_digest(torch.from_numpy(X))
    monkeypatch.setattr("models.train.run_directory.BLOCK", 7 * X[0].size)
    assert data_digest(rows) == data_digest(torch.from_numpy(X)) == expected
    assert max(read) == 7
    assert data_digest(rows[:0]) == data_digest(torch.from_numpy(X[:0]))


def test_an_order_of_items_moves_nothing(rows: FileRows, read: list[int]) -> None:
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    found = Items(rows, torch.arange(300)).permute(order)
    assert not read
    assert found.labels is not None
    assert torch.equal(found.labels, order)
    np.testing.assert_array_equal(found.x.numpy(), X[order.numpy()])
    np.testing.assert_array_equal(rows.numpy(), X)


def test_a_file_that_is_cut_off_meanwhile(rows: FileRows) -> None:
    with rows.file.path.open("r+b") as file:
        file.truncate(1000)
    assert rows[3].shape == (3, 4, 5)
    with pytest.raises(DataError, match="was cut off while it was read"):
        rows.read()
