"""Requests that reach the service at the same moment, for tests of what it does with many at once.

Clients are slower than the service: requests sent one after the other are mostly answered alone. Here every connection is
open first, then the service stands still while all requests are written, and goes on when they lie before it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import h11
import httpx

from .server import Server

RECEIVED_BYTES = 1 << 16


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    content: bytes


class _Connection:
    """One HTTP/1.1 connection, that sends and reads when it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._protocol = h11.Connection(h11.CLIENT)

    def write(self, request: httpx.Request) -> None:
        """As far as it goes at once; the rest when the service reads."""
        target, headers = request.url.raw_path, request.headers.raw
        head = h11.Request(method=request.method, target=target, headers=headers)
        for event in (head, h11.Data(data=request.read()), h11.EndOfMessage()):
            self.writer.write(self._protocol.send(event) or b"")

    async def reply(self) -> Reply:
        """The next answer."""
        status, chunks = 0, []
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                self._protocol.receive_data(await self._reader.read(RECEIVED_BYTES))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                chunks.append(bytes(event.data))
            else:
                assert isinstance(event, h11.EndOfMessage), event
                self._protocol.start_next_cycle()
                return Reply(status, b"".join(chunks))


async def burst(server: Server, requests: Sequence[httpx.Request]) -> list[Reply]:
    """All requests at once, each on a connection of its own; their answers in the same order."""
    address = httpx.URL(server.url)
    connections = [_Connection(*(await asyncio.open_connection(address.host, address.port))) for _ in requests]
    for connection in connections:  # accepted, and known to be
        connection.write(httpx.Request("GET", f"{server.url}/health/live"))
        assert (await connection.reply()).status == 200
    with server.paused():
        for connection, request in zip(connections, requests, strict=True):
            connection.write(request)
    replies = await asyncio.gather(*(connection.reply() for connection in connections))
    for connection in connections:
        connection.writer.close()
        await connection.writer.wait_closed()
    return list(replies)
