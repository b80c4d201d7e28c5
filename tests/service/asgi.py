"""One request to an ASGI application, message by message: also such as no HTTP client sends. Knows nothing of the service."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


@dataclass(frozen=True)
class Exchange:
    """A request: `pieces` of its body as they arrive, and when the client hangs up: when it has its answer, or before."""

    method: str
    path: str
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    pieces: Sequence[bytes] = (b"",)
    leaves: Literal["answered", "waiting", "in the body"] = "answered"
    has_host: bool = True  # a header that every client sends; `headers` may have others of that name


@dataclass
class Sent:
    """The answer that an application has sent."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False


def of_httpx(method: str, path: str, **options: Any) -> Exchange:
    """Return the request that httpx would send, without the headers that it adds by itself."""
    request = httpx.Request(method, f"http://test{path}", **options)
    headers = [(name.lower(), value) for name, value in request.headers.raw if name.lower() != b"host"]
    return Exchange(method, request.url.path, request.url.query, headers, [request.read()])


async def send(application: Application, exchange: Exchange) -> Sent:
    """Have the request answered, or not."""
    sent, pieces, answered = Sent(), list(exchange.pieces), asyncio.Event()

    async def receive() -> Message:
        if pieces:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces) or exchange.leaves == "in the body"}
        if exchange.leaves == "answered":
            await answered.wait()
        return {"type": "http.disconnect"}

    async def take(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert not sent.status, "two answers"
            sent.status, sent.headers = message["status"], list(message["headers"])
        else:
            assert message["type"] == "http.response.body"
            assert sent.status, "a body before its start"
            assert not sent.complete, "more after the end"
            sent.body += message.get("body", b"")
            sent.complete = not message.get("more_body", False)
            if sent.complete:
                answered.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": exchange.method,
        "path": exchange.path,
        "raw_path": exchange.path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": exchange.query,
        "headers": [(b"host", b"test"), *exchange.headers] if exchange.has_host else list(exchange.headers),
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    await application(scope, receive, take)
    return sent
