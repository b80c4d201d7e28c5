"""Cross-origin requests: off unless origins are set, preflights without a key, and answers that browsers may read."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from service.app import create_app
from service.settings import Settings
from tests.service.asgi import Exchange, Sent, send

KEY = "a-key-that-may-infer"
SITE = b"https://app.example"
PREFLIGHT = [
    (b"origin", SITE),
    (b"access-control-request-method", b"POST"),
    (b"access-control-request-headers", b"authorization,content-type"),
]


async def ask(weights: Path, origins: tuple[str, ...], method: str, headers: Any, path: str = "/encode") -> Sent:
    """The answers."""
    app = create_app(Settings(models_dir=weights, api_keys=SecretStr(f"app infer {KEY}"), cors_origins=origins))
    return await send(app, Exchange(method, path, headers=headers))


def cors(sent: Sent) -> dict[bytes, bytes]:
    return {name: value for name, value in sent.headers if name.startswith(b"access-control-") or name == b"vary"}


async def test_it_is_off_by_default(weights: Path) -> None:
    sent = await ask(weights, (), "OPTIONS", PREFLIGHT)
    assert (sent.status, cors(sent)) == (401, {})


@pytest.mark.parametrize(("origins", "told"), [((SITE.decode(), "https://b.example"), SITE), (("*",), b"*")])
async def test_a_preflight_needs_no_key(weights: Path, origins: tuple[str, ...], told: bytes) -> None:
    sent = await ask(weights, origins, "OPTIONS", PREFLIGHT)
    found = cors(sent)
    assert (sent.status, sent.body, found[b"access-control-allow-origin"]) == (204, b"", told)
    assert found[b"access-control-allow-headers"] == b"authorization,content-type"
    assert b"POST" in found[b"access-control-allow-methods"]
    assert (found.get(b"vary") == b"Origin") == (told == SITE)
    assert b"access-control-allow-credentials" not in found


@pytest.mark.parametrize("origin", [b"https://evil.example", b"null", b"https://app.example.evil", b"http://app.example", b""])
async def test_other_sites_are_told_nothing(weights: Path, origin: bytes) -> None:
    sent = await ask(weights, (SITE.decode(),), "OPTIONS", [(b"origin", origin), *PREFLIGHT[1:]])
    assert (sent.status, cors(sent)) == (401, {b"vary": b"Origin"})


async def test_answers_may_be_read_refusals_too(weights: Path) -> None:
    with_key = [(b"origin", SITE), (b"x-api-key", KEY.encode())]
    for headers, status in ((with_key, 503), (with_key[:1], 401)):  # it is starting
        sent = await ask(weights, (SITE.decode(),), "POST", headers)
        assert (sent.status, cors(sent)[b"access-control-allow-origin"]) == (status, SITE)
        assert b"X-Request-Id" in cors(sent)[b"access-control-expose-headers"]


async def test_options_that_are_no_preflight_need_a_key(weights: Path) -> None:
    sent = await ask(weights, ("*",), "OPTIONS", PREFLIGHT[:1])
    assert sent.status == 401


async def test_a_failure_may_be_read_too(weights: Path) -> None:
    """A failure has the same headers as other answers."""
    app = create_app(Settings(models_dir=weights, cors_origins=("*",)))
    app.state.service = "no service"
    for path in ("/sample", "/models"):
        sent = await send(app, Exchange("GET", path, headers=[(b"origin", SITE), (b"x-request-id", b"abc")]))
        assert (sent.status, cors(sent)[b"access-control-allow-origin"]) == (500, b"*")
        assert [value for name, value in sent.headers if name == b"x-request-id"] == [b"abc"]
