"""The latent store from outside: kill -9, two workers on one file, a file that is no store."""

import random
import signal
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from .server import PATIENCE_SECONDS, Server, serving

ITEMS = "/collections/digits/items"
SEARCH = "/collections/digits/search"


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_kill_loses_nothing_acknowledged(tmp_path: Path, rounds: int) -> None:
    variables = {"VAE_STORE": str(tmp_path / "latents.db"), "VAE_MODELS": "mnist-2d", "VAE_DEFAULT_MODEL": "mnist-2d"}
    acknowledged: dict[str, list[float]] = {}
    chance = random.Random(0)
    for round in range(rounds + 1):
        server = Server(variables=variables)
        try:
            server.wait_until_ready()
            with httpx.Client(base_url=server.url, timeout=60) as client:
                client.put("/collections/digits").raise_for_status()
                check_all(client, acknowledged)
            if round < rounds:
                add_until_killed(server, round, acknowledged, chance.randrange(10, 120))
        finally:
            server.kill()
    assert len(acknowledged) >= rounds * 10


def check_all(client: httpx.Client, acknowledged: dict[str, list[float]]) -> None:
    """Everything acknowledged is there and found; whatever else is there is whole."""
    found: dict[str, dict[str, Any]] = {}
    cursor = ""
    while cursor is not None:
        page = client.get(ITEMS, params={"limit": 1000, "cursor": cursor, "include": "mu"}).raise_for_status().json()
        found |= {item["id"]: item for item in page["items"]}
        cursor = page["cursor"]
    assert client.get("/collections/digits").json()["count"] == len(found)
    for id, mu in acknowledged.items():
        assert found[id]["mu"] == mu
    batches: dict[str, int] = {}
    for item in found.values():
        assert item["metadata"]["mu"] == item["mu"]
        batches[item["metadata"]["batch"]] = batches.get(item["metadata"]["batch"], 0) + 1
    assert set(batches.values()) <= {5}  # all of a request, or nothing
    sample = list(acknowledged.items())[-20:]
    if sample:
        results = client.post(SEARCH, json={"queries": [{"mu": mu} for _, mu in sample], "k": 1}).raise_for_status().json()
        assert [result["neighbors"][0]["id"] for result in results["results"]] == [id for id, _ in sample]


def add_until_killed(server: Server, round: int, acknowledged: dict[str, list[float]], after: int) -> None:
    lock = threading.Lock()
    rng = np.random.default_rng(round)
    count = [0]

    def add(worker: int) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for i in range(10_000):
                with lock:
                    mu = np.round(rng.standard_normal((5, 2)), 6).astype(np.float32).tolist()
                rows = {f"{round}-{worker}-{i}-{j}": [float(str(np.float32(v))) for v in row] for j, row in enumerate(mu)}
                items = [
                    {"id": id, "mu": row, "metadata": {"mu": row, "batch": f"{round}-{worker}-{i}"}}
                    for id, row in rows.items()
                ]
                try:
                    client.post(ITEMS, json={"items": items}).raise_for_status()
                except httpx.TransportError:
                    return
                with lock:
                    acknowledged.update(rows)
                    count[0] += 1
                    if count[0] == after:
                        server.process.kill()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))


@contextmanager
def stopped(server: Server, worker: psutil.Process) -> Iterator[None]:
    """A worker that stands still takes no connection: the other one answers."""
    worker.send_signal(signal.SIGSTOP)
    try:
        server.poll(lambda: worker.status() == psutil.STATUS_STOPPED)
        yield
    finally:
        worker.send_signal(signal.SIGCONT)


def test_what_one_worker_acknowledges_the_other_finds(tmp_path: Path) -> None:
    variables = {"VAE_STORE": str(tmp_path / "latents.db"), "VAE_MODELS": "mnist-2d", "VAE_DEFAULT_MODEL": "mnist-2d"}
    with serving("--workers", "2", variables=variables) as server:
        family = psutil.Process(server.process.pid).children()
        workers = [child for child in family if "spawn_main" in " ".join(child.cmdline())]
        assert len(workers) == 2

        def ask(worker: int, method: str, path: str, body: Any = None) -> Any:
            with stopped(server, workers[1 - worker]):  # each time a connection of its own
                return httpx.request(method, server.url + path, json=body, timeout=PATIENCE_SECONDS).raise_for_status().json()

        ask(0, "PUT", "/collections/digits")
        for i in range(30):
            ask(i % 2, "POST", ITEMS, {"items": [{"id": f"{i}", "mu": [i, -i]}]})
            found = ask(1 - i % 2, "POST", SEARCH, {"mu": [i, -i], "k": 1})
            assert (found["neighbors"][0]["id"], found["seq"]) == (f"{i}", i + 1)
        ask(0, "DELETE", f"{ITEMS}/29")
        assert ask(1, "POST", SEARCH, {"mu": [29, -29], "k": 1})["neighbors"][0]["id"] == "28"
        ask(1, "DELETE", "/collections/digits")
        assert ask(0, "GET", "/collections") == {"collections": []}


def test_a_foreign_file_ends_the_start(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    server = Server(variables={"VAE_STORE": str(path), "VAE_MODELS": "mnist-2d"})
    assert server.wait() == 1
    assert f"{path} is a sqlite file of another program" in server.log
    assert "Traceback" not in server.log
