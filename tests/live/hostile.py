"""Callers of bad manners, each for as long as it is let: who hang up, send rubbish, come in floods, or say nothing."""

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

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
    reader, writer = await connect(url)
    raw = chance.choice(requests).raw
    writer.write(raw[: chance.choice((0, 10, chance.randrange(len(raw)), len(raw), len(raw)))])
    if chance.random() < 0.5:
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.random() / 20):
                await reader.read(chance.choice((1, 1 << 16)))
    await leave(writer, with_reset=chance.random() < 0.5)


async def rubbish(url: str, requests: list[Request], chance: random.Random) -> None:
    """What is not HTTP, or hardly; until it is answered or cut off."""
    reader, writer = await connect(url)
    writer.write(chance.choice((*RUBBISH, chance.randbytes(200))))
    if chance.random() < 0.5:
        writer.write_eof()
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await reader.read()
    await leave(writer)


async def silence(url: str, requests: list[Request], chance: random.Random) -> None:
    """A connection on which nothing, or half a head, is said."""
    _, writer = await connect(url)
    writer.write(chance.choice((b"", b"GET /sam")))
    await asyncio.sleep(chance.uniform(1, 5))
    await leave(writer)


async def flood(url: str, requests: list[Request], chance: random.Random) -> None:
    """Very many at the same moment, who all want their answer."""

    async def one() -> None:
        reader, writer = await connect(url)
        writer.write(chance.choice(requests).raw)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await answer(reader, without_body=True)
        await leave(writer)

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


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A new connection."""
    parsed = httpx.URL(url)
    return await asyncio.open_connection(parsed.host, parsed.port)


async def leave(writer: asyncio.StreamWriter, with_reset: bool = False) -> None:
    """Close it."""
    if with_reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
