"""Metadata beside pictures: the bounds of requests hold in loads, too; what is left out is counted and named."""

import json
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.bulk.item_metadata import usable
from service.store.metadata import MAX_METADATA_BYTES
from service.store_command import main
from tests.service.bulk.pictures import files, unreadable_in
from tests.service.store.postgres_server import Postgres

COUNT = 5


def written(path: Path, **columns: Any) -> Path:
    """A Parquet file with pictures and these columns."""
    pq.write_table(pa.table({"image": files(COUNT), **columns}), path, row_group_size=2)
    return path


@pytest.mark.parametrize("where", ["sqlite", "postgres", "files"])
def test_an_item_with_metadata_that_no_request_may_have_is_left_out_and_named(
    setting: Path, postgres: Postgres, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a", "b\0c", "d", "y" * MAX_METADATA_BYTES, "e"]
    file = written(setting / "some.parquet", note=texts, number=range(COUNT))
    into = ["--out", str(setting / "out")] if where == "files" else ["--collection", "some"]
    if where != "files":
        into += ["--unreadable", str(setting / "list")]
    if where == "postgres":
        into += ["--store", postgres.create(f"load_{uuid.uuid4().hex}")]
    command = ["load", *into, "--model", "grey", "--metadata-columns", "*", "--max-corrupt", "0.5", str(file)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"left out {file}, row 1: its metadata 'note' must not contain the character U+0000\n" in said
    assert f"left out {file}, row 3: its metadata 'note' takes 65547 bytes, at most 65536 (64 KiB) are allowed\n" in said
    assert "found 5 pictures: added 3, replaced 0, already there 0, left out 2" in said
    assert list(unreadable_in(setting / ("out/_unreadable.jsonl" if where == "files" else "list"))) == [
        "some/000001", "some/000003"
    ]  # fmt: skip
    assert main(command) == 0  # It can finish, and says the same again.
    assert "found 5 pictures: added 0, replaced 0, already there 3, left out 2" in capsys.readouterr().out


def test_numbers_that_are_not_finite_are_missing_and_counted(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(setting / "some.parquet", v=[float("nan"), 1.5, float("inf"), None, -0.0], word=["w"] * COUNT)
    assert main(["load", "--out", str(setting / "out"), "--model", "grey", "--metadata-columns", "*", str(file)]) == 0
    line = (
        "warning: 2 pictures are without a number in their metadata; the first one is some/000000: v is nan, which counts "
        "as missing\n"
    )
    assert line in capsys.readouterr().out
    found = [json.loads(text) for text in pq.read_table(setting / "out/part-000000.parquet")["metadata"].to_pylist()]
    assert found == [{"word": "w"}, {"v": 1.5, "word": "w"}, {"word": "w"}, {"word": "w"}, {"v": -0.0, "word": "w"}]


def test_what_is_merged_with_stored_metadata_has_the_bound_too(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = "y" * (MAX_METADATA_BYTES // 2)
    command = ["load", "--collection", "some", "--model", "grey", "--replace", "--metadata-columns", "*"]
    assert main([*command, str(written(setting / "some.parquet", one=[half] * COUNT))]) == 0
    (setting / "other").mkdir()
    assert main([*command, str(written(setting / "other/some.parquet", two=[half] + ["a"] * (COUNT - 1)))]) == 0
    said = capsys.readouterr().out
    assert "left out some/000000: with what is stored, its metadata takes 65555 bytes, at most 65536" in said
    assert "added 0, replaced 4, already there 0, left out 1" in said


def test_what_is_wrong_is_named_by_its_key_or_as_a_whole() -> None:
    assert usable({"a": 1, "b": "\ud800"}).reason.startswith("its metadata 'b' cannot be written as JSON")
    assert usable({"a\0": 1}).reason == "its metadata 'a\\x00' must not contain the character U+0000"
    half = "y" * (MAX_METADATA_BYTES // 2)
    assert usable({"a": half, "b": half}).reason.startswith("its metadata takes 65551 bytes")


@pytest.mark.parametrize(("columns", "advice"), [("at", "leave them out in"), ("*", "name the others instead of '*' in")])
def test_a_column_of_another_type_is_refused_from_the_schema(
    setting: Path, columns: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(setting / "some.parquet", at=pa.array([None] * (COUNT - 1) + [7], pa.timestamp("ms")))
    assert main(["load", "--out", str(setting / "out"), "--model", "grey", "--metadata-columns", columns, str(file)]) == 1
    said = capsys.readouterr().err
    assert f"which these columns do not have: at (timestamp[ms]); {advice} --metadata-columns; nothing was stored" in said
    assert "goes on from there" not in said
    assert not (setting / "out").exists()


def test_all_types_that_are_metadata_are_taken(setting: Path) -> None:
    words = pa.array(["a", "b", "a", None, "b"])
    columns = {
        "words": words.dictionary_encode(),
        "views": words.cast(pa.string_view()),
        "large": words.cast(pa.large_string()),
        "flag": [True, False, None, True, True],
        "small": pa.array(range(COUNT), pa.int8()),
        "most": pa.array([2**64 - 1] * COUNT, pa.uint64()),
        "half": pa.array([0.5] * COUNT, pa.float32()),
        "nothing": pa.nulls(COUNT),
    }
    file = written(setting / "some.parquet", **columns)
    assert main(["load", "--out", str(setting / "out"), "--model", "grey", "--metadata-columns", "*", str(file)]) == 0
    first = json.loads(pq.read_table(setting / "out/part-000000.parquet")["metadata"][0].as_py())
    assert first == {
        "words": "a", "views": "a", "large": "a", "flag": True, "small": 0, "most": 2**64 - 1, "half": 0.5
    }  # fmt: skip
