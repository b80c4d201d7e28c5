"""HTTP load that does not wait: requests begin at random moments at a given rate, answered or not.

wrk waits for each answer before the next request, so that a slow server gets fewer requests. Knows nothing of the service.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from benchmarks.load import LoadError, Request


class _Connection:
    """A kept connection: one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, data: bytes) -> None:
        """Send a request and read its response. Raises LoadError unless its status is 200."""
        self.writer.write(data)
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise LoadError(f"the server answered {head.splitlines()[0].decode('latin-1')}")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self.reader.readexactly(int(length.split(b":")[1]))


class _Server:
    """A server with its idle connections."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.host, self.port = address.hostname or "", address.port or 80
        self.idle: list[_Connection] = []

    async def ask(self, data: bytes) -> None:
        connection = self.idle.pop() if self.idle else _Connection(*await asyncio.open_connection(self.host, self.port))
        await connection.ask(data)
        self.idle.append(connection)

    def close(self) -> None:
        for connection in self.idle:
            connection.writer.close()


def run(urls: Sequence[str], requests: Sequence[Request], rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Return the latencies in seconds, ascending; each request goes to a random server. Raises LoadError."""
    return asyncio.run(_run(urls, [_bytes(request) for request in requests], rate, seconds, random.Random(seed)))


async def _run(
    urls: Sequence[str], payloads: Sequence[bytes], rate: float, seconds: float, draw: random.Random
) -> list[float]:
    servers, found, tasks = [_Server(url) for url in urls], list[float](), set[asyncio.Task[None]]()

    async def one(data: bytes) -> None:
        sent = time.perf_counter()  # not when it was due: the timers of asyncio are up to a millisecond late
        await draw.choice(servers).ask(data)
        found.append(time.perf_counter() - sent)

    start = time.perf_counter()
    due, number = start, 0
    while True:
        due += draw.expovariate(rate)
        if due > start + seconds:
            break
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.add(asyncio.create_task(one(payloads[number % len(payloads)])))
        number += 1
        if number % 100 == 0:
            tasks = {task for task in tasks if not task.done() or task.result()}
    try:
        await asyncio.gather(*tasks)
    except (OSError, asyncio.IncompleteReadError) as error:
        raise LoadError(f"a connection broke: {error}") from error
    for server in servers:
        server.close()
    return sorted(found)


def _bytes(request: Request) -> bytes:
    head = [f"{request.method} {request.path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(request.body)}"]
    head += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*head, "", ""]).encode() + request.body
