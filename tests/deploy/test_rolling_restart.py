"""Two replicas behind nginx as deploy/ has it: replaced one after the other under load, no request fails. Needs nginx."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.live.server import ROOT, Server

from .front import free_port, front

pytestmark = pytest.mark.soak

CALLERS = 64
SEVEN = (ROOT / "examples" / "seven.png").read_bytes()
REQUESTS = [
    ("POST", "/encode", SEVEN),
    ("POST", "/decode", json.dumps({"z": [[0.5] * 20]}).encode()),
    ("GET", "/sample?n=2&seed=7", b""),
    ("POST", "/reconstruct?format=png", SEVEN),
]


class Load:
    """Callers who ask one thing after the other, and compare each answer with the first to the same request."""

    def __init__(self, url: str) -> None:
        self.answers = 0
        self.failures: Counter[str] = Counter()
        self._url, self._ended = url, False
        self._first: dict[str, bytes] = {}

    async def _ask(self, client: httpx.AsyncClient, method: str, path: str, body: bytes) -> None:
        try:
            answer = await client.request(method, path, content=body)
        except httpx.HTTPError as error:
            self.failures[f"{path}: {error!r}"] += 1
            return
        self.answers += 1
        if answer.status_code != 200:
            self.failures[f"{path}: {answer.status_code} {answer.text}"] += 1
        elif answer.content != self._first.setdefault(path, answer.content):
            self.failures[f"{path}: other bytes"] += 1

    async def _call(self, number: int) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as client:
            while not self._ended:
                await self._ask(client, *REQUESTS[number % len(REQUESTS)])
                number += 1

    async def _run(self) -> None:
        await asyncio.gather(*(self._call(number) for number in range(CALLERS)))

    @contextmanager
    def running(self) -> Iterator[None]:
        """They ask in a thread of their own, until the block ends."""
        thread = threading.Thread(target=asyncio.run, args=(self._run(),))
        thread.start()
        try:
            yield
        finally:
            self._ended = True
            thread.join()


def is_ready(url: str) -> bool:
    """Ask a replica whether it is ready, and wait as long as it takes under load."""
    return httpx.get(f"{url}/health/ready", timeout=60).status_code == 200


def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    replicas = [Server("--port", str(port), "--models", "mnist") for port in ports]
    try:
        with front(tmp_path, ports) as nginx:
            load = Load(nginx.url)

            def more() -> None:
                """Every caller has been answered, some times, since."""
                enough = load.answers + 4 * CALLERS
                nginx.poll(lambda: load.answers >= enough)

            for replica in replicas:
                replica.wait_until_listening()
                nginx.poll(partial(is_ready, replica.url))
            nginx.poll(lambda: not nginx.marked())
            with load.running():
                more()
                for number, port in enumerate(ports):
                    replicas[number].terminate()
                    nginx.poll(lambda: bool(nginx.marked()))
                    more()
                    assert replicas[number].wait() == 0, replicas[number].log
                    more()
                    replicas[number] = Server("--port", str(port), "--models", "mnist")
                    replicas[number].wait_until_listening()
                    nginx.poll(partial(is_ready, replicas[number].url))
                    nginx.poll(lambda: not nginx.marked())
                    more()
            assert not load.failures, (load.answers, load.failures.most_common(5))
            for replica in replicas:  # neither did it alone
                assert replica.info()["engine"]["mnist"]["encode"]["rows"] > 0
    finally:
        for replica in replicas:
            replica.kill()


def own_problem(answer: httpx.Response, status: int, code: str) -> None:
    """An answer of nginx's own looks like one of the service's."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    body = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:vae-service:problem:{code}")
    assert body["error"] == f"{code}: {body['detail']}"
    assert body["request_id"]
    assert ("retry-after" in answer.headers) == (status == 503)


def test_what_nginx_says_itself(tmp_path: Path) -> None:
    """Nobody there, not for the outside, too large."""
    with front(tmp_path, [free_port(), free_port()]) as nginx, httpx.Client(base_url=nginx.url, timeout=60) as client:
        nginx.poll(lambda: len(nginx.marked()) == 2)
        own_problem(client.post("/encode", content=SEVEN), 503, "unavailable")
        own_problem(client.get("/health/ready"), 503, "unavailable")
        own_problem(client.get("/metrics"), 404, "not_found")
        own_problem(client.post("/admin/models/mnist/reload"), 404, "not_found")
        own_problem(client.post("/encode", content=bytes((64 << 20) + 1)), 413, "body_too_large")
