"""Requests that a page of another site makes a browser send: they change nothing here. Knows nothing of keys or routes.

A browser sends such a request from wherever its user is, into networks that its author cannot reach, and with the password
that it keeps for this address. It says which site the page is of: in Sec-Fetch-Site, and in Origin where there is no TLS.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from service.asgi import ASGIApp, Receive, Scope, Send
from service.http.cors import ANY, OtherSite
from service.rest.errors import refuse

UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))
# where something changes; what is sent elsewhere has an answer, which other sites may not read, and nothing more
GUARDED = ("/admin/", "/collections/")
OWN_SITE = (b"same-origin", b"none")  # a site may have other ports and names, which are other people's pages


class CrossSite:
    """Refuses them, unless the settings allow the site."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins` as browsers state them, like https://app.example, or * for all."""
        self._app, self._origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's event, as ASGI has it."""
        if (
            scope["type"] == "http"
            and scope["method"] in UNSAFE
            and scope["path"].startswith(GUARDED)
            and self._refuses(scope)
        ):
            await refuse(scope, send, OtherSite())
            return
        await self._app(scope, receive, send)

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
