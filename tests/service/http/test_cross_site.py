"""What pages of other sites make a browser send: it changes nothing, whether there are keys or not."""

from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr

from service.app import create_app
from service.settings import Settings
from tests.service.asgi import Exchange, Sent, send

HOST = (b"host", b"vae.example:8000")
CHANGES = (
    ("POST", "/admin/models/x/reload"),
    ("PUT", "/collections/x"),
    ("POST", "/collections/x/items"),
    ("DELETE", "/collections/x/items/y"),
)
FOREIGN = (
    [(b"origin", b"https://evil.example")],
    [(b"origin", b"null")],
    [(b"origin", b"http://vae.example")],  # another port
    [(b"origin", b"http://[")],
    [(b"sec-fetch-site", b"cross-site")],
    [(b"sec-fetch-site", b"same-site"), (b"origin", b"http://vae.example:3000")],  # whatever else runs there
    [(b"sec-fetch-site", b"cross-site"), (b"origin", b"http://vae.example:8000")],
)
OWN: tuple[list[tuple[bytes, bytes]], ...] = (
    [],
    [(b"origin", b"http://vae.example:8000")],
    [(b"origin", b"https://VAE.example:8000")],  # behind a proxy
    [(b"sec-fetch-site", b"same-origin"), (b"origin", b"https://public.example")],  # of which the proxy does not tell
    [(b"sec-fetch-site", b"none")],
)


async def ask(
    weights: Path, tmp_path: Path, headers: list[tuple[bytes, bytes]], method: str, path: str, origins: tuple[str, ...] = ()
) -> Sent:
    """The answers of an application that is starting."""
    names = ("vae.example",)
    settings = Settings(
        models_dir=weights, store=str(tmp_path / "l.db"), admin=True, cors_origins=origins, allowed_hosts=names
    )
    app = create_app(settings)
    exchange = Exchange(method, path, headers=[HOST, *headers], has_host=False)
    return await send(app, exchange)


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize("headers", FOREIGN)
async def test_other_sites_change_nothing(
    weights: Path, tmp_path: Path, headers: list[tuple[bytes, bytes]], method: str, path: str
) -> None:
    sent = await ask(weights, tmp_path, headers, method, path)
    assert (sent.status, orjson.loads(sent.body)["code"]) == (403, "other_site")
    assert any(name == b"x-request-id" for name, _ in sent.headers)


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize("headers", OWN)
async def test_programs_and_our_own_pages_may(
    weights: Path, tmp_path: Path, headers: list[tuple[bytes, bytes]], method: str, path: str
) -> None:
    sent = await ask(weights, tmp_path, headers, method, path)
    assert sent.status == 503  # it is starting


async def test_sites_that_are_allowed_may(weights: Path, tmp_path: Path) -> None:
    headers = [(b"origin", b"https://app.example"), (b"sec-fetch-site", b"cross-site")]
    for origins, status in ((("https://app.example",), 503), (("*",), 503), (("https://b.example",), 403)):
        sent = await ask(weights, tmp_path, headers, *CHANGES[0], origins)
        assert sent.status == status


async def test_reading_and_computing_is_no_change(weights: Path, tmp_path: Path) -> None:
    for method, path in (("GET", "/collections/x"), ("POST", "/encode"), ("GET", "/sample")):
        sent = await ask(weights, tmp_path, FOREIGN[0], method, path)
        assert sent.status == 503


async def test_a_key_comes_first(weights: Path) -> None:
    app = create_app(Settings(models_dir=weights, admin=True, api_keys=SecretStr("caller infer a-key-that-may-infer")))
    assert (await send(app, Exchange(*CHANGES[0], headers=[HOST, *FOREIGN[0]], has_host=False))).status == 401
