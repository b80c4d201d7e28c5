"""Real connections to an application in this process: the protocol class of the server, and a client that sends raw bytes."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import uvicorn
from fastapi import FastAPI
from uvicorn.server import ServerState

from service.server.connection_bounds import ConnectionBounds
from service.server.connections import ConnectionWatch
from tests.service.asgi import Exchange, Sent

BOUNDS = ConnectionBounds(5, 5, 5, 100, 1 << 14, 100, 1000)
DEFAULT_HEADERS = [(b"date", b"today"), (b"x-content-type-options", b"nosniff")]


@asynccontextmanager
async def listening(app: FastAPI, **bounds: float) -> AsyncIterator[tuple[str, int, ServerState]]:
    """Serve connections with the protocol class of the server, and with these bounds beside the usual ones."""
    state = ServerState()
    state.default_headers = DEFAULT_HEADERS
    watch = ConnectionWatch(replace(BOUNDS, **bounds), Counter(), app.state.hot_path)
    config = uvicorn.Config(app.middleware_stack, log_config=None, ws="none")  # type: ignore[arg-type]
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: watch(config=config, server_state=state, app_state={}), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield host, port, state
    finally:
        server.close()
        await server.wait_closed()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        """Send piece by piece, each in a segment of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.001)

    async def answer(self) -> Sent:
        """Read the next answer."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        first, *lines = head[:-4].split(b"\r\n")
        headers = [(line.partition(b": ")[0], line.partition(b": ")[2]) for line in lines]
        length = int(dict(headers).get(b"content-length", b"0"))
        return Sent(int(first.split()[1]), headers, await asyncio.wait_for(self.reader.readexactly(length), 30), True)

    async def ask(self, *pieces: bytes) -> Sent:
        """Send one request and read its answer."""
        await self.send(*pieces)
        return await self.answer()

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()


@asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[Client]:
    """Open a connection."""
    client = Client(*await asyncio.open_connection(host, port))
    client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield client
    finally:
        client.close()


def on_the_wire(exchange: Exchange, *more: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return head and body of a request as bytes."""
    body = b"".join(exchange.pieces)
    target = exchange.path.encode() + (b"?" + exchange.query if exchange.query else b"")
    headers = {b"host": b"test", **dict(exchange.headers), **dict(more)}
    if body or exchange.method == "POST":
        headers.setdefault(b"content-length", b"%d" % len(body))
    lines = [b"%s: %s\r\n" % field for field in headers.items()]
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (exchange.method.encode(), target, b"".join(lines)), body
