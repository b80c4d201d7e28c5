"""More work than the device can do at once: full queues, deadlines, callers who leave. A slow model and batches of 8 rows."""

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

import models

from .pictures import encoded, from_npy, npy
from .problems import problem
from .server import Server, serving

ROWS = 256  # all that may wait: some 32 batches


@pytest.fixture(scope="session")
def slow_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose batches take long."""
    directory = tmp_path_factory.mktemp("slow")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = models.VAE(models.VAEConfig((1, 96, 96), 2, "conv", {"channels": [96, 192], "hidden": 0}))
    models.save(directory / "slow", vae)
    return directory


@pytest.fixture(scope="module")
def server(slow_dir: Path) -> Iterator[Server]:
    limits = ("--max-batch", "8", "--max-queue-rows", str(ROWS), "--max-rows", str(ROWS))
    with serving("--models-dir", str(slow_dir), *limits) as running:
        yield running


def counts(server: Server, operation: str = "decode") -> dict[str, int]:
    found: dict[str, int] = server.info()["engine"]["slow"][operation]
    return found


@pytest.fixture
def many(server: Server) -> Iterator[ThreadPoolExecutor]:
    """Callers beside the test's own."""
    with ThreadPoolExecutor(16) as pool:
        yield pool
        server.poll(lambda: all(counts(server, lane)["queued_rows"] == 0 for lane in ("encode", "encode_float", "decode")))


@contextmanager
def busy(server: Server, many: ThreadPoolExecutor, rows: int = ROWS) -> Iterator[Future[httpx.Response]]:
    """Inside the block the device has at first `rows` rows to decode, for a caller who then gets all of them."""
    future = many.submit(httpx.get, f"{server.url}/sample?n={rows}&seed=1&format=npy", timeout=60)
    server.poll(lambda: counts(server)["queued_rows"] > rows // 2)
    yield future
    answer = future.result().raise_for_status()
    assert from_npy(answer.content).shape == (rows, 96, 96, 1)


def test_a_full_queue_says_so_at_once_and_when_to_come_back(server: Server, many: ThreadPoolExecutor) -> None:
    before = counts(server)
    with busy(server, many) as first:
        body = problem(httpx.get(f"{server.url}/sample?n={ROWS}&seed=2"), 429, "queue_full")
        assert "queue is full" in body["detail"]
        assert not first.done()
        refused = problem(httpx.post(f"{server.url}/decode", content=npy(np.zeros((ROWS, 2)))), 429, "queue_full")
        assert refused["request_id"] != body["request_id"]
        # the other operations have queues of their own
        httpx.post(f"{server.url}/encode", content=npy(np.zeros((1, 96, 96), np.uint8)), timeout=60).raise_for_status()
    assert counts(server)["rejected_rows"] - before["rejected_rows"] == 2 * ROWS
    httpx.get(f"{server.url}/sample?n=1&seed=2").raise_for_status()  # who comes back is served


def test_more_rows_than_ever_fit_are_never_asked_to_come_back(server: Server) -> None:
    answer = httpx.get(f"{server.url}/sample?n={ROWS + 1}")
    problem(answer, 422, "too_many_items", str(ROWS + 1), str(ROWS))
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("where", ["query", "header", "body"])
def test_a_request_past_its_deadline_is_not_computed(server: Server, many: ThreadPoolExecutor, where: str) -> None:
    before = counts(server)
    with busy(server, many, 128) as first:
        forms: dict[str, dict[str, Any]] = {
            "query": {"params": {"n": 64, "timeout_ms": 1}},
            "header": {"params": {"n": 64}, "headers": {"x-timeout-ms": "1"}},
            "body": {"json": {"n": 64, "timeout_ms": 1}},
        }
        answer = httpx.request("POST", f"{server.url}/sample", timeout=60, **forms[where])
        problem(answer, 504, "deadline_exceeded")
        assert not first.done()
    dropped = counts(server)["dropped_rows"] - before["dropped_rows"]
    assert 64 - 8 <= dropped <= 64  # all but what one batch may have taken already
    patient = httpx.get(f"{server.url}/sample?n=1&timeout_ms=60000&seed=1").raise_for_status()
    assert patient.content == httpx.get(f"{server.url}/sample?n=1&seed=1").content


def test_a_small_request_does_not_stand_behind_a_huge_one(server: Server, many: ThreadPoolExecutor) -> None:
    alone = httpx.get(f"{server.url}/sample?n=1&seed=5").raise_for_status().content
    with busy(server, many) as huge:
        # its rows share the batches of the huge one, so that the queue is still long when it is answered
        assert httpx.get(f"{server.url}/sample?n=1&seed=5", timeout=60).content == alone
        assert not huge.done()
        assert counts(server)["queued_rows"] > 0


def hang_up(server: Server, request: bytes, lane: str) -> int:
    """Send a request, wait until its rows are in the queue, close the socket, and give the rows that were dropped."""
    before = counts(server, lane)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(request)
        server.poll(lambda: counts(server, lane)["queued_rows"] > before["queued_rows"])
    server.poll(lambda: counts(server, lane)["dropped_rows"] > before["dropped_rows"])
    return counts(server, lane)["dropped_rows"] - before["dropped_rows"]


def test_rows_of_callers_who_hang_up_are_dropped(server: Server, many: ThreadPoolExecutor) -> None:
    alone = httpx.get(f"{server.url}/sample?n=24&seed=9&format=npy", timeout=60).raise_for_status().content
    with busy(server, many, 128):
        # the device decodes; these wait to be encoded in turn with it
        stay = many.submit(httpx.get, f"{server.url}/sample?n=24&seed=9&format=npy", timeout=60)
        pictures = npy(np.zeros((100, 96, 96), np.uint8))
        posted = f"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: {len(pictures)}\r\n\r\n".encode() + pictures
        assert 0 < hang_up(server, posted, "encode") <= 100
    assert stay.result().content == alone
    with busy(server, many, 64):
        assert 0 < hang_up(server, b"GET /sample?n=150&seed=3 HTTP/1.1\r\nhost: x\r\n\r\n", "decode") <= 150
    assert httpx.get(f"{server.url}/sample?n=24&seed=9&format=npy", timeout=60).content == alone


def test_rows_are_dropped_while_their_pictures_are_decoded(server: Server, many: ThreadPoolExecutor) -> None:
    """They count as queued from their admission on: whoever leaves them behind has dropped them."""
    n, before = 150, counts(server, "encode")
    large = encoded(np.zeros((1500, 1500), np.uint8))
    request = httpx.Request("POST", f"{server.url}/encode", files=[("image", ("x", large))] * n)
    head = f"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-type: {request.headers['content-type']}\r\n"
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(f"{head}content-length: {request.headers['content-length']}\r\n\r\n".encode() + request.read())
        server.poll(lambda: counts(server, "encode")["queued_rows"] > n // 2)
    server.poll(lambda: counts(server, "encode")["queued_rows"] == 0)
    httpx.post(f"{server.url}/encode", content=npy(np.zeros((1, 96, 96), np.uint8)), timeout=60).raise_for_status()
    after = counts(server, "encode")
    computed, dropped = (after[name] - before[name] for name in ("rows", "dropped_rows"))
    assert computed - 1 < n
    assert computed - 1 + dropped == n


def test_callers_who_hang_up_in_the_middle_of_a_body_harm_nobody(server: Server) -> None:
    before = counts(server, "encode")
    host, port = server.url.removeprefix("http://").split(":")
    for sent in (
        b"",
        b"POST /enc",
        b"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n\x89PNG\r\n",
        b"\0" * 999,
    ):
        for _ in range(5):
            with socket.create_connection((host, int(port))) as caller:
                caller.sendall(sent)
    httpx.get(f"{server.url}/sample?seed=1", timeout=60).raise_for_status()
    after = counts(server, "encode")
    assert (after["rows"], after["queued_rows"]) == (before["rows"], 0)


def test_sigterm_under_load_answers_every_admitted_request(slow_dir: Path) -> None:
    n, seeds = 96, range(10)
    path = f"/sample?format=npy&n={n}&seed="
    with ExitStack() as stack:
        server = stack.enter_context(serving("--models-dir", str(slow_dir), "--max-batch", "8", "--shutdown-seconds", "60"))
        address = httpx.URL(server.url)
        alone = {seed: httpx.get(f"{server.url}{path}{seed}").raise_for_status().content for seed in range(2)}
        callers = [stack.enter_context(closing(HTTPConnection(address.host, address.port, timeout=60))) for _ in seeds]
        idle = stack.enter_context(httpx.Client(base_url=server.url))
        idle.get("/health/ready").raise_for_status()
        taken = counts(server)["rows"]

        def left() -> int:
            """Rows that still wait, once all are admitted."""
            now = counts(server)
            return now["queued_rows"] if now["rows"] - taken + now["queued_rows"] >= 10 * n - 8 else 0

        with server.paused():  # so that all ten arrive at the same moment
            for caller, seed in zip(callers, seeds, strict=True):
                caller.request("GET", f"{path}{seed}")
        server.poll(lambda: left() > n)
        server.terminate()
        answers = [caller.getresponse() for caller in callers]
        contents = [answer.read() for answer in answers]
        assert server.wait() == 0, server.log
    assert [answer.status for answer in answers] == [200] * 10
    assert [answer.getheader("x-seed") for answer in answers] == [str(seed) for seed in seeds]
    assert all(contents[seed] == content for seed, content in alone.items())
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health/live")
