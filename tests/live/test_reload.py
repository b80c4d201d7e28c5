"""Models changed while callers are served: no request fails, and every answer is of the old model or of the new one."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

import models

from .callers import calling
from .problems import problem
from .server import Server, serving

PATHS = [f"/sample?n={n}&seed={seed}&format=npy&dtype=float32" for n, seed in ((1, 1), (3, 2), (16, 3))]


def save(directory: Path, seed: int) -> None:
    """A model of other weights for each seed, with a learnt layer of some size."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        models.save(directory, models.VAE(models.VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [64]})))


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Two models, `first` and `second`, and what `first` may become: `versions/0` and `versions/1`."""
    for seed in (0, 1):
        save(tmp_path / "versions" / str(seed), seed)
    save(tmp_path / "models" / "first", 0)
    save(tmp_path / "models" / "second", 2)
    return tmp_path


def put(shelf: Path, version: int) -> None:
    """Let the directory of `first` hold that version from now on."""
    for file in (shelf / "versions" / str(version)).iterdir():
        shutil.copy(file, shelf / "models" / "first" / file.name)


@pytest.fixture
def server(shelf: Path) -> Iterator[Server]:
    with serving("--models-dir", str(shelf / "models"), "--admin", "true", "--access-log", "false") as running:
        yield running


def change(server: Server, what: str, name: str = "first") -> httpx.Response:
    return httpx.post(f"{server.url}/admin/models/{name}/{what}", timeout=120)


@pytest.mark.parametrize(("reloads", "callers"), [(3, 4), pytest.param(20, 64, marks=pytest.mark.soak)])
def test_reloads_under_load(server: Server, shelf: Path, reloads: int, callers: int) -> None:
    expected: dict[tuple[str, str], bytes] = {}
    for version in (1, 0):
        put(shelf, version)
        change(server, "reload").raise_for_status()
        for path in PATHS:
            answer = httpx.get(server.url + path).raise_for_status()
            expected[path, answer.headers["x-model"]] = answer.content
    assert len(set(expected.values())) == 2 * len(PATHS)
    with calling(server.url, PATHS, callers) as calls:
        for number in range(1, reloads + 1):
            put(shelf, number % 2)
            new = change(server, "reload").raise_for_status().json()
            returned = time.monotonic()
            assert new["digest"] != new["previous"]
            calls.wait_for_answers(3 * callers)
            after = [answer for answer in calls.answers if answer.asked > returned]
            assert after
            assert {answer.model for answer in after} == {f"first@sha256:{new['digest']}"}
    assert calls.failures == []
    assert {a.status for a in calls.answers} == {200}
    for a in calls.answers:
        assert a.body == expected[a.path, a.model]
    assert {a.model for a in calls.answers} == {label for _, label in expected}


def test_a_failure_keeps_the_old_model(server: Server, shelf: Path) -> None:
    before = httpx.get(server.url + PATHS[0]).raise_for_status()
    (shelf / "models" / "first" / "model.safetensors").write_bytes(b"spoiled")
    problem(change(server, "reload"), 422, "unusable_model", "first", "model.safetensors")
    after = httpx.get(server.url + PATHS[0]).raise_for_status()
    assert (after.content, after.headers["x-model"]) == (before.content, before.headers["x-model"])
    put(shelf, 1)
    assert change(server, "reload").raise_for_status().json()["previous"] in before.headers["x-model"]
    assert httpx.get(server.url + PATHS[0]).headers["x-model"] != before.headers["x-model"]


def test_several_workers_name_the_way_that_works_there(shelf: Path) -> None:
    with serving("--models-dir", str(shelf / "models"), "--admin", "true", "--workers", "2") as server:
        for what in ("load", "reload", "unload"):
            problem(change(server, what), 409, "several_workers", "SIGHUP", f"kill -HUP {server.process.pid}")
