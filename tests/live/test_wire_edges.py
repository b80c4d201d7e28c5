"""The edges of HTTP/1.1 on a raw socket: trailers, offers of other protocols, half-closed connections, pipelines."""

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .server import Server, serving
from .wire import Wire

KEY = "0123456789abcdef0123"
LOGIN = b"x-api-key: " + KEY.encode() + b"\r\n"
CHUNKED = b"POST /encode HTTP/1.1\r\nhost: x\r\n%stransfer-encoding: chunked\r\n\r\n"
SAMPLE = b"GET /sample?seed=%d HTTP/1.1\r\nhost: x\r\n\r\n"
UPGRADE = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
LATENT = {"z": [[0.0] * 20]}
ITEMS = {"items": [{"id": "a", "mu": [0.5] * 20}]}


@pytest.fixture(scope="module")
def keyed(models_dir: Path) -> Iterator[Server]:
    """A service whose callers need a key."""
    keys = {"VAE_API_KEYS": f"app infer {KEY}"}
    with serving("--models-dir", str(models_dir), "--models", "mnist", variables=keys) as running:
        yield running


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server) as one:
        yield one


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def posted(path: bytes, body: bytes, headers: bytes = b"", method: bytes = b"POST") -> bytes:
    return b"%s %s HTTP/1.1\r\nhost: x\r\n%scontent-length: %d\r\n\r\n%s" % (method, path, headers, len(body), body)


# --- trailers


def test_a_key_in_a_trailer_is_no_key(keyed: Server, pngs: list[bytes]) -> None:
    with Wire(keyed) as wire:
        wire.send(CHUNKED % b"" + chunk(pngs[0]) + b"0\r\n" + LOGIN + b"\r\n")
        assert wire.answer()[2]["code"] == "unauthorized"
        wire.send(CHUNKED % LOGIN + chunk(pngs[0]) + b"0\r\nx-checksum: 1\r\naccept: application/x-npy\r\n\r\n")
        status, headers, body = wire.answer()
        assert (status, headers["content-type"], len(body["mu"])) == (200, "application/json", 1)


def test_a_trailer_that_closes_the_connection_does_not_make_it_deaf(keyed: Server, pngs: list[bytes]) -> None:
    for login, status in ((LOGIN, 200), (b"", 401)):
        with Wire(keyed) as wire:
            wire.send(CHUNKED % login + chunk(pngs[0]) + b"0\r\nconnection: close\r\n\r\n")
            assert wire.answer()[0] == status
            assert wire.ends()


@pytest.mark.parametrize("login", [b"", LOGIN])
@pytest.mark.parametrize("line", [b"a: b\r\n", b"name: " + b"v" * 4000 + b"\r\n", b"v" * (1 << 16)])
def test_trailers_are_bounded(keyed: Server, pngs: list[bytes], login: bytes, line: bytes) -> None:
    """Many small ones, large ones, and one that does not end; before an answer, and after one."""
    with Wire(keyed) as wire:
        wire.send(CHUNKED % login + chunk(pngs[0]) + b"0\r\n")
        if not login:
            assert wire.answer()[0] == 401
        try:
            for _ in range(1 + (1 << 20) // len(line)):
                wire.send(line)
        except ConnectionError:
            return  # it was cut off before it had sent a megabyte
        if login:
            assert wire.answer()[2]["code"] == "trailers_too_large"
        assert wire.ends()


def test_extensions_of_chunks_are_bounded(keyed: Server) -> None:
    with Wire(keyed) as wire:
        wire.send(CHUNKED % LOGIN + b"1;")
        with pytest.raises(ConnectionError):
            wire.send(*[b"a" * (1 << 16)] * 1000)


# --- offers of other protocols


def test_an_offer_of_http_2_is_not_taken_and_costs_no_body(wire: Wire, client: httpx.Client, pngs: list[bytes]) -> None:
    expected = client.post("/encode", content=pngs[0]).json()
    wire.send(posted(b"/encode", pngs[0], UPGRADE))
    assert wire.answer()[::2] == (200, expected)
    wire.send(posted(b"/decode", json.dumps(LATENT).encode(), UPGRADE))
    assert wire.answer()[::2] == (200, client.post("/decode", json=LATENT).json())
    wire.send(posted(b"/sample?seed=1", b'{"n": 3}', UPGRADE))
    assert len(wire.answer()[2]["images"]) == 3
    wire.send(posted(b"/collections/offered", b'{"model": "mnist-2d", "metric": "w2"}', UPGRADE, b"PUT"))
    made = wire.answer()[2]
    assert (made["model"], made["metric"]) == ("mnist-2d", "w2")
    client.delete("/collections/offered").raise_for_status()
    wire.send(CHUNKED % UPGRADE + chunk(pngs[0][:50]), chunk(pngs[0][50:]) + b"0\r\n\r\n")
    assert wire.answer()[::2] == (200, expected)
    wire.send(b"GET /sample?seed=4 HTTP/1.1\r\nhost: x\r\n" + UPGRADE + b"\r\n" + SAMPLE % 5)
    assert [wire.answer()[2]["seed"] for _ in range(2)] == [4, 5]


@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_an_offer_that_comes_in_pieces(wire: Wire, client: httpx.Client, pngs: list[bytes], pieces: int) -> None:
    whole = posted(b"/encode", pngs[0], b"expect: 100-continue\r\n" + UPGRADE) + SAMPLE % 6
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire.send(*(whole[i : i + pieces] for i in range(0, len(whole), pieces)))
    line = wire.file.readline()
    if line.startswith(b"HTTP/1.1 100"):
        assert wire.file.readline() == b"\r\n"
        line = wire.file.readline()
    assert line.startswith(b"HTTP/1.1 200")
    while wire.file.readline().strip():
        pass
    expected = client.post("/encode", content=pngs[0]).content
    assert wire.file.read(len(expected)) == expected
    assert wire.answer()[2]["seed"] == 6


def test_a_websocket_is_not_opened(wire: Wire) -> None:
    offer = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    wire.send(b"GET /sample?seed=7 HTTP/1.1\r\nhost: x\r\n" + offer + b"\r\n")
    assert wire.answer()[2]["seed"] == 7


def test_curl_offers_http_2(server: Server, client: httpx.Client, tmp_path: Path, pngs: list[bytes]) -> None:
    (tmp_path / "seven.png").write_bytes(pngs[0])
    words = ["curl", "--silent", "--http2", "--data-binary", f"@{tmp_path / 'seven.png'}", f"{server.url}/encode"]
    found = subprocess.run(words, capture_output=True, check=True, timeout=60).stdout
    assert found == client.post("/encode", content=pngs[0]).content


def test_no_proxy(wire: Wire) -> None:
    wire.send(b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n")
    assert wire.answer()[2]["code"] == "malformed_request"
    assert wire.ends()


# --- connections that the client has closed on its side


@pytest.mark.parametrize("requests", [1, 3])
def test_whoever_sends_no_more_gets_the_answers(
    server: Server, client: httpx.Client, pngs: list[bytes], requests: int
) -> None:
    expected = client.post("/encode", content=pngs[0]).json()
    for _ in range(5):
        with Wire(server) as wire:
            wire.send(posted(b"/encode", pngs[0]) * requests)
            wire.socket.shutdown(socket.SHUT_WR)
            assert [wire.answer()[2] for _ in range(requests)] == [expected] * requests
            assert wire.ends()


def test_whoever_sends_no_more_gets_an_answer_that_takes_long(server: Server, client: httpx.Client) -> None:
    with Wire(server) as wire:
        wire.send(posted(b"/sample?seed=1", b'{"n": 4000}'))
        wire.socket.shutdown(socket.SHUT_WR)
        while (line := wire.file.readline()).startswith(b"HTTP/1.1 100"):
            assert wire.file.readline() == b"\r\n"
        assert line.startswith(b"HTTP/1.1 200")
        assert wire.file.read().count(b"iVBOR") == 4000


@pytest.mark.parametrize("path", [b"/health/live", b"/docs", b"/nothing"])
def test_whoever_sends_no_more_gets_an_answer_without_a_body(server: Server, path: bytes) -> None:
    for before in (b"", SAMPLE % 1):
        for _ in range(10):
            with Wire(server) as wire:
                wire.send(before + b"HEAD " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")
                wire.socket.shutdown(socket.SHUT_WR)
                if before:
                    assert wire.answer()[2]["seed"] == 1
                assert wire.file.readline().startswith(b"HTTP/1.1 ")
                assert b"\r\n\r\n" in wire.file.read()


def test_half_a_request_has_no_answer(server: Server, pngs: list[bytes]) -> None:
    for half in (b"GET /sam", posted(b"/encode", pngs[0])[:-1], CHUNKED % b"" + chunk(pngs[0])):
        with Wire(server) as wire:
            wire.send(half)
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.ends()


def test_whoever_is_gone_is_noticed(server: Server, client: httpx.Client) -> None:
    """A closed socket looks like one that is closed on one side, until something is sent to it."""

    def dropped() -> int:
        return int(client.get("/info").json()["engine"]["mnist"]["decode"]["dropped_rows"])

    before = dropped()
    for _ in range(4):
        with Wire(server) as wire:
            wire.send(posted(b"/sample?seed=1", b'{"n": 4000}'))
    server.poll(lambda: dropped() > before)


# --- pipelines


def test_a_long_pipeline_is_answered_in_order(wire: Wire, client: httpx.Client, pngs: list[bytes]) -> None:
    """Requests of the shortcut, of the router, for what is not there, with bodies that look like ends of heads."""
    tricky = b"\r\n\r\n" * 50
    others = posted(b"/encode", pngs[0]) + b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n" + posted(b"/encode", tricky)
    others += CHUNKED % b"" + chunk(pngs[1]) + b"0\r\nt: 1\r\n\r\n" + b"\r\n" + b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    expected = [client.post("/encode", content=png).json()["mu"] for png in pngs[:2]]
    wire.send(b"".join(SAMPLE % seed + others for seed in range(40)))
    for seed in range(40):
        assert wire.answer()[2]["seed"] == seed
        assert wire.answer()[2]["mu"] == expected[0]
        assert wire.answer()[0] == 404
        assert wire.answer()[0] == 415
        assert wire.answer()[2]["mu"] == expected[1]
        assert wire.answer()[2] == {"status": "live"}


def test_a_pipeline_beside_a_large_body(wire: Wire, client: httpx.Client, pngs: list[bytes]) -> None:
    large = json.dumps({"images": ["\r\n\r\n" * 50_000]}).encode()
    wire.send(posted(b"/encode", large) + SAMPLE % 1 + posted(b"/encode", large) + SAMPLE % 2)
    assert [wire.answer()[0] for _ in range(4)] == [400, 200, 400, 200]
