"""Keys and scopes, over every route that the application has."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from service.app import create_app
from service.door_routes import DoorRoutes
from service.http.access.guard import Access
from service.http.registry import ANY_KEY, CLOSED, OPEN
from service.settings import Settings
from tests.service.asgi import Exchange, of_httpx, send

KEYS = {
    "infer": "key-that-may-infer",
    "store": "key-that-may-store",
    "admin": "key-of-administrators",
    "none": "key-of-nobody",
}
LINES = "; ".join(f"{scope}-caller {scope if scope != 'none' else '-'} {key}" for scope, key in KEYS.items())
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def settings(weights: Path, tmp_path: Path, **more: Any) -> Settings:
    return Settings(**{"models_dir": weights, "store": str(tmp_path / "latents.db"), "api_keys": SecretStr(LINES), **more})


@pytest.fixture
def app(weights: Path, tmp_path: Path) -> FastAPI:
    """The application with keys. It is not started: what gets past the guard finds it starting."""
    return create_app(settings(weights, tmp_path))


def paths(routes: Any) -> Iterator[tuple[str, set[str]]]:
    """(path, methods) of all routes, however deep."""
    for route in routes:
        inner = route if isinstance(route, DoorRoutes) else getattr(route, "original_router", None)
        if inner is not None:
            yield from paths(inner.routes)
        else:
            yield route.path, set(getattr(route, "methods", None) or {"GET"})


def requests(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path) of all that there is, names filled in."""
    found = {(method, re.sub(r"{.*?}", "x", path) or "/") for path, methods in paths(app.routes) for method in methods}
    assert found >= {("POST", "/encode"), ("DELETE", "/collections/x/items/x"), ("GET", "/health/live"), ("GET", "/docs")}
    documented = {
        (method.upper(), re.sub(r"{.*?}", "x", path)) for path, item in app.openapi()["paths"].items() for method in item
    }
    assert documented <= found
    return found


def with_key(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-api-key", key.encode())]


def code(body: bytes) -> str:
    return str(orjson.loads(body)["code"]) if body.startswith(b"{") else ""


def test_every_route_is_registered_with_a_scope(app: FastAPI) -> None:
    access: Access = app.state.access
    assert {access.scope_of(path) for _, path in requests(app)} == {OPEN, ANY_KEY, "infer", "store", "admin"}
    expected = {"/encode": "infer", "/collections/x/items/a/b": "store", "/docs": ANY_KEY, "/health/live": OPEN, "/": OPEN}
    expected |= {
        "/v2/models/x/infer": "infer",
        "/v2/repository/models/x/load": "admin",
        "/v2": ANY_KEY,
        "/diffusers/x/decode": "infer",
    }
    expected |= {"/explore": OPEN, "/explore/main.js": OPEN, "/explorer": CLOSED}
    # A path below one that is registered needs the same, so that nobody finds out without a key what there is.
    expected |= {"/encode/x": "infer", "/health/x": ANY_KEY, "/models/x/map": "infer"}
    # A slash at the end makes no difference: who may use the path is redirected there.
    expected |= {"/encode/": "infer", "/v2/": ANY_KEY, "/v2/health/live/": OPEN, "/v2/models/x/infer/": "infer"}
    expected |= dict.fromkeys(("/nothing", "/v2//", "/Encode", "/encod", "/%2e", "/models/x/y"), CLOSED)
    assert {path: access.scope_of(path) for path in expected} == expected


def is_open(path: str) -> bool:
    """Whether a path needs no key: the service's health, and the page that asks for a key."""
    health = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
    return path in ("/", "/explore", *health) or path.startswith("/explore/")


async def test_only_health_and_the_page_answer_without_a_key(app: FastAPI) -> None:
    unknown = {("GET", "/nothing"), ("PURGE", "/encode"), ("GET", "/.env"), ("GET", "/health/x"), ("GET", "//health/live")}
    everything = requests(app) | unknown | {(method, path) for method in METHODS for path in ("/encode", "/collections/x")}
    for method, path in everything:
        for headers in ([], with_key("wrong"), with_key(""), [(b"authorization", b"Bearer ")], [(b"authorization", b"x")]):
            sent = await send(app, Exchange(method, path, headers=headers))
            if is_open(path):
                assert sent.status in (200, 307, 503), path
                continue
            assert sent.status == 401, (method, path, headers)
            assert any(name == b"www-authenticate" for name, _ in sent.headers)
            body = b'"code":"unauthorized"'
            assert method == "HEAD" or body in sent.body
    assert app.state.refused.keys() == {"key"}


@pytest.mark.parametrize("holder", KEYS)
async def test_each_key_opens_its_routes_and_no_other(app: FastAPI, holder: str) -> None:
    for method, path in requests(app):
        needed = app.state.access.scope_of(path)
        sent = await send(app, Exchange(method, path, headers=with_key(KEYS[holder])))
        if needed in (OPEN, ANY_KEY, holder):
            assert sent.status not in (401, 403), (method, path)
        else:
            assert sent.status == 403, (method, path)
            if method != "HEAD":
                assert code(sent.body) == "missing_scope"
                assert f"scope '{needed}'" in orjson.loads(sent.body)["detail"]


async def test_with_a_key_what_is_not_there_is_not_found(app: FastAPI) -> None:
    for path in ("/nothing", "/encod", "//encode", "/%2e%2e", "/admins"):
        sent = await send(app, Exchange("GET", path, headers=with_key(KEYS["admin"])))
        assert (sent.status, code(sent.body)) == (404, "not_found")
        assert path in orjson.loads(sent.body)["detail"]


async def test_a_route_that_nobody_has_thought_of_is_closed(app: FastAPI) -> None:
    app.add_api_route("/forgotten", lambda: "secret")
    assert app.state.access.scope_of("/forgotten") == CLOSED
    for key in KEYS.values():
        sent = await send(app, Exchange("GET", "/forgotten", headers=with_key(key)))
        assert sent.status == 404


@pytest.mark.parametrize(
    ("headers", "opens"),
    [
        ({"authorization": "Bearer {key}"}, True),
        ({"authorization": "bearer   {key} "}, True),
        ({"authorization": "Bearer\t{key}"}, True),
        ({"authorization": "\tBEARER \t {key}\t"}, True),
        ({"authorization": "Basic\t{basic}"}, True),
        ({"authorization": "Bearer{key}"}, False),
        ({"authorization": "Bearer"}, False),
        ({"authorization": ""}, False),
        ({"x-api-key": "{key}"}, True),
        ({"x-api-key": "wrong", "authorization": "Bearer {key}"}, False),
        ({"x-api-key": "{key}", "authorization": "Bearer {key}"}, True),
        ({"x-api-key": "{key}", "authorization": "Bearer "}, False),
        ({"x-api-key": "", "authorization": "Bearer {key}"}, False),
        ({"x-api-key": "{key}", "authorization": "Digest of-another"}, False),
        ({"x-api-key": "{key}", "authorization": "Basic d3Jvbmc6d3Jvbmc="}, False),
        ({"authorization": "Basic {basic}"}, True),
        ({"authorization": "Basic {basic}="}, False),
        ({"authorization": "Basic {key}"}, False),
        ({"authorization": "Basic é"}, False),
        ({"authorization": "Digest {key}"}, False),
        ({"authorization": "{key}"}, False),
        ({"x-api-key": "{key}x"}, False),
        ({"cookie": "x-api-key={key}"}, False),
    ],
)
async def test_ways_to_present_a_key(app: FastAPI, headers: dict[str, str], opens: bool) -> None:
    key = KEYS["infer"]
    words = {"key": key, "basic": base64.b64encode(f"anybody:{key}".encode()).decode()}
    raw = [(name.encode(), value.format(**words).encode("latin-1")) for name, value in headers.items()]
    sent = await send(app, Exchange("GET", "/sample", headers=raw))
    assert sent.status == (503 if opens else 401)  # it is starting


async def test_a_key_in_the_address_works_and_one_in_the_query_does_not(app: FastAPI) -> None:
    url = httpx.Request("GET", f"http://user:{KEYS['infer']}@test/sample").url
    basic = base64.b64encode(f"{url.username}:{url.password}".encode())
    assert (await send(app, Exchange("GET", "/sample", headers=[(b"authorization", b"Basic " + basic)]))).status == 503
    query = f"api_key={KEYS['infer']}".encode()
    assert (await send(app, Exchange("GET", "/sample", query))).status == 401


async def test_of_each_way_only_the_first_counts(app: FastAPI) -> None:
    headers = [*with_key("wrong"), *with_key(KEYS["infer"])]
    assert (await send(app, Exchange("GET", "/sample", headers=headers))).status == 401


async def test_no_answer_repeats_a_key(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        for holder, key in KEYS.items():
            for path in ("/encode", "/collections/x", "/admin/x", "/models/x?y"):
                sent = await send(app, of_httpx("POST", path, headers={"x-api-key": key}, content=b"x"))
                assert key.encode() not in sent.body + b"".join(map(b"".join, sent.headers)), (holder, path)
        sent = await send(app, of_httpx("GET", "/sample", headers={"authorization": "Bearer almost-a-key"}))
        assert b"almost" not in sent.body
    assert not [line for line in caplog.messages if any(key in line for key in (*KEYS.values(), "almost"))]
    assert not any(key in repr(vars(app.state.access)) for key in KEYS.values())


async def test_metrics_are_open_when_that_is_set(weights: Path, tmp_path: Path) -> None:
    for access, status in (("key", 401), ("open", 200)):
        app = create_app(settings(weights, tmp_path, metrics_access=access))
        assert (await send(app, Exchange("GET", "/metrics"))).status == status
        assert (await send(app, Exchange("GET", "/metrics/x"))).status == 401


async def test_without_keys_there_is_no_guard(weights: Path, tmp_path: Path) -> None:
    app = create_app(settings(weights, tmp_path, api_keys=SecretStr(""), key_rate=1.0, key_concurrency=1))
    assert app.state.access is None
    for _ in range(5):
        assert (await send(app, Exchange("GET", "/sample"))).status == 503
    assert "securitySchemes" not in app.openapi().get("components", {})


async def test_other_protocols_are_refused(app: FastAPI) -> None:
    said: list[Any] = []

    async def take(message: Any) -> None:
        said.append(message)

    async def nothing() -> Any:
        raise AssertionError

    await app({"type": "websocket", "path": "/encode", "headers": with_key(KEYS["infer"])}, nothing, take)
    assert [message["type"] for message in said] == ["websocket.close"]


async def test_the_page_says_what_each_operation_needs(app: FastAPI) -> None:
    page = app.openapi()
    assert page is app.openapi()
    assert page["components"]["securitySchemes"].keys() == {"bearer", "header", "basic"}
    for path, item in page["paths"].items():
        for operation in item.values():
            needed = app.state.access.scope_of(path)
            assert ("security" in operation) == bool(needed)
            assert ("401" in operation["responses"]) == bool(needed)
            assert ("403" in operation["responses"]) == (needed not in (OPEN, ANY_KEY))
            assert operation["description"].count("Needs a key") == bool(needed)


async def test_a_script_that_asks_for_keys_itself_gets_no_window_of_the_browser(app: FastAPI) -> None:
    for headers, challenges in (([], ["Basic", "Bearer"]), ([(b"x-requested-with", b"XMLHttpRequest")], ["Bearer"])):
        sent = await send(app, Exchange("GET", "/models", headers=headers))
        assert sent.status == 401
        assert re.findall(r"(\w+) realm=", dict(sent.headers)[b"www-authenticate"].decode()) == challenges


# --- allowances


async def test_a_caller_who_asks_too_often_is_told_when_to_come_back(weights: Path, tmp_path: Path) -> None:
    app = create_app(settings(weights, tmp_path, key_rate=0.01, key_burst=4, workers=2))
    for _ in range(2):  # a worker has half
        assert (await send(app, Exchange("GET", "/sample", headers=with_key(KEYS["infer"])))).status == 503
    sent = await send(app, Exchange("GET", "/docs", headers=with_key(KEYS["infer"])))
    assert (sent.status, code(sent.body)) == (429, "rate_exceeded")
    assert 100 < int(dict(sent.headers)[b"retry-after"]) <= 200
    assert (await send(app, Exchange("GET", "/docs", headers=with_key(KEYS["store"])))).status == 200  # who is another
    assert app.state.refused == {"rate": 1}


async def test_a_caller_with_too_many_requests_in_flight(weights: Path, tmp_path: Path) -> None:
    app = create_app(settings(weights, tmp_path, key_concurrency=2))
    access: Access = app.state.access
    held = [access.allowance_of("/sample", "infer", with_key(KEYS["infer"])) for _ in range(2)]
    for allowance in held:
        allowance.enter()
    for _ in range(2):
        sent = await send(app, Exchange("GET", "/sample", headers=with_key(KEYS["infer"])))
        assert (sent.status, code(sent.body)) == (429, "concurrency_exceeded")
        assert dict(sent.headers)[b"retry-after"] == b"1"
    held.pop().leave()
    for _ in range(3):
        assert (await send(app, Exchange("GET", "/sample", headers=with_key(KEYS["infer"])))).status == 503
    assert app.state.refused == {"concurrency": 2}


async def test_an_allowance_is_given_back_whatever_happens(app: FastAPI) -> None:
    app.state.service = "no service"
    sent = await send(app, Exchange("GET", "/sample", headers=with_key(KEYS["infer"])))
    assert sent.status == 500
    await send(app, Exchange("POST", "/encode", headers=with_key(KEYS["infer"]), leaves="in the body"))
    assert {allowance.in_flight for allowance in app.state.access.allowances.values()} == {0}
