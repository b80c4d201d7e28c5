"""Calls endpoints without the router. Knows nothing about what they do."""

from collections.abc import Awaitable, Callable, Mapping

from service.asgi import ASGIApp, Receive, Scope, Send

# (method, path) -> an endpoint, and the parameters in the path.
Find = Callable[[str, str], tuple[ASGIApp, dict[str, str]] | None]


class Shortcut:
    """Passes requests for fixed paths, and those that `find` knows, directly to their endpoints, all others to the router.

    Routing takes longer than everything else that is done for a small picture. Both ways lead to the same endpoint.
    """

    def __init__(
        self,
        router: ASGIApp,
        application: object,
        endpoints: Mapping[tuple[str, str], ASGIApp],
        find: Find = lambda method, path: None,
    ) -> None:
        """`endpoints`: by method and path. They get `application` as `scope["app"]`."""
        self._router, self._application, self._endpoints, self._find = router, application, endpoints, find

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one ASGI connection."""
        scope["app"] = self._application
        endpoint = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None and scope["type"] == "http" and (found := self._find(scope["method"], scope["path"])) is not None:
            endpoint, scope["path_params"] = found
        return (endpoint or self._router)(scope, receive, send)
