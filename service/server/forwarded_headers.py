"""X-Forwarded-For and X-Forwarded-Proto of trusted proxies, by uvicorn's middleware, for requests that have them.

Other requests pass without a coroutine of their own. Knows nothing of the application.
"""

from collections.abc import Awaitable, Sequence
from typing import Any, cast

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.asgi import ASGIApp, Receive, Scope, Send

FORWARDED = frozenset((b"x-forwarded-for", b"x-forwarded-proto"))
# Stands for a caller through a unix socket, which has no address. Only processes of this machine reach it, such as a proxy.
UNIX = "unix"


class ForwardedHeaders:
    """Replaces the client's address and the scheme by those that a trusted proxy states."""

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        """`trusted`: addresses or networks of proxies, or * for all. Those that use a unix socket are trusted."""
        untyped: Any = app  # uvicorn has types of its own for the same things
        believed = ["*"] if "*" in trusted else [*trusted, UNIX]
        self._app, self._proxied = app, cast(ASGIApp, ProxyHeadersMiddleware(untyped, believed))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one event of a connection."""
        if scope["type"] == "http":
            for name, _ in scope["headers"]:
                if name in FORWARDED:
                    scope["client"] = scope.get("client") or (UNIX, 0)
                    return self._proxied(scope, receive, send)
        return self._app(scope, receive, send)
