"""Protection against cross-site request forgery: pages of other sites may change nothing. Knows nothing about keys.

A malicious page can make a browser send requests into the user's private network, with the password that the browser stores
for this address. The browser says where the page is from: in Sec-Fetch-Site, or without TLS in Origin.
"""

from collections.abc import Awaitable, Sequence
from urllib.parse import urlsplit

from service.asgi import ASGIApp, Receive, Scope, Send
from service.http.cors import ANY
from service.http.problems import HttpError, refuse

UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))
# Only requests to these paths change anything. All others merely compute an answer, which other sites cannot read.
GUARDED = ("/admin/", "/collections/", "/v2/repository/")
OWN_SITE = (b"same-origin", b"none")  # Not same-site: other ports and subdomains may belong to other people.


class OtherSite(HttpError):
    """A page of a site that is not allowed has tried to change something."""

    status, code = 403, "other_site"
    detail = "pages of other sites may not change anything here, unless VAE_CORS_ORIGINS lists their origin"


class CrossSite:
    """Refuses cross-site requests that would change something, unless their origin is allowed."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins`: allowed origins such as https://app.example, or * for all."""
        self._app, self._origins = app, frozenset(origins)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one ASGI connection."""
        if scope["type"] == "http" and self.refuses(scope):
            return refuse(scope, send, OtherSite())
        return self._app(scope, receive, send)

    def refuses(self, scope: Scope) -> bool:
        """Return whether a request is refused."""
        if scope["method"] not in UNSAFE or not scope["path"].startswith(GUARDED):
            return False
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if ANY in self._origins or (origin is not None and origin.decode("latin-1") in self._origins):
            return False
        if site is not None:
            return site not in OWN_SITE
        if origin is None:  # Not sent by a browser.
            return False
        try:
            return urlsplit(origin.decode("latin-1")).netloc.encode("latin-1").lower() != headers.get(b"host", b"").lower()
        except ValueError:
            return True
