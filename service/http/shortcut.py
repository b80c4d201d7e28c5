"""Calls endpoints without the router. Knows nothing about what they do."""

from collections.abc import Awaitable, Mapping

from service.asgi import ASGIApp, Receive, Scope, Send


class Shortcut:
    """Passes requests for fixed paths directly to their endpoints, and all others to the router.

    Routing takes longer than everything else that is done for a small picture. Both ways lead to the same endpoint.
    """

    def __init__(self, router: ASGIApp, application: object, endpoints: Mapping[tuple[str, str], ASGIApp]) -> None:
        """`endpoints`: by method and path. They get `application` as `scope["app"]`."""
        self._router, self._application, self._endpoints = router, application, endpoints

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one ASGI connection."""
        scope["app"] = self._application
        endpoint = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        return (endpoint or self._router)(scope, receive, send)
