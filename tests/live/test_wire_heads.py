"""Heads of requests on a raw socket: long and absolute targets, hosts, lengths, and what is no HTTP/1.1."""

import secrets
import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest

from .server import Server
from .wire import Wire

SAMPLE = b"GET /sample?seed=%d HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server) as one:
        yield one


@pytest.mark.parametrize("length", [60_000, 65_400, 65_600, 100_000])
def test_long_queries(wire: Wire, client: httpx.Client, length: int) -> None:
    wire.send(b"GET /sample?seed=3&format=" + b"x" * length + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert wire.answer()[2]["detail"].startswith("format must be ")
    wire.send(b"GET /health/ready?" + b"&" * length + b" HTTP/1.1\r\nhost: x\r\n\r\n" + SAMPLE % 3)
    assert wire.answer()[2] == {"status": "ready"}
    assert wire.answer()[2] == client.get("/sample?seed=3").json()


@pytest.mark.parametrize("length", [40_000, 70_000])
def test_long_paths_are_nothing(wire: Wire, length: int) -> None:
    wire.send(b"GET /" + b"x" * length + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    status, _, body = wire.answer()
    assert (status, body["code"]) == (400, "malformed_request")
    assert "32768" in body["detail"]


def test_absolute_targets(wire: Wire) -> None:
    wire.send(b"GET http://localhost:1/sample?seed=8#x HTTP/1.1\r\nhost: evil.example\r\n\r\n")
    assert wire.answer()[2]["seed"] == 8
    wire.send(
        b"GET http://localhost?seed=8 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://evil.example/sample HTTP/1.1\r\nhost: x\r\n\r\n",
    )
    assert wire.file.readline().split()[1] == b"307"
    while wire.file.readline().strip():
        pass
    assert wire.answer()[2]["code"] == "unknown_host"


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"GET /sample HTTP/1.1\r\n", 400, "malformed_request"),
        (b"GET /sample HTTP/1.1\r\nhost: x\r\nhost: x\r\n", 400, "malformed_request"),
        (b"GET /sample HTTP/1.1\r\nhost: a b\r\n", 400, "malformed_request"),
        (b"GET http://x/sample HTTP/1.1\r\n", 400, "malformed_request"),
        (b"GET http://x/sample HTTP/1.1\r\nhost: x\r\nhost: x\r\n", 400, "malformed_request"),
        (b"GET /sample HTTP/2.0\r\nhost: x\r\n", 400, "malformed_request"),
        (b"GET /sample HTTP/0.9\r\nhost: x\r\n", 400, "malformed_request"),
        (b"GET /sample HTTP/1.1\r\nhost: evil.example\r\n", 421, "unknown_host"),
        (b"DELETE /collections/c HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\n", 421, "unknown_host"),
        (b"GET /docs HTTP/1.1\r\nhost: evil.example\r\n", 421, "unknown_host"),
        (b"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999999999999\r\n", 413, "body_too_large"),
        (b"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n", 400, "malformed_request"),
        (b"POST /encode HTTP/1.1\r\nhost: x\r\ncontent-length: %s3\r\n" % (b"0" * 5000), 415, "unsupported_media_type"),
        (b"GET /sample HTTP/1.1\nhost: x\n", 400, "malformed_request"),
        (b"GET /sample HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n", 400, "malformed_request"),
        (b"GET /sample HTTP/1.1\r\nhost : x\r\n", 400, "malformed_request"),
        (b"POST /encode HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n", 400, "malformed_request"),
        (
            b"POST /encode HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\ntransfer-encoding: x\r\n",
            400,
            "malformed_request",
        ),
    ],
)
def test_heads_that_are_refused(wire: Wire, head: bytes, status: int, code: str) -> None:
    wire.send(head + b"\r\nabc")
    found = wire.answer()
    assert (found[0], found[2]["code"]) == (status, code)


def test_health_is_told_to_everybody(wire: Wire) -> None:
    wire.send(b"GET /health/ready HTTP/1.1\r\nhost: evil.example\r\n\r\n", b"GET /health/live HTTP/1.0\r\n\r\n")
    assert [wire.answer()[0] for _ in range(2)] == [200, 200]


def test_an_access_line_has_an_address_or_none(server: Server) -> None:
    """A proxy on this machine says whose request it is, and may say anything."""
    for stated, logged in (("203.0.113.9", "203.0.113.9"), ("2001:db8::9", "2001:db8::9"), ("x" * 50_000, "unknown")):
        with httpx.Client(base_url=server.url) as client:
            ids = {"x-request-id": f"of-{logged}", "x-forwarded-for": stated}
            client.get("/models", headers=ids).raise_for_status()
        server.poll(lambda: any(line.endswith(f", of-{logged}") for line in server.lines))  # noqa: B023
        line = next(line for line in server.lines if line.endswith(f", of-{logged}"))
        assert f" {logged} - " in line
        assert len(line) < 500


def test_clients_that_speak_tls_leave_one_line(server: Server, wire: Wire) -> None:
    said = "a client spoke TLS to this plain HTTP port; use http://, or a proxy that offers HTTPS"
    before = sum(said in line for line in server.lines)
    context = ssl.create_default_context()
    url = httpx.URL(server.url)
    for _ in range(3):
        with socket.create_connection((url.host, url.port)) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="localhost")
    wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    status, _, problem = wire.answer()
    assert (status, problem["detail"]) == (400, said)
    wire_id = f"of-{secrets.token_hex(4)}"  # lines come in order, so the line of a later request is behind all of them
    httpx.get(f"{server.url}/models", headers={"x-request-id": wire_id})
    server.poll(lambda: any(line.endswith(f", {wire_id}") for line in server.lines))
    after = sum(said in line for line in server.lines)
    assert (after >= 1, after - before <= 1) == (True, True)
