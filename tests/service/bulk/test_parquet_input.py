"""python -m service.store load of pictures in Parquet files."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.operations.parquet_pictures import ParquetRows
from service.store_command import main
from tests.service.bulk.pictures import files, found_in, unreadable_in, write_folder, write_parquet


def load(out: Path, *arguments: object) -> int:
    return main(["load", "--out", str(out), "--model", "grey", *map(str, arguments)])


@pytest.mark.parametrize("nested", [False, True])
def test_rows_are_encoded_as_files_are(setting: Path, nested: bool, capsys: pytest.CaptureFixture[str]) -> None:
    contents = files(150)
    contents[70] = b""
    contents[71] = b"x"
    (setting / "shards" / "deep").mkdir(parents=True)
    write_parquet(setting / "shards" / "a.parquet", contents[:100], nested=nested)
    write_parquet(setting / "shards" / "deep" / "b.parquet", contents[100:], nested=nested)
    folder = write_folder(setting / "pictures", contents)
    assert load(setting / "rows", setting / "shards", "--max-corrupt", "0.1") == 0
    assert "a.parquet: 100 pictures in the column image of 2 row groups" in capsys.readouterr().out
    assert load(setting / "files", folder, "--max-corrupt", "0.1") == 0
    ids, mu, sigma = found_in(setting / "rows")
    expected = [f"a/{i:06d}" for i in range(100)] + [f"deep/b/{i:06d}" for i in range(50)]
    assert ids == [id for i, id in enumerate(expected) if i not in (70, 71)]
    assert unreadable_in(setting / "rows" / "_unreadable.jsonl")["a/000070"] == "the cell is empty"
    lines = (setting / "rows" / "_unreadable.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["place"] == f"{setting}/shards/a.parquet, row 71"
    other_ids, other_mu, other_sigma = found_in(setting / "files")
    order = np.argsort([int(id[2:7]) for id in other_ids])
    np.testing.assert_array_equal(mu, other_mu[order])
    np.testing.assert_array_equal(sigma, other_sigma[order])


def test_ids_and_metadata_are_columns(setting: Path) -> None:
    file = write_parquet(setting / "some.parquet", files(10), rows=4)
    assert load(setting / "out", file, "--id-column", "key", "--metadata-columns", "label") == 0
    table = pq.read_table(setting / "out" / "part-000000.parquet")
    assert table["id"].to_pylist() == [f"k{i}" for i in range(10)]
    assert [json.loads(text) for text in table["metadata"].to_pylist()] == [{"label": i % 3} for i in range(10)]
    again = ["load", "--collection", "some", "--model", "grey", str(file), "--metadata-columns", "*", "--prefix"]
    assert main(again) == 0
    assert main(["dump", "--collection", "some", str(setting / "dump")]) == 0
    first = json.loads((setting / "dump.jsonl").read_text().splitlines()[0])
    assert (first["id"], first["metadata"]) == (f"{setting.name}/some/000000", {"key": "k0", "label": 0})


@pytest.mark.parametrize(
    ("what", "flags", "words"),
    [
        ("no column", [], "no column has picture files, which are of the type binary"),
        ("two columns", [], "pictures may be in one, two; choose one with --picture-column"),
        ("two columns", ["--picture-column", "label"], "the column 'label' has no picture files, or is not there"),
        (
            "two columns",
            ["--picture-column", "one", "--id-column", "ix"],
            "there is no column 'ix'; the columns are one, two, label",
        ),
        ("two columns", ["--picture-column", "one", "--id-column", "label"], "two of its pictures have the id '1'"),
        (
            "two columns",
            ["--picture-column", "one", "--metadata-columns", "two"],
            "metadata are texts, numbers, true and false, which these columns do not have: two (binary); leave them out",
        ),
        ("no rows", [], "there are no pictures in "),
        ("long id", ["--id-column", "key"], "row 1: 'zzz"),
        ("long id", ["--id-column", "key"], "cannot be an id: it has 600 characters, at most 512 are allowed; nothing was"),
        ("odd id", ["--id-column", "key"], "row 1: 'a\\nb' cannot be an id: it has the control character '\\n'; nothing was"),
        ("torn", [], "torn.parquet is not a Parquet file that can be read"),
        ("folder", ["--id-column", "x"], "are for Parquet files and for tables, and"),
    ],
)
def test_what_cannot_be_used(
    setting: Path, what: str, flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = setting / f"{what}.parquet"
    one = files(1)[0]
    columns = {
        "two columns": {"one": [one, one], "two": [one, one], "label": [1, 1]},
        "no column": {"label": [1]},
        "no rows": {"image": pa.array([], pa.binary())},
        "long id": {"image": [one, one], "key": ["a", "z" * 600]},
        "odd id": {"image": [one, one], "key": ["a", "a\nb"]},
    }
    if what in columns:
        pq.write_table(pa.table(columns[what]), path)
    elif what == "torn":
        path.write_bytes(write_parquet(setting / "whole.parquet", files(3)).read_bytes()[:-9])
    else:
        write_folder(path, files(1))
    assert load(setting / "out", path, *flags) == 1
    assert words in capsys.readouterr().err
    assert not list((setting / "out").glob("part*"))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("type", ["dictionary", "view", "large"])
def test_pictures_may_have_any_type_of_bytes(setting: Path, type: str, nested: bool) -> None:
    contents = files(5)
    plain = pa.array(contents, pa.binary())
    types = {"view": pa.binary_view(), "large": pa.large_binary()}
    column = plain.dictionary_encode() if type == "dictionary" else pa.array(contents, types[type])
    for name, one in (("plain", plain), ("other", column)):
        (setting / name).mkdir()
        own = pa.StructArray.from_arrays([one], ["bytes"]) if nested else one
        pq.write_table(pa.table({"image": own}), setting / name / "x.parquet", row_group_size=5 if nested else 2)
        assert load(setting / "out" / name, setting / name) == 0
    for one, other in zip(found_in(setting / "out/plain"), found_in(setting / "out/other"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_without_rows_does_not_stop_the_others(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_parquet(setting / "some.parquet", files(3))
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), setting / "empty.parquet")
    assert load(setting / "out", setting / "empty.parquet", setting / "some.parquet") == 0
    said = capsys.readouterr().out
    assert "empty.parquet: 0 pictures in the column image of " in said
    assert "found 3 pictures: added 3" in said


@pytest.mark.parametrize("out", ["out", ".", "deep/out"])
def test_a_directory_that_is_read_is_not_written(setting: Path, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    (setting / "shards").mkdir()
    write_parquet(setting / "shards" / "a.parquet", files(3))
    (setting / "link").symlink_to("shards")
    assert load(setting / "link" / out, setting / "shards") == 1
    assert f"is in {setting / 'shards'}, which is read" in capsys.readouterr().err
    assert [path.name for path in (setting / "shards").iterdir()] == ["a.parquet"]


def test_threads_may_read_one_file(setting: Path) -> None:
    """Several batches of a load are read at a time."""
    contents = files(600)
    path = write_parquet(setting / "some.parquet", contents, rows=2)
    rows = [ParquetRows(path, "image", group, 2 * group, (0, 1)) for group in range(300)]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(10):
            assert [one for two in threads.map(lambda one: list(one.contents()), rows) for one in two] == contents


def test_a_named_pipe_is_no_parquet_file(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(setting / "pipe.parquet")
    assert load(setting / "out", setting / "pipe.parquet") == 1
    assert "is a named pipe; only regular files are read" in capsys.readouterr().err
