"""Callers without keys, who are slow, silent, or send heads without end: a service with keys and small bounds."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest

from .pictures import from_npy
from .problems import problem
from .server import PATIENCE_SECONDS, ROOT, Server, command, environment, serving
from .wire import Wire

KEY, STORE_KEY = "key-of-the-callers-of-this-test", "key-that-opens-the-store-alone"
MAX_CONNECTIONS = 30
BOUNDS = {
    "max-header-bytes": 2048,
    "max-headers": 20,
    "header-seconds": 0.4,
    "slow-seconds": 0.8,
    "min-bytes-per-second": 1000,
    "keep-alive-seconds": 60,
    "max-connections": MAX_CONNECTIONS,
}
LOGIN = f"host: x\r\nx-api-key: {KEY}\r\n".encode()
SAMPLE = b"GET /sample?seed=%d HTTP/1.1\r\n" + LOGIN + b"\r\n"
LONG_ANSWER = b"GET /sample?n=4096&seed=1&format=npy&dtype=float32 HTTP/1.1\r\n" + LOGIN + b"\r\n"


@pytest.fixture(scope="module")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"caller infer {KEY}\n")
    flags = [word for name, value in BOUNDS.items() for word in (f"--{name}", str(value))]
    variables = {"VAE_API_KEYS_FILE": str(keys), "VAE_API_KEYS": f"other store {STORE_KEY}"}
    with serving("--models-dir", str(models_dir), "--models", "mnist", *flags, variables=variables) as running:
        yield running
        assert KEY not in running.log
        assert STORE_KEY not in running.log


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60, headers={"x-api-key": KEY}) as one:
        yield one


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server) as one:
        yield one


# --- keys


def test_keys_of_the_file_and_of_the_variable(server: Server) -> None:
    with httpx.Client(base_url=server.url) as client:
        for path in ("/sample", "/collections", "/docs", "/openapi.json", "/info", "/metrics", "/nothing"):
            answer = client.get(path)
            problem(answer, 401, "unauthorized")
            assert {"Basic", "Bearer"} <= set(answer.headers["www-authenticate"].replace(",", " ").split())
        assert client.get("/health/ready").status_code == 200
        assert client.get("/sample", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
        problem(client.get("/collections", headers={"x-api-key": KEY}), 403, "missing_scope", "'store'", "'caller'")
        assert client.get("/collections", auth=("anybody", STORE_KEY)).status_code == 200
    with_key = server.url.replace("http://", f"http://user:{KEY}@")
    assert httpx.get(f"{with_key}/sample?seed=1").status_code == 200


def test_pages_and_answers_are_not_sniffed(client: httpx.Client) -> None:
    for path in ("/docs", "/sample?seed=1", "/nothing"):
        assert client.get(path).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("lines", ["caller infer", "caller everything some-key-0123456789"])
def test_keys_that_cannot_be_read_end_the_start(lines: str) -> None:
    ended = subprocess.run(
        command("--workers", "2"), cwd=ROOT, env=environment(VAE_API_KEYS=lines), capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
    assert "VAE_API_KEYS, line 1" in ended.stderr
    assert "some-key" not in ended.stderr


# --- silence and slowness


def cut_off(wire: Wire, status: int, code: str) -> None:
    """It is told so, and that was the last of the connection."""
    found, headers, body = wire.answer()
    assert (found, headers["content-type"], body["code"]) == (status, "application/problem+json", code)
    assert headers["connection"] == "close"
    assert headers["x-request-id"] == body["request_id"] != ""
    assert headers["x-content-type-options"] == "nosniff"
    assert wire.ends()


def test_a_connection_without_a_word_is_closed(wire: Wire) -> None:
    assert wire.ends()


@pytest.mark.parametrize("head", [b"P", b"POST /encode HTTP/1.1\r\nhost: x\r\n", b"GET /sample HTTP/1.1\r\nx-api-key: ab"])
def test_a_head_that_does_not_end(wire: Wire, head: bytes) -> None:
    wire.send(head)
    cut_off(wire, 408, "too_slow")


def test_a_head_that_does_not_end_after_a_request(wire: Wire) -> None:
    wire.send(SAMPLE % 1)
    assert wire.answer()[0] == 200
    wire.send(b"GET /sample HTTP/1.1\r\n")
    cut_off(wire, 408, "too_slow")


@pytest.mark.parametrize(
    "body", [b"content-length: 1000\r\n\r\n\x89PNG", b"transfer-encoding: chunked\r\n\r\n4\r\n\x89PNG\r\n"]
)
def test_a_body_that_does_not_come(wire: Wire, body: bytes) -> None:
    wire.send(b"POST /encode HTTP/1.1\r\n" + LOGIN + body)
    cut_off(wire, 408, "too_slow")


def test_a_refused_body_that_does_not_come_ends_the_connection_too(wire: Wire) -> None:
    wire.send(b"POST /encode HTTP/1.1\r\n" + LOGIN + b"content-length: 99999999999\r\n\r\n\x89PNG")
    assert wire.answer()[0] == 413
    assert wire.ends()


def test_who_does_not_read_is_dropped(server: Server, client: httpx.Client) -> None:
    with Wire(server, receive_buffer=4096) as wire:
        wire.send(LONG_ANSWER)
        assert wire.is_reset()
    rows = from_npy(client.get("/sample?n=4096&seed=1&format=npy&dtype=float32").raise_for_status().content)
    assert rows.shape == (4096, 28, 28, 1)
    assert np.isfinite(rows).all()


def test_a_connection_between_two_requests_may_be_silent(server: Server, wire: Wire) -> None:
    """For longer than a head may take: another one, opened later, is closed while this one waits."""
    wire.send(SAMPLE % 1)
    expected = wire.answer()[2]
    with Wire(server) as other:
        assert other.ends()
    wire.send(SAMPLE % 1)
    assert wire.answer()[2] == expected


# --- heads


def test_a_head_of_too_many_bytes(wire: Wire) -> None:
    wire.send(b"GET /sample?seed=1 HTTP/1.1\r\n" + LOGIN + b"x-long: " + b"x" * 2048 + b"\r\n\r\n")
    cut_off(wire, 431, "headers_too_large")


def test_a_long_address(wire: Wire) -> None:
    wire.send(b"GET /sample?" + b"seed=1&" * 400 + b" HTTP/1.1\r\n" + LOGIN + b"\r\n")
    cut_off(wire, 431, "headers_too_large")


@pytest.mark.parametrize("piece", [b"x-1: abcdefgh\r\n", b"y" * 1000])
def test_a_head_without_end_is_refused_while_it_comes(wire: Wire, piece: bytes) -> None:
    wire.send(b"GET /sample HTTP/1.1\r\nx-0: ")
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        wire.send(*[piece] * 100_000)


def test_too_many_headers(wire: Wire) -> None:
    wire.send(b"GET /sample?seed=1 HTTP/1.1\r\n" + LOGIN + b"a: b\r\n" * 19 + b"\r\n")
    cut_off(wire, 431, "headers_too_large")


def test_just_as_large_a_head_behind_a_long_body(server: Server, client: httpx.Client) -> None:
    """What came before it, in the same piece, is no part of it."""
    expected = client.get("/sample?seed=3").json()
    body = bytes(50_000)
    post = b"POST /encode HTTP/1.1\r\n" + LOGIN + b"content-length: %d\r\n\r\n" % len(body) + body
    long = SAMPLE.replace(b"host: x", b"host: x\r\na: " + b"b" * 1890) % 3
    with Wire(server) as wire:
        wire.send(post + long[:1000], long[1000:])
        assert wire.answer()[0] == 415
        assert wire.answer()[2] == expected


def test_what_is_not_http(wire: Wire) -> None:
    wire.send(b"GET\r\n\r\n")
    cut_off(wire, 400, "malformed_request")


def test_the_request_before_rubbish_is_answered(server: Server, client: httpx.Client) -> None:
    expected = client.get("/sample?seed=5").json()
    with Wire(server) as wire:
        wire.send(SAMPLE % 5 + b"rubbish\r\n\r\n")
        assert wire.answer()[2] == expected
        cut_off(wire, 400, "malformed_request")


SLOW = b"GET /sample?seed=1&n=2000 HTTP/1.1\r\n" + LOGIN + b"\r\n"
FORM_HEAD = b"POST /encode HTTP/1.1\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 5\r\n"
FORM = FORM_HEAD + LOGIN + b"\r\n--b--"
CHUNKS = b"POST /decode HTTP/1.1\r\ntransfer-encoding: chunked\r\n" + LOGIN + b"\r\n"


@pytest.mark.parametrize("first", [SLOW, FORM], ids=["slow", "form"])
@pytest.mark.parametrize("segments", [1, 2])
@pytest.mark.parametrize("second", [CHUNKS + b"zz\r\n", b"rubbish\r\n\r\n"], ids=["chunk", "head"])
def test_a_request_that_is_no_http_takes_no_answer_from_the_one_before(
    server: Server, first: bytes, second: bytes, segments: int
) -> None:
    with Wire(server) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if segments == 1:
            wire.send(first + second)
        else:
            wire.send(first, second)
        assert wire.answer()[0] == (200 if first == SLOW else 422)
        cut_off(wire, 400, "malformed_request")


MANY = b'{"n": 2000, "seed": 1}'
LENGTH = b"POST /sample HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: %d\r\n" % len(MANY) + LOGIN + b"\r\n"
CHUNK = b"POST /sample HTTP/1.1\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n" + LOGIN + b"\r\n"


@pytest.mark.parametrize(
    ("head", "body"),
    [(LENGTH, MANY), (CHUNK, b"%x\r\n%b\r\n0\r\n\r\n" % (len(MANY), MANY))],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize(
    "second", [CHUNKS + b"zz\r\n", CHUNKS + b"5\r\nab", b"rubbish\r\n\r\n"], ids=["bad chunk", "half a body", "head"]
)
def test_nor_if_it_comes_together_with_the_end_of_its_body(server: Server, head: bytes, body: bytes, second: bytes) -> None:
    """The head has been parsed when the rest comes: the server asks for the body."""
    with Wire(server) as wire:
        wire.send(head)
        assert wire.file.readline().split()[1] == b"100"
        assert wire.file.readline() == b"\r\n"
        wire.send(body + second)
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.answer()[0] == 200


def test_half_a_request_takes_no_answer_from_the_one_before(server: Server) -> None:
    with Wire(server) as wire:
        wire.send(SLOW, CHUNKS + b"5\r\nab")
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.answer()[0] == 200
        assert wire.ends()


# --- connections


def test_so_many_connections(server: Server, client: httpx.Client) -> None:
    client.get("/health/live").raise_for_status()
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(server)) for _ in range(MAX_CONNECTIONS + 5)]
        assert client.get("/sample?seed=1").status_code == 200  # who is there stays
        seen = {line.split()[1] for line in (wire.file.readline() for wire in wires) if line}
        assert seen == {b"503"}
    server.poll(lambda: _answers(server))


def _answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/health/live").status_code == 200
    except httpx.TransportError:
        return False
