"""Requests of all kinds as bytes, good ones and bad ones, and a caller who sends them. Knows nothing of what is measured."""

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from .pictures import Pixels, encoded, npy, text

NAME = "mixture"  # of the collection
IDS = 300
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Request:
    """A request as it goes over the wire, and the statuses that are right answers to it."""

    raw: bytes
    statuses: frozenset[int]


def request(method: str, path: str, *statuses: int, **body: Any) -> Request:
    """`body` as httpx takes it; 429 and 503 tell that too much is asked at once, which is right too."""
    built = httpx.Request(method, f"http://x{path}", **body)
    head = b"%s %s HTTP/1.1\r\n" % (built.method.encode(), built.url.raw_path)
    lines = b"".join(b"%s: %s\r\n" % pair for pair in built.headers.raw)
    return Request(head + lines + b"\r\n" + built.read(), frozenset(statuses or {200}) | {429, 503})


def mixture(pngs: list[bytes], digits: Pixels) -> list[Request]:
    """Some 60 requests, to be sent in any order and any number of times; what they store has a bound."""
    z = np.zeros((3, 20)).tolist()
    items = f"/collections/{NAME}/items"
    good = [
        request("PUT", f"/collections/{NAME}", params={"metric": "w2"}),
        *(request("POST", "/encode", content=png) for png in pngs[:8]),
        request("POST", "/encode", files=[("image", ("x", png)) for png in pngs[:3]]),
        request("POST", "/encode?include=kl,z&seed=1", json={"images": [text(png) for png in pngs[:4]]}),
        request("POST", "/encode?format=npy", content=npy(digits[:16])),
        request("POST", "/encode", content=encoded(np.tile(digits[0], (9, 9)), "JPEG")),
        request("POST", "/decode", json={"z": z}),
        request("POST", "/decode?format=png", content=npy(np.zeros((2, 20), np.float32))),
        *(request("GET", f"/sample?seed={seed}&n={n}") for seed, n in ((1, 1), (2, 3), (3, 64))),
        request("GET", "/sample?seed=1&format=png&n=9", 200, 304, headers={"if-none-match": "*"}),
        request("POST", "/sample", json={"n": 2, "temperature": 0.5}),
        request("POST", "/interpolate?format=webp", json={"start": {"z": z[0]}, "end": {"image": text(pngs[0])}, "steps": 5}),
        request(
            "POST", "/interpolate?format=png", json={"corners": [{"z": z[0]}, *({"image": text(png)} for png in pngs[:3])]}
        ),
        request("POST", "/combine", json={"terms": [{"image": text(pngs[0])}, {"z": z[0], "weight": -1}]}),
        request("POST", "/barycenter?method=w2", json={"points": [{"image": text(png)} for png in pngs[:3]]}),
        request("POST", "/traverse?dims=local:3&format=png", content=pngs[4]),
        request("GET", "/manifold?dims=0,1&n=8"),
        request("POST", "/reconstruct?format=png&compare=true", content=pngs[3]),
        *(
            request(
                "POST", items, 200, 404, json={"items": [{"id": f"{k}", "image": text(pngs[k % 16]), "metadata": {"k": k}}]}
            )
            for k in range(0, IDS, 40)
        ),
        request("GET", f"{items}?limit=5&include=mu", 200, 404),
        request("GET", f'{items}?filter={{"k":{{"gte":10}}}}', 200, 404),
        request("GET", f"{items}/40", 200, 404),
        request("DELETE", f"{items}/80", 200, 404),
        request("POST", f"/collections/{NAME}/search", 200, 404, content=pngs[5]),
        *(request("GET", path) for path in ("/models", "/info", "/health/ready", "/metrics", "/docs", "/openapi.json")),
        request("HEAD", "/models"),
    ]
    bad = [
        request("GET", "/nothing", 404),
        request("GET", "/models/nobody", 404),
        request("POST", "/encode?model=nobody", 404, content=pngs[0]),
        request("GET", "/collections/none/items", 404),
        request("PATCH", "/encode", 405),
        request("POST", "/encode", 400, content=pngs[0][:60]),
        request("POST", "/encode", 400, json={"images": ["?"]}),
        request("POST", "/encode", 400, content=b'{"images": [', headers={"content-type": "application/json"}),
        request("POST", "/encode", 415, content=b"no picture at all"),
        request("POST", "/encode", 413, content=encoded(np.zeros((8000, 8000), np.uint8))),
        request("POST", "/decode", 422, json={"z": [[1.0, 2.0]]}),
        request("GET", "/sample?n=0", 422),
        request("GET", "/sample?sead=1", 422),
        request("GET", "/sample?n=1000000", 422),
        request("GET", "/sample?n=2000&timeout_ms=1", 200, 504),
        request("POST", f"/collections/{NAME}/search", 404, 422, json={"mu": [1.0]}),
    ]
    return good + bad


@dataclass
class Tally:
    """The outcome of requests: (time of the answer, duration in seconds) of each, and the number of each status."""

    times: list[tuple[float, float]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Caller:
    """Sends requests one after the other, on a connection that it keeps as long as the service does."""

    def __init__(self, url: str, tally: Tally) -> None:
        parsed = httpx.URL(url)
        self._address, self._tally = (parsed.host, parsed.port), tally
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, one: Request) -> None:
        """A request and its answer, into the tally."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._writer.write(one.raw)
                status, ends = await answer(self._reader, without_body=one.raw.startswith(b"HEAD"))
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self._tally.faults.append(f"{one.raw[:80]!r}: {error!r}")
            await self.close()
            return
        now = time.monotonic()
        self._tally.times.append((now, now - begun))
        self._tally.statuses[status] += 1
        if status not in one.statuses:
            self._tally.faults.append(f"{one.raw[:80]!r}: {status}")
        if ends:
            await self.close()

    async def close(self) -> None:
        """End the connection, if there is one."""
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
        self._reader = self._writer = None


async def answer(reader: asyncio.StreamReader, without_body: bool = False) -> tuple[int, bool]:
    """(status, whether the connection ends) of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    body = b"" if without_body or status == 304 else await reader.readexactly(length)
    if b"application/problem+json" in head and body:
        assert json.loads(body)["status"] == status
    return status, b"\r\nconnection: close" in head
