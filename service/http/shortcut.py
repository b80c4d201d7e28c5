"""The way around the router. Knows nothing of what the endpoints do."""

from collections.abc import Awaitable, Mapping

from service.asgi import ASGIApp, Receive, Scope, Send


class Shortcut:
    """Takes requests of exact paths to their endpoints, and all others to the router.

    Routing costs more than all else that is done for a small picture. Both ways lead to the same endpoint.
    """

    def __init__(self, router: ASGIApp, application: object, endpoints: Mapping[tuple[str, str], ASGIApp]) -> None:
        """`endpoints`: by method and path. `application` is what they find in the scope."""
        self._router, self._application, self._endpoints = router, application, endpoints

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one event of a connection."""
        scope["app"] = self._application
        endpoint = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        return (endpoint or self._router)(scope, receive, send)
