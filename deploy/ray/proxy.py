"""Middleware for the HTTP servers of Ray Serve, which they read from RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.

    deploy.ray.proxy:middleware            the request ids of the service
    deploy.ray.proxy:model_middleware      also sends requests to replicas that have loaded the model which they name

The variable must be set where Ray is started (`ray start`), on every machine. Knows nothing of replicas.
"""

from starlette.middleware import Middleware

from deploy.ray.named_model import MODEL_HEADER, model_of
from service.asgi import ASGIApp, Receive, Scope, Send
from service.http.request_id import PLAIN, new_request_id

REQUEST_ID = b"x-request-id"


def middleware() -> list[Middleware]:
    """Return what a proxy does with each request if all replicas have all models."""
    return [Middleware(PlainRequestId)]


def model_middleware() -> list[Middleware]:
    """Return what a proxy does with each request if the application has models_per_replica."""
    return [Middleware(PlainRequestId), Middleware(RoutedByModel)]


class PlainRequestId:
    """Replaces a request id that the service would not take. Serve would repeat it in the answer, whatever it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "http":
            first, *others = [value for name, value in scope["headers"] if name == REQUEST_ID] or [b""]
            if others or (first and not PLAIN.fullmatch(first)):
                own = first if PLAIN.fullmatch(first) else new_request_id().encode()
                headers = [one for one in scope["headers"] if one[0] != REQUEST_ID]
                scope = {**scope, "headers": [*headers, (REQUEST_ID, own)]}
        await self._app(scope, receive, send)


class RoutedByModel:
    """Adds the header by which Serve chooses the replica, with the model that the request names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "http":
            name = model_of(scope["path"], scope)
            headers = [one for one in scope["headers"] if one[0].replace(b"-", b"_") != MODEL_HEADER]
            if name is not None and name.isascii() and name.isprintable():
                headers.append((MODEL_HEADER, name.encode()))
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)
