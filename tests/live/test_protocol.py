"""HTTP as it is on the wire: connections that live on, chunks, pipelines, odd methods, rubbish."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from .server import Server


class Wire:
    """A connection on which every byte is the test's own."""

    def __init__(self, server: Server) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.file = self.socket.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def answer(self, of_head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body of the next answer."""
        status = int(self.file.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self.file.readline().strip().decode("latin-1"):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, b"" if of_head or status < 200 else self.file.read(int(headers["content-length"]))

    def at_end(self) -> bool:
        """Return whether the server has closed the connection."""
        return self.file.read(1) == b""


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    one = Wire(server)
    yield one
    one.file.close()
    one.socket.close()


def post(body: bytes, headers: str = "", version: str = "1.1") -> bytes:
    return f"POST /encode HTTP/{version}\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


SAMPLE = b"GET /sample?seed=%d HTTP/1.1\r\nhost: x\r\n\r\n"


def test_a_connection_serves_many_requests(wire: Wire, client: httpx.Client, pngs: list[bytes]) -> None:
    expected = [client.post("/encode", content=png).content for png in pngs[:5]]
    for _ in range(3):
        for png, body in zip(pngs, expected, strict=False):
            wire.send(post(png))
            assert wire.answer()[::2] == (200, body)
        wire.send(post(b"rubbish"))
        assert wire.answer()[0] == 415


def test_requests_in_a_pipeline_are_answered_in_order(wire: Wire, client: httpx.Client, pngs: list[bytes]) -> None:
    expected = [client.post("/encode", content=png).content for png in pngs[:4]]
    sample = client.get("/sample?seed=3").content
    wire.send(post(pngs[0]) + post(pngs[1]) + SAMPLE % 3 + post(b"x") + post(pngs[2]) + post(pngs[3]))
    found = [wire.answer()[::2] for _ in range(6)]
    assert [status for status, _ in found] == [200, 200, 200, 415, 200, 200]
    assert [found[i][1] for i in (0, 1, 2, 4, 5)] == [*expected[:2], sample, *expected[2:]]


def test_a_body_in_small_pieces(wire: Wire, client: httpx.Client, pngs: list[bytes]) -> None:
    expected = client.post("/encode", content=pngs[0]).content
    whole = post(pngs[0])
    wire.send(*(whole[i : i + 1] for i in range(len(whole))))
    assert wire.answer()[::2] == (200, expected)
    wire.send(b"POST /encode HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    wire.send(*(b"1;x=y\r\n" + pngs[0][i : i + 1] + b"\r\n" for i in range(len(pngs[0]))), b"0\r\nx-trailer: 1\r\n\r\n")
    assert wire.answer()[::2] == (200, expected)


def test_100_continue_is_sent_when_the_body_is_wanted(wire: Wire, pngs: list[bytes]) -> None:
    head, body = post(pngs[0], "expect: 100-continue\r\n").split(b"\r\n\r\n", 1)
    wire.send(head + b"\r\n\r\n")
    assert wire.answer()[0] == 100
    wire.send(body)
    assert wire.answer()[0] == 200


@pytest.mark.parametrize("request_line", ["HTTP/1.0", "HTTP/1.1\r\nconnection: close"])
def test_connections_that_are_to_be_closed(wire: Wire, client: httpx.Client, request_line: str) -> None:
    wire.send(f"GET /sample?seed=1 {request_line}\r\nhost: x\r\n\r\n".encode())
    assert wire.answer()[::2] == (200, client.get("/sample?seed=1").content)
    assert wire.at_end()


@pytest.mark.parametrize("path", ["/encode", "/decode", "/interpolate", "/reconstruct"])
def test_empty_bodies(client: httpx.Client, path: str) -> None:
    for body in (b"", iter([b""])):
        for claim in ("application/json", "image/png", "application/x-npy", "text/plain"):
            answer = client.post(path, content=body, headers={"content-type": claim})
            assert answer.status_code == 400
            assert "empty" in answer.json()["detail"]


def test_sample_needs_no_body(client: httpx.Client) -> None:
    expected = client.get("/sample?seed=1").content
    assert client.post("/sample?seed=1").content == expected
    assert client.post("/sample", json={"seed": 1}).content == expected
    assert client.request("GET", "/sample", content=json.dumps({"seed": 1}).encode()).content == expected


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/sample?seed=1", "/models", "/info", "/docs", "/encode"])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_head_and_options(wire: Wire, path: str, method: str) -> None:
    """Either they are what GET is, without a body, or they say what is allowed; the connection lives on."""
    wire.send(f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    status, headers, body = wire.answer(of_head=method == "HEAD")
    if status == 405:
        assert {"GET", "POST"} & {word.strip() for word in headers["allow"].split(",")}
        assert method == "HEAD" or json.loads(body)["code"] == "method_not_allowed"
    else:
        assert status in (200, 204)
    assert headers["x-request-id"]
    wire.send(SAMPLE % 1)
    assert wire.answer()[0] == 200


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET\r\n\r\n",
        b"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: \xb2\r\n\r\nhi",
        b"POST /encode HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"POST /encode HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        b"GET /sample HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"GET /sample HTTP/9.9\r\nhost: x\r\n\r\n",
    ],
)
def test_rubbish_is_refused_and_harms_nobody(wire: Wire, server: Server, client: httpx.Client, rubbish: bytes) -> None:
    before = len(server.lines)
    wire.send(rubbish)
    assert wire.file.readline().startswith(b"HTTP/1.1 4")
    assert client.get("/health/ready").status_code == 200
    assert not [line for line in server.lines[before:] if "Traceback" in line]


def test_a_trailing_slash_is_no_other_resource(client: httpx.Client, pngs: list[bytes]) -> None:
    answer = client.post("/encode/", content=pngs[0], follow_redirects=True)
    assert answer.content == client.post("/encode", content=pngs[0]).content


def test_a_copy_that_is_good(wire: Wire) -> None:
    """304 has no body and no length, and the connection lives on."""
    wire.send(SAMPLE % 1)
    tag = wire.answer()[1]["etag"]
    wire.send((SAMPLE % 1).replace(b"\r\n\r\n", f"\r\nif-none-match: {tag}\r\n\r\n".encode()))
    status, headers, _ = wire.answer(of_head=True)
    assert (status, headers["etag"], "content-length" in headers, "transfer-encoding" in headers) == (304, tag, False, False)
    wire.send(SAMPLE % 1)
    assert wire.answer()[0] == 200
