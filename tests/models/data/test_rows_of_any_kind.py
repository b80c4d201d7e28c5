"""Rows that are no pictures: their splits, copies, near copies and digests."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from models.data import Items, data_kind, is_own, load_data, split
from models.data.near_duplicates import compare, line
from models.data.sources import SOURCES, Source, known
from models.kinds import KINDS
from models.kinds.picture import Picture
from models.readers.download import DataError
from models.readers.found import Found
from models.train.run_directory import data_digest


class Rows(Picture):
    """Stands for a kind that cannot compare its rows but for equality."""

    name: ClassVar[str] = "row"
    one: ClassVar[str] = "a row"
    many: ClassVar[str] = "rows"
    comparable: ClassVar[bool] = False

    def worded(self, text: str) -> str:
        return super(Picture, self).worded(text)


def table(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Numbers with missing ones."""
    noise = np.random.default_rng(0)
    rows = noise.normal(size=(count, 4)).astype(np.float32)
    rows[noise.random(rows.shape) < 0.3] = np.nan
    rows[:, 0] = np.arange(count)
    return rows


def test_splits_of_rows_with_missing_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "row", Rows())
    x = table(50)
    x[9] = x[3]
    before = x.copy()
    splits = split(Found(x, None, None, None, summary=["x: 50 rows"], kind="row"))
    assert (len(splits.train), len(splits.test), splits.kind) == (45, 5, "row")
    assert "splits: train 45, test 5 (a tenth of the training rows is held out as test)" in splits.summary
    assert any(line.startswith(("copies: 1 of 45 training rows", "warning: 1 of 5 test rows")) for line in splits.summary)
    places = torch.cat([part.place for part in (splits.train, splits.test) if part.place is not None])
    np.testing.assert_array_equal(torch.cat([splits.train.x, splits.test.x]).numpy(), before[places.numpy()])
    with pytest.raises(DataError, match="only 9 rows: at least 10 are needed"):
        split(Found(table(9), None, None, None, summary=["x: 9 rows"], kind="row"))


def test_equal_rows_are_copies_though_numbers_are_missing() -> None:
    x = torch.from_numpy(table(60))
    training, held_out = Items(x[:40]), Items(torch.cat([x[40:], x[:5]]))
    found = compare(training, held_out, kind=Rows())
    assert found == {"compared": 25, "training": 40, "near": 5, "exact": True}
    assert line(found, "validation", kind=Rows()) == (
        "warning: near-duplicates: 5 of 25 validation rows are equal to one in training; so its numbers look too good: remove "
        "the copies"
    )
    assert compare(training, held_out, torch.arange(3), Rows())["near"] == 3


def test_digests_are_of_shape_type_and_bytes() -> None:
    x = torch.arange(12, dtype=torch.int16).view(3, 4)
    same_bytes = x.view(torch.bfloat16).view(torch.int16)
    assert data_digest(x) == data_digest(same_bytes)
    assert len({data_digest(one) for one in (x, x.view(4, 3), x.view(torch.float16).view(3, 4).view(torch.uint16))}) == 3


def test_sources_name_their_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert known()[:6] == ["mnist", "fashion-mnist", "lpc-sprites", "omniglot-strokes", "folder:PATH", "npz:PATH"]
    assert data_kind("npz:x").name == data_kind("nothing").name == "picture"
    assert [is_own(name) for name in ("mnist", "folder:x", "nothing", "other:x")] == [False, True, False, False]
    monkeypatch.setitem(SOURCES, "rows:", Source("picture", SOURCES["npz:"].read, (".rows",)))
    (tmp_path / "x.rows").write_text("")
    with pytest.raises(DataError, match=r"known: .*, rows:PATH; it is a file: use --data rows:.*x\.rows"):
        load_data(str(tmp_path / "x.rows"), tmp_path)
