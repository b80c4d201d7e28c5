"""Callers of bad manners, each for as long as it is let: who hang up, send rubbish, come in floods, or say nothing."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx

from .mixture import Request, answer

FLOOD = 150  # connections at a time
FLOOD_SECONDS, PAUSE_SECONDS, PATIENCE_SECONDS = 4.0, 0.05, 20.0
RESET = struct.pack("ii", 1, 0)
POST = b"POST /encode HTTP/1.1\r\nhost: x\r\n"
RUBBISH = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /sample HTTP/9.9\r\n\r\n",
    b"GET /%ff%00../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n",
    POST + b"content-length: -1\r\n\r\n",
    POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
    POST + b"content-length: 99999999999\r\n\r\n",
    POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    POST + b"content-type: multipart/form-data; boundary=b\r\ncontent-length: 9\r\n\r\n--b\r\nxxxx",
    b"GET /sample HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
)

Way = Callable[[str, list[Request], random.Random], Awaitable[None]]


async def hang_up(url: str, requests: list[Request], chance: random.Random) -> None:
    """Somewhere in a request, or before its answer, or in it; some with a reset."""
    raw = chance.choice(requests).raw
    async with connection(url, with_reset=chance.random() < 0.5) as (reader, writer):
        writer.write(raw[: chance.choice((0, 10, chance.randrange(len(raw)), len(raw), len(raw)))])
        if chance.random() < 0.5:
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.random() / 20):
                    await reader.read(chance.choice((1, 1 << 16)))


async def rubbish(url: str, requests: list[Request], chance: random.Random) -> None:
    """Send bytes that are not HTTP, or hardly, until they are answered or the connection is closed."""
    async with connection(url) as (reader, writer):
        writer.write(chance.choice((*RUBBISH, chance.randbytes(200))))
        if chance.random() < 0.5:
            writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await reader.read()


async def silence(url: str, requests: list[Request], chance: random.Random) -> None:
    """A connection on which nothing, or half a head, is said."""
    async with connection(url) as (_, writer):
        writer.write(chance.choice((b"", b"GET /sam")))
        await asyncio.sleep(chance.uniform(1, 5))


async def flood(url: str, requests: list[Request], chance: random.Random) -> None:
    """Very many at the same moment, who all want their answer."""

    async def one() -> None:
        async with connection(url) as (reader, writer), asyncio.timeout(PATIENCE_SECONDS):
            writer.write(chance.choice(requests).raw)
            await answer(reader, without_body=True)

    await asyncio.gather(*(one() for _ in range(FLOOD)), return_exceptions=True)
    await asyncio.sleep(FLOOD_SECONDS)


# of each so many at a time
WAYS: tuple[tuple[Way, int], ...] = ((hang_up, 2), (rubbish, 2), (silence, 10), (flood, 1))


async def misbehave(url: str, requests: list[Request], seed: int) -> None:
    """All of that, until it is cancelled."""

    async def again(way: Way, number: int) -> None:
        chance = random.Random(f"{way.__name__} {number} {seed}")
        while True:
            with suppress(OSError):
                await way(url, requests, chance)
            await asyncio.sleep(PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for way, count in WAYS:
            for number in range(count):
                group.create_task(again(way, number))


@asynccontextmanager
async def connection(url: str, with_reset: bool = False) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A new connection, closed after the block at once."""
    parsed = httpx.URL(url)
    reader, writer = await asyncio.open_connection(parsed.host, parsed.port)
    try:
        yield reader, writer
    finally:
        if with_reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.close()
        if writer.transport.get_write_buffer_size():
            writer.transport.abort()
