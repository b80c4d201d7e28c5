"""python -m service.store load --engine ray: the same files, also after kills; and what an actor says."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.store_command import main
from tests.service.bulk.conftest import COUNT
from tests.service.bulk.killed import run_killed
from tests.service.bulk.pictures import found_in, unreadable_in


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


def check(setting: Path, folder: Path, kills: int) -> None:
    arguments = ["--model", "grey", "--rows-per-file", "100", str(folder)]
    assert main(["load", "--out", str(setting / "calm"), *arguments]) == 0
    run_killed(["--out", str(setting / "out"), "--engine", "ray", "--workers", "2", *arguments], kills, COUNT, 0)
    for one, other in zip(found_in(setting / "out"), found_in(setting / "calm"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert unreadable_in(setting / "out" / "unreadable.jsonl") == unreadable_in(setting / "calm" / "unreadable.jsonl")


def test_ray_encodes_as_one_machine_does(setting: Path, folder: Path, ray_directory: Path) -> None:
    check(setting, folder, kills=0)


@pytest.mark.soak
def test_every_item_is_there_once_after_five_kills_with_ray(setting: Path, folder: Path, ray_directory: Path) -> None:
    check(setting, folder, kills=5)
