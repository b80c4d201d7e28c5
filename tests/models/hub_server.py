"""A server that speaks as much of the hub's API as its client needs to download a repository. Knows nothing of models."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

API = re.compile(r"/api/models/([^/]+/[^/]+?)(?:/revision/([^/]+))?")
TREE = re.compile(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(/.*)?")
FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class Hub:
    """Repositories with commits, by name; each commit has files by path. "main" is the last one, tags are names of others."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.tags: dict[str, str] = {}
        self.asked: list[str] = []  # the methods and paths of all requests

    def commit(self, name: str, files: dict[str, bytes], tag: str = "") -> str:
        """Add a commit, and return its hash."""
        own = self.repositories.setdefault(name, {})
        digest = hashlib.sha1(f"{name} {len(own)}".encode()).hexdigest()
        own[digest] = files
        self.tags |= {tag: digest} if tag else {}
        return digest

    def find(self, name: str, revision: str | None) -> str | None:
        """Return the commit of a revision, None if there is none."""
        own = self.repositories[name]
        if revision in (None, "main"):
            return list(own)[-1]
        found = self.tags.get(str(revision), str(revision))
        return found if found in own else None


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        asked = TREE.fullmatch(path) or FILE.fullmatch(path) or API.fullmatch(path)
        if asked is None or asked[1] not in self.hub.repositories:
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)
        commit = self.hub.find(asked[1], asked[2])
        if commit is None:
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, with_body)
        files = self.hub.repositories[asked[1]][commit]
        if asked.re is FILE:
            content = files.get(asked[3])
            if content is None:
                return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, with_body)
            tag = f'"{hashlib.sha1(content).hexdigest()}"'
            return self._send(200, content, {"ETag": tag, "X-Repo-Commit": commit}, with_body, "application/octet-stream")
        if asked.re is TREE:
            listed = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            return self._send(200, json.dumps(listed).encode(), {}, with_body)
        about = {"id": asked[1], "sha": commit, "private": False, "siblings": [{"rfilename": name} for name in files]}
        return self._send(200, json.dumps(about).encode(), {}, with_body)

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], with_body: bool, type_: str = "application/json"
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": type_, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve an empty hub until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"hub": hub})
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
