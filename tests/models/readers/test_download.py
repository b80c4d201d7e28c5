"""Downloads from a real server on the loopback interface: whole files with the right sum, or nothing."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.data import load_data
from models.readers.download import CHUNK_BYTES, DataError, ensure_file

CONTENT = bytes(range(256)) * (3 * CHUNK_BYTES // 256) + b"rest"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Answer:
    body: bytes
    status: int = 200
    length: int | None = None  # what Content-Length says, when not the truth


class Server(ThreadingHTTPServer):
    """Gives the answers that a test lays out by path, and notes what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        answer = self.server.answers.get(self.path, Answer(b"no such file", 404))
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_right_file_arrives(server: Server, tmp_path: Path, slash: str) -> None:
    server.answers["/mnist/file.gz"] = Answer(CONTENT)
    path = tmp_path / "new" / "file.gz"
    assert ensure_file(path, [server.url("/mnist" + slash)], SHA256) == path
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_others_may_read_it(server: Server, tmp_path: Path) -> None:
    server.answers["/file.gz"] = Answer(CONTENT)
    assert ensure_file(tmp_path / "file.gz", [server.url("/")], SHA256).stat().st_mode & 0o044 == 0o044


def test_what_is_there_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(b"mine")
    assert ensure_file(tmp_path / "file.gz", [server.url("/")], SHA256).read_bytes() == b"mine"
    assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b"another file"), "SHA-256"),
        (Answer(CONTENT[:-1] + b"?"), "SHA-256"),
        (Answer(b""), "SHA-256"),
        (Answer(CONTENT[:-100], length=len(CONTENT)), "SHA-256"),
        (Answer(CONTENT[:-100], length=len(CONTENT) - 200), "SHA-256"),
        (Answer(b"not here", 404), "404"),
        (Answer(b"sorry", 503), "503"),
    ],
    ids=["wrong", "last byte", "empty", "cut off", "cut short", "missing", "unavailable"],
)
def test_anything_else_leaves_nothing(server: Server, tmp_path: Path, answer: Answer, reason: str) -> None:
    server.answers["/file.gz"] = answer
    with pytest.raises(DataError, match=reason) as caught:
        ensure_file(tmp_path / "file.gz", [server.url("/")], SHA256)
    assert str(tmp_path / "file.gz") in str(caught.value)
    assert server.url("/file.gz") in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("first", [None, Answer(b"wrong"), Answer(CONTENT[:500], length=len(CONTENT)), Answer(b"", 500)])
def test_the_second_mirror_helps_out(server: Server, tmp_path: Path, first: Answer | None) -> None:
    if first:
        server.answers["/first/file.gz"] = first
    server.answers["/second/file.gz"] = Answer(CONTENT)
    mirrors = [server.url("/first/"), server.url("/second/"), server.url("/third/")]
    assert ensure_file(tmp_path / "file.gz", mirrors, SHA256).read_bytes() == CONTENT
    assert server.requests == ["/first/file.gz", "/second/file.gz"]
    assert len(list(tmp_path.iterdir())) == 1


def test_every_mirrors_failure_is_told(server: Server, tmp_path: Path) -> None:
    server.answers["/second/file.gz"] = Answer(b"wrong")
    with Server() as closed:
        nobody = closed.url("/")
    with pytest.raises(DataError) as caught:
        ensure_file(tmp_path / "file.gz", [nobody, server.url("/first"), server.url("/second"), "no-address"], SHA256)
    for reason in ("refused", "404", "SHA-256", "no-address/file.gz"):
        assert reason in str(caught.value)


def test_a_named_set_is_fetched_from_the_mirror_asked_for(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="404"):
        load_data("fashion-mnist", tmp_path, mirror=server.url("/my-mirror"))
    assert server.requests == ["/my-mirror/train-images-idx3-ubyte.gz"]
    assert not list((tmp_path / "fashion-mnist").iterdir())
