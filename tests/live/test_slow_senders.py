"""Five hundred connections that send a byte a second: what the other callers notice of them."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from .server import Server, serving

SLOW, CALLERS, ROUNDS, ROUND_SECONDS = 500, 8, 3, 4.0
HEAD = b"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"


async def p99(server: Server, body: bytes) -> float:
    """Return the 99th percentile, in seconds, of requests that are sent one after the other on each of a few connections."""
    url, taken = httpx.URL(server.url), []
    request = b"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    end = time.perf_counter() + ROUND_SECONDS

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        while (started := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
            await reader.readexactly(int(length.split()[1]))
            taken.append(time.perf_counter() - started)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return statistics.quantiles(taken, n=100)[98]


@asynccontextmanager
async def slow_senders(server: Server) -> AsyncIterator[None]:
    """They are there in the block, half of them still in their heads."""
    url = httpx.URL(server.url)
    pairs = [await asyncio.open_connection(url.host, url.port) for _ in range(SLOW)]

    async def drip(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(HEAD if number % 2 else HEAD[:30])
        await asyncio.sleep(number / SLOW)
        while True:
            writer.write(b"x")
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(drip(writer, number)) for number, (_, writer) in enumerate(pairs)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, writer in pairs:
            writer.transport.abort()


@pytest.mark.soak
async def test_slow_senders_are_hardly_noticed(pngs: list[bytes]) -> None:
    with serving("--models", "mnist", "--access-log", "false", anew=True) as server:
        await p99(server, pngs[0])
        without, beside = [], []
        for _ in range(ROUNDS):
            without.append(await p99(server, pngs[0]))
            async with slow_senders(server):
                beside.append(await p99(server, pngs[0]))
    told = f"p99: {without} without them, {beside} beside them"
    assert statistics.median(beside) <= 1.5 * statistics.median(without), told
