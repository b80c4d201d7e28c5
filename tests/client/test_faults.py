"""Full queues, lost answers, and services that are killed or replaced in the middle: nothing is lost, nothing is doubled."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

import models
from tests.client.calling import WAYS, Losing, calling
from tests.live.pictures import Pixels
from tests.live.server import Server, serving

N = 2000


@pytest.fixture(scope="module")
def many(digits: Pixels) -> Pixels:
    """Digits that differ in a corner, so that each has a posterior of its own."""
    pictures = np.resize(digits, (N, 28, 28)).copy()
    pictures[:, 0, 0], pictures[:, 0, 1] = np.arange(N) % 256, np.arange(N) // 256 * 30
    return pictures


@pytest.mark.parametrize("way", [pytest.param("sync", marks=pytest.mark.soak), "async"])
def test_a_queue_that_is_too_small(way: str, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        slow = models.VAE(models.VAEConfig((1, 96, 96), 2, "conv", {"channels": [96, 192], "hidden": 0}))
    models.save(tmp_path / "slow", slow)
    pictures = np.arange(96 * 8, dtype=np.uint8)[:, None, None] * np.ones((1, 96, 96), np.uint8)
    limits = ("--max-batch", "8", "--max-queue-rows", "32", "--max-rows", "32")
    with serving("--models-dir", str(tmp_path), *limits) as server, calling(way, server.url, retry_seconds=300) as client:
        found = client.encode_many(pictures[:160], batch_size=16, concurrency=8)
        assert server.info()["engine"]["slow"]["encode"]["rejected_rows"] > 0
        alone = [client.encode(picture).mu[0] for picture in pictures[:160:40]]
    np.testing.assert_array_equal(found.mu[::40], alone)


@pytest.mark.parametrize("way", WAYS)
def test_lost_answers_double_nothing(way: str, server: Server, many: Pixels) -> None:
    losing, name = Losing(), f"lost-{way}"
    with calling(way, server.url, transport=losing) as client:
        client.put_collection(name)
        added = client.add_many(name, many[:500], batch_size=25)
        assert losing.lost > 5
        assert len(set(added.ids)) == client.get_collection(name).count == 500
        assert {item.id for item in client.items(name)} == set(added.ids)


class Restarting:
    """A service that ends in the middle of a call, and comes back at the same address."""

    def __init__(self, directory: Path) -> None:
        self._variables = {"VAE_MODELS": "mnist", "VAE_STORE": str(directory / "latents.db")}
        self.server = Server(variables=self._variables)
        self.server.wait_until_ready()
        self.url = self.server.url
        self._restart: threading.Thread | None = None

    def pictures(self, all_: Pixels, end: Callable[[Server], None]) -> Iterator[Pixels]:
        """The pictures one by one. After half of them, while others are being sent, the service ends."""
        for i, picture in enumerate(all_):
            if i == len(all_) // 2:
                end(self.server)
                self._restart = threading.Thread(target=self._start_again)
                self._restart.start()
            yield picture

    def _start_again(self) -> None:
        self.server.wait()
        self.server = Server("--port", str(httpx.URL(self.url).port), variables=self._variables)

    def join(self) -> None:
        assert self._restart is not None
        self._restart.join()
        self.server.wait_until_ready()


@pytest.fixture
def restarting(tmp_path: Path) -> Iterator[Restarting]:
    found = Restarting(tmp_path)
    yield found
    found.join()
    found.server.kill()


@pytest.mark.parametrize(("way", "end"), [("sync", lambda server: server.process.kill()), ("async", Server.terminate)])
def test_a_restart(way: str, end: Callable[[Server], None], restarting: Restarting, many: Pixels) -> None:
    with calling(way, restarting.url, retry_seconds=300) as client:
        first = client.encode_many(many, batch_size=50)
        client.put_collection("digits")
        ids = [f"{i:04}" for i in range(N)]
        added = client.add_many("digits", restarting.pictures(many, end), batch_size=50, metadata=({"i": id} for id in ids))
        restarting.join()
        found = list(client.items("digits", include=["mu"]))
        assert len(found) == client.get_collection("digits").count == len(set(added.ids)) == N
        where = {item.id: item for item in found}
        assert [where[id].metadata["i"] for id in added.ids] == ids
        np.testing.assert_array_equal(np.array([where[id].mu for id in added.ids]), first.mu)
        again = client.encode_many(restarting.pictures(many, end), batch_size=50)
    assert again.label == first.label
    np.testing.assert_array_equal(again.mu, first.mu)
    np.testing.assert_array_equal(again.sigma, first.sigma)
