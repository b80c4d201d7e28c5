"""A load that is killed and started again ends with every item exactly once, on one machine."""

import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.store_command import main
from tests.service.bulk.conftest import COUNT
from tests.service.bulk.killed import run_killed, started
from tests.service.bulk.pictures import found_in, unreadable_in
from tests.service.store.postgres_server import Postgres

READABLE = sorted(f"{i % 10}/{i:05d}.png" for i in range(COUNT) if i not in (0, 700))


def check_files(setting: Path, folder: Path, kills: int, seed: int) -> None:
    out = setting / "out"
    run_killed(["--out", str(out), "--model", "grey", "--rows-per-file", "100", str(folder)], kills, COUNT, seed)
    ids, mu, sigma = found_in(out)
    assert ids == READABLE
    assert unreadable_in(out / "_unreadable.jsonl").keys() == {"0/00000.png", "0/00700.png"}
    assert not list(out.glob(".*"))
    assert main(["load", "--out", str(setting / "calm"), "--model", "grey", str(folder)]) == 0
    for one, other in zip((mu, sigma), found_in(setting / "calm")[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def check_collection(setting: Path, folder: Path, kills: int, seed: int) -> None:
    run_killed(["--collection", "some", "--model", "grey", str(folder), "--workers", "2"], kills, COUNT, seed)
    with closing(sqlite3.connect(setting / "latents.db")) as connection:
        found = connection.execute("SELECT id, seq FROM items ORDER BY id").fetchall()
    assert [id for id, _ in found] == READABLE
    assert sorted(seq for _, seq in found) == list(range(1, COUNT - 1))  # each was stored once


@pytest.mark.parametrize("check", [check_files, check_collection])
def test_every_item_is_there_once_after_a_kill(setting: Path, folder: Path, check: Callable[..., None]) -> None:
    check(setting, folder, 1, 0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("check", [check_files, check_collection])
def test_every_item_is_there_once_after_five_kills(setting: Path, folder: Path, check: Callable[..., None], seed: int) -> None:
    check(setting, folder, 5, seed)


@pytest.mark.soak
def test_every_item_is_in_postgres_once_after_five_kills(
    setting: Path, folder: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAE_STORE", postgres.create("killed"))
    run_killed(["--collection", "some", "--model", "grey", str(folder), "--workers", "2"], 5, COUNT, 1)
    assert main(["dump", "--collection", "some", str(setting / "dump")]) == 0
    with np.load(setting / "dump.npz") as arrays:
        assert len(arrays["mu"]) == COUNT - 2


def test_ctrl_c_has_one_exit_status_however_often_it_is_pressed(setting: Path, folder: Path) -> None:
    with started(["--out", str(setting / "out"), "--model", "grey", str(folder)]) as process:
        assert process.stderr is not None
        process.told(1)
        process.send_signal(signal.SIGINT)
        assert b"interrupted; run the same command again\n" in process.stderr
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
    assert process.returncode == 130


@pytest.mark.soak
def test_processes_end_with_the_one_that_started_them(setting: Path, folder: Path) -> None:
    with started(["--out", str(setting / "out"), "--model", "grey", "--workers", "2", str(folder)]) as process:
        process.told(100)
        own = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        gone, alive = psutil.wait_procs(own, timeout=60)
    assert len(gone) >= 2
    assert not alive
