"""Requests that a page of another site makes a browser send: they change nothing here. Knows nothing of keys or routes.

A browser sends such a request from wherever its user is, into networks that its author cannot reach, and with the password
that it keeps for this address. It says which site the page is of: in Sec-Fetch-Site, and in Origin where there is no TLS.
"""

from collections.abc import Awaitable, Sequence
from urllib.parse import urlsplit

from service.asgi import ASGIApp, Receive, Scope, Send
from service.http.cors import ANY
from service.http.problems import HttpError, refuse

UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))
# where something changes; what is sent elsewhere has an answer, which other sites may not read, and nothing more
GUARDED = ("/admin/", "/collections/")
OWN_SITE = (b"same-origin", b"none")  # a site may have other ports and names, which are other people's pages


class OtherSite(HttpError):
    """A page of a site that is not allowed to has asked for a change."""

    status, code = 403, "other_site"

    def __init__(self) -> None:
        super().__init__("a page of another site may change nothing here, unless VAE_CORS_ORIGINS names its site")


class CrossSite:
    """Refuses them, unless the settings allow the site."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins` as browsers state them, like https://app.example, or * for all."""
        self._app, self._origins = app, frozenset(origins)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one event of a connection."""
        if (
            scope["type"] == "http"
            and scope["method"] in UNSAFE
            and scope["path"].startswith(GUARDED)
            and self._refuses(scope)
        ):
            return refuse(scope, send, OtherSite())
        return self._app(scope, receive, send)

    def _refuses(self, scope: Scope) -> bool:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if ANY in self._origins or (origin is not None and origin.decode("latin-1") in self._origins):
            return False
        if site is not None:
            return site not in OWN_SITE
        if origin is None:  # no browser
            return False
        try:
            return urlsplit(origin.decode("latin-1")).netloc.encode("latin-1").lower() != headers.get(b"host", b"").lower()
        except ValueError:
            return True
