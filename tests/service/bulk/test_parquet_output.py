"""python -m service.store load --out: every item once, with the bits that /encode answers, and what is refused."""

import asyncio
import json
import shutil
from errno import ENOSPC
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.files.directory_lock import locked
from service.bulk.parquet_output import ParquetOutput
from service.bulk.worker import Worker
from service.operations.load_sources import Interrupted, PictureBatch
from service.store_command import main
from tests.service.bulk.pictures import files, found_in, unreadable_in, write_folder

COUNT = 130


def load(out: Path, *arguments: object) -> int:
    return main(["load", "--out", str(out), "--model", "grey", "--rows-per-file", "50", *map(str, arguments)])


async def test_posteriors_are_those_of_encode_in_one_process_and_in_several(
    client: httpx.AsyncClient, setting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAE_MAX_BATCH", "16")
    contents = files(COUNT)
    folder = write_folder(setting / "pictures", contents)
    for name, workers in (("one", 1), ("two", 2)):
        assert await asyncio.to_thread(load, setting / name, folder, "--workers", workers) == 0
    assert "encoding in 2 processes (--workers) with 1 thread each (VAE_THREADS)" in capsys.readouterr().out
    ids, mu, sigma = found_in(setting / "one")
    assert ids == sorted(f"{i % 10}/{i:05d}.png" for i in range(COUNT))
    for id, *posterior in zip(ids, mu, sigma, strict=True):
        answer = (await client.post("/encode?model=grey", content=contents[int(id[2:7])])).json()
        for found, name in zip(posterior, ("mu", "sigma"), strict=True):
            np.testing.assert_array_equal(found, np.array(answer[name][0], np.float32), strict=True)
    for part in range(3):
        one, two = (pq.read_table(setting / name / f"part-{part:06d}.parquet") for name in ("one", "two"))
        assert one.equals(two)
        assert one.column("metadata")[0].as_py() == json.dumps({"label": one["id"][0].as_py()[0]}, separators=(",", ":"))


def test_a_part_that_is_missing_is_made_again(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = files(COUNT)
    contents[7] = b"no picture"
    contents[40] = b""
    folder, out = write_folder(setting / "pictures", contents), setting / "out"
    assert load(out, folder, "--max-corrupt", "0.1") == 0
    before = found_in(out)
    assert (len(before[0]), len(set(before[0]))) == (COUNT - 2, COUNT - 2)
    reasons = unreadable_in(out / "_unreadable.jsonl")
    assert reasons["0/00040.png"] == "the file is empty"
    assert "not a picture" in reasons["7/00007.png"]
    assert len(reasons) == 2
    said = capsys.readouterr().out.splitlines()
    assert said[-1].endswith(
        f"added 128, replaced 0, already there 0, left out 2 (named in {out / '_unreadable.jsonl'}, with the reasons)"
    )
    (out / "part-000001.parquet").unlink()
    (out / "_unreadable.jsonl").unlink()
    assert load(out, folder, "--max-corrupt", "0.1") == 0
    assert "added 49, replaced 0, already there 79, left out 2" in capsys.readouterr().out
    for one, other in zip(before, found_in(out), strict=True):
        np.testing.assert_array_equal(one, other)
    assert unreadable_in(out / "_unreadable.jsonl") == reasons
    assert load(out, folder) == 1
    assert "2 of 130 pictures could not be read, more than the allowed share of 0.01" in capsys.readouterr().err
    record = json.loads((out / "_load.json").read_bytes())
    assert (record["finished"], record["left_out"]) == (True, 2)
    lines = [json.loads(line) for line in (out / "_unreadable.jsonl").read_text().splitlines()]
    assert {line["id"]: line["part"] for line in lines} == {
        "7/00007.png": "part-000001.parquet", "0/00040.png": "part-000000.parquet"
    }  # fmt: skip
    assert len(pq.read_table(out)) == 128  # other programs read the directory as one data set


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("copied", "its item 0 is '0/00000.png', and '3/00113.png' belongs there"),
        ("shorter", "it has 49 items, and 50 belong there"),
        ("without ids", "is not a part of this load: "),
    ],
)
def test_a_part_must_have_the_items_of_its_place(
    setting: Path, change: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = write_folder(setting / "pictures", files(COUNT)), setting / "out"
    assert load(out, folder) == 0
    before, second = found_in(out), out / "part-000001.parquet"
    if change == "copied":
        shutil.copy(out / "part-000000.parquet", second)
    else:
        table = pq.read_table(second)
        pq.write_table(table.slice(0, 49) if change == "shorter" else table.drop_columns("id"), second)
    assert load(out, folder) == 1
    said = capsys.readouterr().err
    assert str(second) in said
    assert words in said
    assert "; delete it, and it is made again" in said
    second.unlink()
    assert load(out, folder) == 0
    for one, other in zip(before, found_in(out), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_load_of_which_a_part_was_deleted_is_not_finished(setting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = write_folder(setting / "pictures", files(COUNT)), setting / "out"
    assert load(out, folder) == 0
    (out / "part-000001.parquet").unlink()

    async def full(*_: object) -> None:
        raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ParquetOutput, "write", full)
        assert load(out, folder) == 1
    assert not json.loads((out / "_load.json").read_bytes())["finished"]
    assert load(out, folder) == 0
    assert json.loads((out / "_load.json").read_bytes())["finished"]


@pytest.mark.parametrize("error", [Interrupted("the device is lost"), OSError(ENOSPC, "No space left on device")])
def test_only_items_of_parts_that_are_written_count_as_stored(
    setting: Path, error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.load_command.BATCH", 20)
    encode, calls = Worker.encode, list[PictureBatch]()

    async def fails_later(worker: Worker, batch: PictureBatch) -> Any:
        calls.append(batch)
        if len(calls) == 6:  # after 50 + 20 + 10 items: a part, and a piece of the next
            raise error
        return await encode(worker, batch)

    folder = write_folder(setting / "pictures", files(COUNT))
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "encode", fails_later)
        assert load(setting / "out", folder) == 1
    said = capsys.readouterr().err
    assert "; this load had stored 50 of 130 pictures, and a load with the same options goes on from there" in said
    assert len(found_in(setting / "out")[0]) == 50
    assert load(setting / "out", folder) == 0
    assert "added 80, replaced 0, already there 50" in capsys.readouterr().out


def test_another_column_of_pictures_is_refused(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents, out = files(COUNT), setting / "out"
    table = pa.table({"a": contents, "b": contents[::-1], "label": range(COUNT)})
    pq.write_table(table, setting / "some.parquet")
    assert load(out, setting / "some.parquet", "--picture-column", "a") == 0
    (out / "part-000001.parquet").unlink()
    assert load(out, setting / "some.parquet", "--picture-column", "b") == 1
    assert "pictures are read from the columns ['b'], they were read from ['a'] (--picture-column)" in capsys.readouterr().err
    assert not (out / "part-000001.parquet").exists()
    (setting / "other").mkdir()
    pq.write_table(table.drop_columns("b"), setting / "other" / "some.parquet")
    assert load(out, setting / "other" / "some.parquet") == 0  # the same column, which is the only one now


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ENGINE": "torch", "PRECISION": "bf16"}, "the precision (VAE_PRECISION) is bf16, it was float32"),
        ({"ENGINE": "onnx"}, "the engine (VAE_ENGINE) is onnx, it was torch"),
        ({"ENGINE": "torch", "MAX_BATCH": "8"}, "VAE_MAX_BATCH is 8, it was 64"),
    ],
)
def test_another_way_to_compute_is_refused(
    setting: Path,
    variables: dict[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, out = write_folder(setting / "pictures", files(3)), setting / "out"
    monkeypatch.setenv("VAE_ENGINE", "torch")
    assert load(out, folder) == 0
    (out / "part-000000.parquet").unlink()
    for name, value in variables.items():
        monkeypatch.setenv(f"VAE_{name}", value)
    assert load(out, folder) == 1
    assert f"was begun otherwise: {words}. A directory has one load" in capsys.readouterr().err
    assert not (out / "part-000000.parquet").exists()


def test_the_record_of_an_earlier_version_does_not_say_enough(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_folder(setting / "pictures", files(3)), setting / "out"
    assert load(out, folder) == 0
    record = json.loads((out / "_load.json").read_bytes())
    del record["precision"], record["picture_columns"]
    (out / "_load.json").write_text(json.dumps(record))
    assert load(out, folder) == 1
    said = capsys.readouterr().err
    assert "was begun by an earlier version, which did not record everything that must stay the same (precision, " in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("options", "--invert is yes, it was not given. A directory has one load of the same items with the same options"),
        ("rows", "--rows-per-file is 51, it was 50."),
        ("model", "the model grey is sha256:"),
        ("name", "was begun with the model grey, not with colour: give --model grey, or a new directory"),
        ("more", "there are 3 items, there were 2; the items have other ids"),
        ("renamed", "the items have other ids"),
        ("lost record", "has files of something else, such as part-000000.parquet; choose a new directory"),
        ("torn record", "_load.json is not the record of a load"),
        ("torn part", "part-000000.parquet is not a part of this load"),
        ("in use", "is writing into"),
        ("metric", "--store, --metric: only for collections, not with --out"),
    ],
)
def test_what_has_changed_is_refused(
    setting: Path, weights: Path, change: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = write_folder(setting / "pictures", files(2)), setting / "out"
    assert load(out, folder) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    more: list[object] = []
    if change == "options":
        more = ["--invert", "yes"]
    elif change == "rows":
        more = ["--rows-per-file", "51"]
    elif change == "metric":
        more = ["--metric", "w2", "--store", "some.db"]
    elif change == "model":
        shutil.copytree(weights / "colour", setting / "others" / "grey")
        more = ["--models-dir", setting / "others"]
    elif change == "name":
        more = ["--model", "colour"]
    elif change == "more":
        (folder / "new.png").write_bytes(files(1)[0])
    elif change == "renamed":
        (folder / "0" / "00000.png").rename(folder / "0" / "new.png")
    elif change == "lost record":
        (out / "_load.json").unlink()
    elif change != "in use":
        torn = out / ("_load.json" if "record" in change else "part-000000.parquet")
        torn.write_bytes(torn.read_bytes()[:40])
    capsys.readouterr()
    if change == "in use":
        with locked(out, "another"):
            assert load(out, folder) == 1
    elif change == "metric":
        with pytest.raises(SystemExit):
            load(out, folder, *more)
    else:
        assert load(out, folder, *more) == 1
    assert words in capsys.readouterr().err
    if change in ("options", "rows", "model", "name", "more", "renamed", "in use"):
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_directory_of_others_and_nothing_to_read(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_folder(setting / "pictures", [b"", b"x"]), setting / "out"
    assert load(setting, folder) == 1
    assert "has files of something else" in capsys.readouterr().err
    assert load(out, folder) == 1
    assert "none of the pictures could be read" in capsys.readouterr().err
    assert pq.read_table(out / "part-000000.parquet").num_rows == 0
    assert len(unreadable_in(out / "_unreadable.jsonl")) == 2
