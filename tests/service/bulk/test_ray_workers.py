"""python -m service.store load --engine ray: the same files, also after kills; and what an actor says."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
import psutil
import pytest
import ray
from ray.exceptions import RayError, RayTaskError

from service.bulk import ray_workers
from service.bulk.worker import Work, Worker
from service.operations.load_sources import Interrupted, PictureBatch
from service.settings import SHIPPED_WEIGHTS
from service.store_command import main
from tests.service.bulk.conftest import COUNT
from tests.service.bulk.killed import run_killed
from tests.service.bulk.pictures import files, found_in, unreadable_in, write_folder, write_parquet


@pytest.fixture
def ray_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the Ray of a test keeps its files. Paths of sockets are short, so it is not below `tmp_path`."""
    directory = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    settings = {
        "RAY_ADDRESS": "local",
        "RAY_TMPDIR": str(directory),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "100000000",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    yield directory
    _, alive = psutil.wait_procs(_processes_of(directory), timeout=60)
    assert not alive
    shutil.rmtree(directory)


def _processes_of(directory: Path) -> list[psutil.Process]:
    return [
        one for one in psutil.process_iter(["cmdline"]) if any(str(directory) in word for word in one.info["cmdline"] or ())
    ]


def same(out: Path, other: Path) -> None:
    for one, another in zip(found_in(out), found_in(other), strict=True):
        np.testing.assert_array_equal(one, another)
    assert unreadable_in(out / "_unreadable.jsonl") == unreadable_in(other / "_unreadable.jsonl")


@pytest.fixture
def local_ray(ray_directory: Path) -> Iterator[None]:
    """A Ray of one CPU that belongs to this process."""
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    yield
    ray.shutdown()


@pytest.mark.filterwarnings("default")  # Ray's own
def test_ray_encodes_as_one_machine_does(setting: Path, local_ray: None, capsys: pytest.CaptureFixture[str]) -> None:
    contents = files(300)
    contents[150] = b"no picture"
    paths = [write_parquet(setting / "rows.parquet", contents[:200]), write_folder(setting / "pictures", contents[200:])]
    arguments = ["--model", "grey", "--rows-per-file", "100", *map(str, paths)]
    assert main(["load", "--out", str(setting / "calm"), *arguments]) == 0
    assert main(["load", "--out", str(setting / "out"), "--engine", "ray", *arguments]) == 0
    assert "Ray 2." in capsys.readouterr().out
    same(setting / "out", setting / "calm")


@pytest.mark.parametrize("name", ["pictures.npy", "pictures.npz", "pictures-images-idx3-ubyte", "rows.csv"])
def test_what_ray_cannot_load_is_refused_before_anything_starts(
    setting: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(*_: object) -> NoReturn:
        pytest.fail("something was started")

    monkeypatch.setattr(Worker, "start", start)
    monkeypatch.setattr(ray_workers, "connect", start)
    (setting / name).write_bytes(b"")
    folder = write_folder(setting / "pictures", files(2))
    assert main(["load", "--out", str(setting / "out"), "--engine", "ray", str(folder), str(setting / name)]) == 1
    assert f"Parquet files with pictures, and {setting / name} is none of them" in capsys.readouterr().err
    assert not (setting / "out").exists()


def test_only_pictures_are_for_ray_and_for_some_flags(
    setting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def connect() -> NoReturn:
        pytest.fail("Ray was started")

    monkeypatch.setattr(ray_workers, "connect", connect)
    arguments = ["--model", "strokes", "--models-dir", str(SHIPPED_WEIGHTS), "--engine", "ray"]
    (setting / "drawings").mkdir()
    assert main(["load", "--out", str(setting / "out"), *arguments, str(setting / "drawings")]) == 1
    assert "--engine ray is for pictures, and 'strokes' is no model of pictures" in capsys.readouterr().err
    assert (
        main(["load", "--out", str(setting / "out"), *arguments, "--prefix", "--invert", "yes", str(setting / "drawings")])
        == 1
    )
    assert (
        "--invert, --prefix: only for pictures, and 'strokes' is no model of pictures; leave out what"
        in capsys.readouterr().err
    )


@pytest.mark.soak
def test_every_item_is_there_once_after_five_kills_with_ray(setting: Path, folder: Path, ray_directory: Path) -> None:
    arguments = ["--model", "grey", "--rows-per-file", "100", str(folder)]
    assert main(["load", "--out", str(setting / "calm"), *arguments]) == 0
    run_killed(["--out", str(setting / "out"), "--engine", "ray", "--workers", "2", *arguments], 5, COUNT, 0)
    same(setting / "out", setting / "calm")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RayError("The actor died.\n\tclass_name: RayWorker\n\tnode_ip: 192.0.2.1"), "The actor died"),
        (RayTaskError("map", "Traceback (most recent call last):\n  ...\nMemoryError: too large", MemoryError()), "too large"),
        (RayError(), "RayError"),
    ],
)
def test_an_error_of_ray_is_told_in_one_line(error: RayError, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(ray_workers, "_started", fail)

    async def batches() -> AsyncIterator[PictureBatch]:
        yield PictureBatch(["a"], [{}], ["a.png"])

    async def encode() -> None:
        async with aclosing(ray_workers.on_ray(cast(Work, None), 1, [], batches())) as results:
            async for _ in results:
                pass

    with pytest.raises(Interrupted) as raised:
        asyncio.run(encode())
    assert str(raised.value).startswith("Ray cannot go on: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
