"""Addresses that proxies state: taken from those that are trusted, and from nobody else."""

from typing import Any

import pytest

from service.server.forwarded_headers import ForwardedHeaders


async def seen_by_the_application(headers: list[tuple[bytes, bytes]], client: str | None, trusted: list[str]) -> Any:
    found: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        found.append((scope.get("client"), scope.get("scheme")))

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    scope = {"type": "http", "client": client and (client, 1), "scheme": "http", "headers": headers}
    await ForwardedHeaders(application, trusted)(scope, nothing, nothing)
    return found[0]


FOR, PROTO = (b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")


@pytest.mark.parametrize(
    ("headers", "client", "trusted", "expected"),
    [
        ([], "127.0.0.1", ["127.0.0.1"], (("127.0.0.1", 1), "http")),
        ([(b"host", b"x"), FOR, PROTO], "127.0.0.1", ["127.0.0.1"], (("203.0.113.7", 0), "https")),
        ([FOR], "127.0.0.1", ["127.0.0.1"], (("203.0.113.7", 0), "http")),
        ([FOR, PROTO], "198.51.100.1", ["127.0.0.1"], (("198.51.100.1", 1), "http")),
        ([FOR, PROTO], "198.51.100.1", [], (("198.51.100.1", 1), "http")),
        ([FOR], "10.1.2.3", ["::1", "10.0.0.0/8"], (("203.0.113.7", 0), "http")),
        ([FOR], "198.51.100.1", ["*"], (("203.0.113.7", 0), "http")),
        # the caller's own entry stands before the one that the proxy has added
        ([(b"x-forwarded-for", b"1.1.1.1, 203.0.113.7")], "127.0.0.1", ["127.0.0.1"], (("203.0.113.7", 0), "http")),
        # through a unix socket
        ([FOR, PROTO], None, ["127.0.0.1"], (("203.0.113.7", 0), "https")),
        ([], None, ["127.0.0.1"], (None, "http")),
    ],
)
async def test_addresses(headers: list[tuple[bytes, bytes]], client: str | None, trusted: list[str], expected: Any) -> None:
    assert await seen_by_the_application(headers, client, trusted) == expected


async def test_other_events_pass() -> None:
    found: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope["type"])

    await ForwardedHeaders(application, ["*"])({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert found == ["lifespan"]
