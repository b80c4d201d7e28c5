"""Encoders in processes of their own: results come in order, and a load ends, also if a process is stopped or dead."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from multiprocessing import Pipe, active_children
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.bulk import processes
from service.bulk.encoded import Encoded
from service.bulk.processes import AT_A_TIME, in_processes
from service.bulk.worker import Work, Worker
from service.engine.device import QueueLimits
from service.operations.load_sources import Interrupted, LoadError, PictureBatch
from tests.service.bulk.killed import started

# What a test waits for at most. It is far more than any of them needs.
PATIENCE_SECONDS = 60


@pytest.fixture
def work(weights: Path) -> Work:
    return Work(weights, "grey", "", "cpu", 1, QueueLimits(64, 1024, 1024), "torch", "float32", 10_000, 1 << 20, 10.0)


async def batches(count: int) -> AsyncIterator[PictureBatch]:
    """Batches of four pictures each."""
    for i in range(count):
        yield PictureBatch([f"{i}-{j}" for j in range(4)], [{}] * 4, np.full((4, 1, 8, 8), i, np.uint8))


def ended(load: Callable[[], None]) -> None:
    """Run what loads in a thread of its own, which must end."""
    thread = threading.Thread(target=load, daemon=True)
    before = active_children()
    thread.start()
    thread.join(PATIENCE_SECONDS)
    hangs = thread.is_alive()
    for process in (left := [one for one in active_children() if one not in before]):
        process.kill()
    assert not hangs
    assert not left


async def taken(results: AsyncGenerator[Encoded], count: int) -> list[str]:
    """The ids of so many results, after which others are left."""
    return [id for _ in range(count) for id in (await anext(results)).items.ids]


def test_no_process_is_started_for_nothing(work: Work) -> None:
    async def load() -> None:
        async with aclosing(in_processes(work, 2, batches(0))) as results:
            with pytest.raises(StopAsyncIteration):
                await anext(results)
            assert not active_children()

    ended(lambda: asyncio.run(load()))


def test_a_load_that_is_done_ends_though_its_processes_do_not(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is stopped, and one dies, while they are told to end."""
    monkeypatch.setattr(processes, "ENDING_SECONDS", 0.1)
    done: list[str] = []

    async def load() -> None:
        async with aclosing(in_processes(work, 2, batches(9))) as results:
            done.extend(await taken(results, 9))
            first, second = (one.pid or 0 for one in active_children())
            os.kill(first, signal.SIGSTOP)
            os.kill(second, signal.SIGKILL)
            with pytest.raises(StopAsyncIteration):
                await anext(results)

    ended(lambda: asyncio.run(load()))
    assert done == [f"{i}-{j}" for i in range(9) for j in range(4)]


def test_a_process_that_dies_ends_the_load_though_another_one_is_stopped(work: Work) -> None:
    said: list[str] = []

    async def load() -> None:
        try:
            async with aclosing(in_processes(work, 2, batches(1000))) as results:
                await taken(results, 9)
                first, second = (one.pid or 0 for one in active_children())
                os.kill(first, signal.SIGSTOP)
                os.kill(second, signal.SIGKILL)
                async for _ in results:
                    pass
        except Interrupted as error:
            said.append(str(error))

    ended(lambda: asyncio.run(load()))
    assert said == ["a process that encodes has ended, perhaps because the memory is full: try fewer with --workers"]


async def test_a_process_begins_with_the_next_batch_while_one_is_in_the_model(work: Work) -> None:
    """And with no further one before it has sent a result."""

    class Noting(Worker):
        async def encode(self, batch: PictureBatch) -> Encoded:
            begun.put_nowait(batch.ids[0])
            return await super().encode(batch)

    begun = asyncio.Queue[str]()
    worker, (ours, theirs) = Noting(work), Pipe()
    with ours:
        async for batch in batches(3):
            ours.send(batch)
        async with worker.turn:  # as if a batch were in the model
            task = asyncio.create_task(processes.encode_all(worker, theirs))
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert [await begun.get() for _ in range(AT_A_TIME)] == ["0-0", "1-0"]
            await asyncio.wait([task], timeout=0.3)
            assert (begun.empty(), ours.poll()) == (True, False)
        found = [await asyncio.to_thread(ours.recv) for _ in range(3)]
        assert [one.items.ids[0] for one in found] == ["0-0", "1-0", "2-0"]
    await task
    await worker.close()


def test_an_error_in_a_process_is_raised_here(work: Work) -> None:
    said: list[LoadError] = []

    async def load() -> None:
        try:
            async with aclosing(in_processes(replace(work, digest="0" * 64), 1, batches(3))) as results:
                await anext(results)
        except LoadError as error:
            said.append(error)

    ended(lambda: asyncio.run(load()))
    assert "has another 'grey' now" in str(said[0])
    assert "in start" in said[0].__notes__[0]  # where it was raised


@pytest.mark.parametrize("again", [None, 0.01, pytest.param(0.03, marks=pytest.mark.soak)])
def test_ctrl_c_ends_a_load_of_which_processes_are_stopped(setting: Path, folder: Path, again: float | None) -> None:
    """Also if it is pressed once more while they end."""
    arguments = ["--out", str(setting / "out"), "--model", "grey", "--workers", "2", "--rows-per-file", "100", str(folder)]
    with started(arguments) as process:
        process.told(1)
        own = [one for one in psutil.Process(process.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        assert len(own) == 2
        for one in own:
            one.suspend()
        process.send_signal(signal.SIGINT)
        if again is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(again)
            process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_SECONDS)
        hangs = process.poll() is None
        process.kill_all()
        assert process.stderr is not None
        said = process.stderr.read()
    assert not hangs
    assert process.returncode == 130
    assert said.endswith(b"interrupted; run the same command again\n")
    assert not any(one.is_running() for one in own)


def test_ctrl_c_does_nothing_in_the_processes(setting: Path, folder: Path) -> None:
    """A terminal sends it to all of them, also while they import packages: the first one alone ends the load, and says so."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    with started(["--out", str(setting / "out"), "--model", "grey", "--workers", "2", str(folder)]) as process:
        while not (importing := list(filter(is_importing, psutil.Process(process.pid).children()))):
            assert time.monotonic() < give_up
            time.sleep(0.01)
        importing[0].send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert b"Traceback" not in said


def is_importing(process: psutil.Process) -> bool:
    """Whether it is an encoder that has been busy for a moment; packages take it more than a second."""
    with suppress(psutil.NoSuchProcess):  # a helper of a package that has ended
        return "spawn_main" in " ".join(process.cmdline()) and process.cpu_times().user > 0.2
    return False
