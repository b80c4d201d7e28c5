"""CORS: decides which pages of other sites may read the answers. Knows nothing about keys or routes.

A page must send its API key itself, in a header. Credentials that the browser stores (cookies, passwords) are never allowed.
"""

from collections.abc import Sequence

from service.asgi import ASGIApp, Message, Receive, Scope, Send
from service.http.request_id import request_id_of

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
EXPOSED = (
    b"Dtype, ETag, Inference-Header-Content-Length, Retry-After, Server-Timing, Shape, X-Latent-Shape, X-Model, X-Prior, "
    b"X-Request-Id, X-Seed, X-Warnings"
)
# How long a browser may cache the answer to a preflight, in seconds.
MAX_AGE = b"600"
VARY = (b"vary", b"Origin")
ANY = "*"


class Cors:
    """Answers preflight requests, which carry no key, and adds the CORS headers to all other answers."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins`: allowed origins such as https://app.example, or * for all."""
        self._app = app
        self._any, self._origins = ANY in origins, frozenset(origin.encode("latin-1") for origin in origins)
        # The headers of answers to requests that no page of another site has sent. `Vary: Origin` keeps caches from giving a
        # page the answer to another origin.
        self.without_origin: list[tuple[bytes, bytes]] = [] if self._any else [VARY]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        origin = headers.get(b"origin")
        if origin is None or not (self._any or origin in self._origins):
            await self._app(scope, receive, _with(send, self.without_origin) if headers and self.without_origin else send)
            return
        allowed = [(b"access-control-allow-origin", b"*" if self._any else origin)]
        if not self._any:
            allowed.append(VARY)
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            allowed += [(b"access-control-allow-methods", METHODS), (b"access-control-max-age", MAX_AGE)]
            wanted = headers.get(b"access-control-request-headers")
            if wanted:
                allowed.append((b"access-control-allow-headers", wanted))
            allowed.append((b"x-request-id", request_id_of(scope).encode()))
            await send({"type": "http.response.start", "status": 204, "headers": allowed})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, _with(send, [*allowed, (b"access-control-expose-headers", EXPOSED)]))


def _with(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return send_with
