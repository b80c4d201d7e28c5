"""Bare servers under uvicorn, with uvloop and httptools: how little CPU time a request can cost.

`python bare.py KIND HOW PORT`:
KIND is `fixed` (always the same bytes: the floor) or `encode` (the yardstick: it decodes, computes and answers as fast as we
know how, but checks nothing, and has no other feature). HOW is `asgi` (an ASGI callable) or `protocol` (a protocol class: a
request is handled when its last byte has been parsed, without a task or a scope, and each answer is one write).
"""

import asyncio
import binascii
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httptools
import numpy as np
import orjson
import pyspng
import uvicorn

from benchmarks.limit import BATCH, OnnxEngine

Respond = Callable[[bytes], None]
Handle = Callable[[bytes, Respond], None]

FIXED = orjson.dumps({"mu": [[0.5] * 20], "sigma": [[0.5] * 20]})
JSON = (b"content-type", b"application/json")


def answer_fixed(_body: bytes, respond: Respond) -> None:
    """Answer every request with the same bytes."""
    respond(FIXED)


class Encoding:
    """Encodes one picture per request. What has arrived by the next iteration of the event loop becomes a batch."""

    def __init__(self) -> None:
        self._engine = OnnxEngine()
        self._waiting: list[tuple[Any, Respond]] = []

    def __call__(self, body: bytes, respond: Respond) -> None:
        """Decode the picture, and put it into the next batch."""
        picture = pyspng.load(binascii.a2b_base64(orjson.loads(body)["images"][0]))  # uint8 (H, W)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.append((picture, respond))

    def _run(self) -> None:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        mu, sigma = self._engine.encode(np.stack([picture for picture, _ in batch])[:, None])  # (B, D) each
        for i, (_, respond) in enumerate(batch):
            answer = {"mu": mu[i : i + 1], "sigma": sigma[i : i + 1]}
            respond(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))


def application(handle: Handle) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application."""

    async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        answered = asyncio.get_running_loop().create_future()
        handle(body, answered.set_result)
        answer = await answered
        headers = [JSON, (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return serve


class Connection(asyncio.Protocol):
    """An HTTP/1.1 connection without limits or timeouts. uvicorn makes it, with its own arguments."""

    def __init__(self, handle: Handle, server_state: Any, **_arguments: Any) -> None:
        self._handle, self._connections = handle, server_state.connections
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)

    def shutdown(self) -> None:
        """Close the connection, because the server ends."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self._handle(self._body, self._respond)

    def _respond(self, answer: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % len(answer) + answer)


async def nothing(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Stand for the application that uvicorn wants; `Connection` never calls it."""


if __name__ == "__main__":
    kind, how, port = sys.argv[1:]
    handle: Handle = answer_fixed if kind == "fixed" else Encoding()
    own: dict[str, Any] = {"app": application(handle)}
    if how == "protocol":
        own = {"app": nothing, "http": lambda **arguments: Connection(handle, **arguments)}
    server_options = {"port": int(port), "lifespan": "off", "access_log": False, "log_level": "warning"}
    uvicorn.run(**own, **server_options)
