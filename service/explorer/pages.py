"""Adds /explore with its files, which are read and compressed once.

Knows nothing of models or operations: the scripts of the page call the HTTP API.
"""

import gzip
import hashlib
import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from service.http.registry import OPEN, Registration

PAGE = Path(__file__).parent / "page"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# A comment that has lines of its own.
COMMENT = re.compile(rb"^ *(?://.*|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/)\n", re.MULTILINE)


def content_of(file: Path) -> bytes:
    """Return what is sent of a file: scripts and style sheets without comments, an eighth less to load for every visitor."""
    content = file.read_bytes()
    return COMMENT.sub(b"", content) if file.suffix in (".js", ".css") else content


class PageFile:
    """One file of the page, as it is sent."""

    def __init__(self, file: Path) -> None:
        self._content = content_of(file)
        self._compressed = gzip.compress(self._content, mtime=0)
        self._etag, self._media_type = f'W/"{hashlib.sha256(self._content).hexdigest()[:32]}"', MEDIA_TYPES[file.suffix]

    async def answer(self, request: Request) -> Response:
        """Answer GET: the file, compressed if the browser can read that, or 304 if the browser has it already."""
        headers = {"etag": self._etag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if self._etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(self._content, headers=headers, media_type=self._media_type)
        return Response(self._compressed, headers={**headers, "content-encoding": "gzip"}, media_type=self._media_type)


def add_explorer(app: Starlette) -> list[Registration]:
    """Add the page and its files to an application, and return their registrations.

    The page holds no secret, so it needs no key: a browser sends none of itself. The page asks its visitor for one.
    """
    files = {_path(file): file for file in sorted(PAGE.rglob("*")) if file.suffix in MEDIA_TYPES}
    for path, file in files.items():
        app.add_route(path, PageFile(file).answer, include_in_schema=False)
    return [Registration(path, ("GET",), OPEN, "explore") for path in files]


def _path(file: Path) -> str:
    return "/explore" if file.name == "index.html" else f"/explore/{file.relative_to(PAGE).as_posix()}"
