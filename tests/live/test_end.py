"""The end of a service under load, and of its workers: whoever was accepted is answered, nobody else is left hanging."""

import json
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
import torch

import models

from .callers import Calls, calling
from .problems import problem
from .server import Server, serving
from .wire import Wire

PATHS = [f"/sample?n={n}&seed={seed}&format=npy" for n, seed in ((1, 1), (3, 2), (16, 3))]


def save(directory: Path, seed: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        models.save(directory, models.VAE(models.VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [8]})))


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    save(tmp_path / "tiny", 0)
    return tmp_path


def all_answered(calls: Calls, callers: int) -> None:
    """Each request has had its answer, until the port was closed: no connection was made and then reset."""
    assert calls.failures == []
    assert {answer.status for answer in calls.answers} == {200}
    assert calls.refused == callers


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize("callers", [4, pytest.param(64, marks=pytest.mark.soak)])
def test_sigterm_under_load(shelf: Path, arguments: tuple[str, ...], callers: int) -> None:
    with serving("--models-dir", str(shelf), "--drain-seconds", "1", *arguments) as server:
        with calling(server.url, PATHS, callers) as calls:
            server.terminate()
            assert server.wait() == 0, server.log
        assert calls.answers[-1].connection == "close"
        all_answered(calls, callers)


def test_sigint_under_load_skips_the_drain(shelf: Path) -> None:
    with serving("--models-dir", str(shelf), "--drain-seconds", "3600") as server, calling(server.url, PATHS, 4) as calls:
        server.process.send_signal(signal.SIGINT)
        assert server.wait() == 0, server.log
    all_answered(calls, 4)


@pytest.mark.parametrize(
    "arguments", [pytest.param((), id="alone"), pytest.param(("--workers", "2"), id="workers", marks=pytest.mark.soak)]
)
def test_sigterm_means_not_ready_but_serving_and_a_second_one_the_end(shelf: Path, arguments: tuple[str, ...]) -> None:
    server = Server("--models-dir", str(shelf), "--drain-seconds", "3600", *arguments)
    try:
        server.wait_until_ready()
        children = psutil.Process(server.process.pid).children()
        server.terminate()
        server.poll(lambda: httpx.get(f"{server.url}/health/ready").status_code == 503)
        problem(httpx.get(f"{server.url}/health/ready"), 503, "draining")
        for path in ("/health/live", *PATHS):
            assert httpx.get(server.url + path).raise_for_status().headers["connection"] == "close"
        server.terminate()
        assert server.wait() == 128 + signal.SIGTERM
        psutil.wait_procs(children, timeout=60)
        assert not any(child.is_running() for child in children)
    finally:
        server.kill()


@pytest.fixture
def pair(shelf: Path) -> Iterator[Server]:
    """Two workers."""
    with serving("--models-dir", str(shelf), "--workers", "2", "--drain-seconds", "1", "--access-log", "false") as server:
        yield server
        server.process.send_signal(signal.SIGINT)  # the drain is not what is tested with it
        assert server.wait() == 0, server.log


def workers(server: Server) -> set[int]:
    """Their process ids; one that has died and is not buried yet counts."""
    found = set()
    for child in psutil.Process(server.process.pid).children():
        with suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_ZOMBIE or "resource_tracker" not in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


@pytest.mark.parametrize(("rounds", "callers"), [(1, 4), pytest.param(3, 64, marks=pytest.mark.soak)])
def test_sighup_under_load(pair: Server, shelf: Path, rounds: int, callers: int) -> None:
    digests = {models.checkpoint.read(shelf / "tiny").digest}
    with calling(pair.url, PATHS, callers) as calls:
        for seed in range(1, rounds + 1):
            before = workers(pair)
            save(shelf / "tiny", seed)
            digests.add(models.checkpoint.read(shelf / "tiny").digest)
            pair.process.send_signal(signal.SIGHUP)
            pair.poll(lambda before=before: len(now := workers(pair)) == 2 and not now & before)  # type: ignore[misc]
            calls.wait_for_answers(callers)
        label = f"tiny@sha256:{models.checkpoint.read(shelf / 'tiny').digest}"
        assert {httpx.get(pair.url + PATHS[0]).headers["x-model"] for _ in range(8)} == {label}
    assert calls.failures == []
    assert calls.refused == 0
    assert {answer.status for answer in calls.answers} == {200}
    assert {answer.model.rpartition(":")[2] for answer in calls.answers} <= digests


@pytest.mark.soak
def test_sighup_with_a_spoiled_model_keeps_the_workers(pair: Server, shelf: Path) -> None:
    before = workers(pair)
    (shelf / "tiny" / "model.safetensors").write_bytes(b"spoiled")
    pair.process.send_signal(signal.SIGHUP)
    pair.poll(lambda: "could not start" in pair.log)
    assert workers(pair) == before
    httpx.get(pair.url + PATHS[0]).raise_for_status()
    assert pair.log.count("cannot start: ") == 1
    assert "Traceback" not in pair.log


@pytest.mark.parametrize("sent", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.soak)])
def test_a_worker_that_crashes_or_stands_still_is_replaced(pair: Server, sent: signal.Signals) -> None:
    before = workers(pair)
    victim = min(before)
    psutil.Process(victim).send_signal(sent)
    pair.poll(lambda: len(now := workers(pair)) == 2 and victim not in now)
    assert before - {victim} < workers(pair)
    pair.poll(lambda: str(victim) in pair.log)
    pair.wait_until_ready()


def test_workers_end_with_their_supervisor(shelf: Path) -> None:
    server = Server("--models-dir", str(shelf), "--workers", "2")
    try:
        server.wait_until_ready()
        children = [psutil.Process(pid) for pid in workers(server)]
        server.process.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive
    finally:
        server.kill()


def test_the_end_does_not_wait_for_a_thread_that_is_at_work() -> None:
    """Writing this animation takes a thread far longer than the end may take."""
    bounds = ("--models", "sprites", "--drain-seconds", "0", "--shutdown-seconds", "1")
    ends = json.dumps({"start": {"z": [0.0] * 16}, "end": {"z": [1.0] * 16}, "steps": 4096}).encode()
    with serving(*bounds) as server, Wire(server) as wire:
        before = computed(server)
        wire.send(b"POST /interpolate?format=webp HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(ends) + ends)
        server.poll(lambda: computed(server) - before >= 4096)  # now a thread begins to write
        server.terminate()
        assert server.process.wait(15) == 0


def computed(server: Server) -> int:
    return int(server.info()["engine"]["sprites"]["decode"]["rows"])
