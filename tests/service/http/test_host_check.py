"""The Host of a request: one, well-formed, and a name that no other site's page can have lead here."""

import pytest

from service.asgi import ASGIApp, Receive, Scope, Send
from service.http.host_check import HostCheck
from tests.service.asgi import Exchange, send


async def answered(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def status(app: ASGIApp, *hosts: str, path: str = "/encode") -> int:
    headers = [(b"host", host.encode("latin-1")) for host in hosts]
    return (await send(app, Exchange("GET", path, headers=headers, has_host=False))).status


@pytest.mark.parametrize("has_keys", [False, True])
@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "[fe80::1]", "0.0.0.0", "203.0.113.7:80",
     "service", "vae-1:80", "app.localhost", "box.local", "vae.eu.internal", "vae.svc.cluster.local.", "", ":8000"],
)  # fmt: skip
async def test_addresses_and_private_names_are_allowed(host: str, has_keys: bool) -> None:
    check = HostCheck(answered, (), has_keys)
    assert [await status(check, host) for _ in range(2)] == [200, 200]


PUBLIC = ["evil.example", "evil.example:8000", "EVIL.example.", "127.0.0.1.evil.example", "localhost.evil.example",
    "local.evil.example", "xlocalhost.example", "127.1.example", "1.2.3.4.5", "127.1", "0x7f.1", "256.1.1.1"]  # fmt: skip


@pytest.mark.parametrize("host", PUBLIC)
async def test_names_of_other_sites_are_refused_without_keys(host: str) -> None:
    check = HostCheck(answered, (), has_keys=False)
    assert [await status(check, host) for _ in range(2)] == [421, 421]
    assert await status(check, host, path="/health/ready") == 200
    assert await status(check, host) == 421  # what a probe may do is not remembered for others
    assert await status(HostCheck(answered, (), has_keys=True), host) == 200
    assert await status(HostCheck(answered, ("*",), has_keys=False), host) == 200


@pytest.mark.parametrize("has_keys", [False, True])
async def test_names_of_the_settings_are_allowed_and_others_are_not(has_keys: bool) -> None:
    check = HostCheck(answered, ("VAE.example", "www.vae.example."), has_keys)
    for host in ("vae.example", "Vae.Example:443", "www.vae.example", "vae.example.", "localhost"):
        assert await status(check, host) == 200
    for host in ("example", "x.vae.example", "vae.example.evil.example", "evil.example"):
        assert await status(check, host) == (200 if host == "example" else 421)


@pytest.mark.parametrize(
    "host", ["a b", "user@localhost", "localhost/x", "localhost:8o", "[::1", "::1", "\xe9", "a\tb", "a,b:1,2"]
)
async def test_what_is_no_host_is_malformed(host: str) -> None:
    for has_keys in (False, True):
        assert await status(HostCheck(answered, (), has_keys), host) == 400


async def test_there_is_exactly_one() -> None:
    check = HostCheck(answered, (), has_keys=False)
    assert await status(check) == 400
    assert await status(check, "localhost", "localhost") == 400
    assert await status(check, "localhost", "evil.example") == 400
