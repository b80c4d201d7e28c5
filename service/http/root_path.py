"""The path under which a proxy shows the service. Some proxies remove it from the requests that they pass on, others do not.

The middleware and the endpoints see paths without it. The router sees it in every path, as the ASGI specification asks, so
that pages can refer to each other. Knows nothing of what is served.
"""

from collections.abc import Awaitable

from service.asgi import ASGIApp, Receive, Scope, Send


class WithoutRootPath:
    """Removes the root path from the path of each request that has it."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        """`root_path`: such as /vae, without a slash at the end."""
        self._app, self._root_path, self._inside = app, root_path, root_path + "/"

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one ASGI connection."""
        if scope["type"] == "http":
            scope["path"] = self.inner(scope["path"])
        return self._app(scope, receive, send)

    def inner(self, path: str) -> str:
        """Return a path without the root path."""
        has_it = path.startswith(self._inside) or path == self._root_path
        return path[len(self._root_path) :] or "/" if has_it else path


class WithRootPath:
    """Puts the root path before the path of each request, and says so in `root_path`."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        """`root_path`: such as /vae, without a slash at the end."""
        self._app, self._root_path = app, root_path

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one ASGI connection."""
        if scope["type"] == "http":
            # a copy, because the middleware looks at the path again when the request is finished
            scope = {**scope, "path": self._root_path + scope["path"], "root_path": self._root_path}
        return self._app(scope, receive, send)
