"""Adds /explore with its files, which are read once, and compressed when a browser first asks for them.

Knows nothing of models or operations: the scripts of the page call the HTTP API.
"""

import asyncio
import gzip
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import brotli
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from service.explorer.script import COMMENT, one_script
from service.http.header_values import best_coding, tag_matches, tag_of
from service.http.registry import OPEN, Registration

PAGE = Path(__file__).parent / "page"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# Modules of others, which are sent as they are.
LIBRARIES = "vendor/"
# Browsers take Brotli, a seventh smaller, from this machine and by https only.
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "br": partial(brotli.compress, mode=brotli.MODE_TEXT),
    "gzip": partial(gzip.compress, mtime=0),
}


class PageFile:
    """One file of the page, as it is sent."""

    def __init__(self, content: bytes, media_type: str) -> None:
        self.content, self.media_type = content, media_type
        self._compressed: dict[str, bytes] = {}
        self._etag = f'W/"{tag_of(content)}"'  # weak: the same for all codings

    async def answer(self, request: Request) -> Response:
        """Answer GET: the file, compressed if the browser takes that, or 304 if the browser has it already."""
        headers = {"etag": self._etag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if tag_matches(request.headers.get("if-none-match", ""), self._etag):
            return Response(status_code=304, headers=headers)
        coding = best_coding(request.headers.get("accept-encoding", ""), tuple(CODINGS))
        if coding is None:
            return Response(self.content, headers=headers, media_type=self.media_type)
        if coding not in self._compressed:  # Brotli takes 0.2 seconds for the script.
            self._compressed[coding] = await asyncio.to_thread(CODINGS[coding], self.content)
        return Response(self._compressed[coding], headers={**headers, "content-encoding": coding}, media_type=self.media_type)


def add_explorer(app: Starlette) -> list[Registration]:
    """Add the page and its files to an application, and return their registrations.

    The page holds no secret, so it needs no key, and a browser sends none when an address is opened. The page asks its
    visitor for one.
    """
    paths = {f"/explore{'' if name == 'index.html' else f'/{name}'}": file for name, file in files().items()}
    for path, file in paths.items():
        app.add_route(path, file.answer, include_in_schema=False)
    return [Registration(path, ("GET",), OPEN, "explore") for path in paths]


@cache
def files() -> dict[str, PageFile]:
    """Return what is sent, by name. The modules are one file, main.js.

    It and the style sheet are without comments, where these can be told from text.
    """
    found = {file.relative_to(PAGE).as_posix(): file for file in sorted(PAGE.rglob("*")) if file.suffix in MEDIA_TYPES}
    texts = {name: file.read_text(encoding="utf-8") for name, file in found.items()}
    scripts = {name: text for name, text in texts.items() if name.endswith(".js")}
    libraries = {name: text for name, text in scripts.items() if name.startswith(LIBRARIES)}
    modules = {name: text for name, text in scripts.items() if name not in libraries}
    sent = {name: text for name, text in texts.items() if name not in modules} | {"main.js": one_script(modules, libraries)}
    sent["style.css"] = COMMENT.sub("", sent["style.css"])
    return {name: PageFile(text.encode(), MEDIA_TYPES[Path(name).suffix]) for name, text in sent.items()}
