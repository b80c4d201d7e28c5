"""The way around the router: taken by every operation of the documentation, and by nothing else."""

from typing import Any

import pytest
from fastapi import FastAPI

from service.asgi import ASGIApp
from service.http.registry import Registration, Registry
from service.http.shortcut import Shortcut
from service.rest.routes.families import ROUTERS
from tests.service.asgi import Exchange, send

OPERATIONS = {
    ("POST", "/encode"),
    ("POST", "/decode"),
    ("GET", "/sample"),
    ("POST", "/sample"),
    ("POST", "/interpolate"),
    ("POST", "/reconstruct"),
    ("POST", "/combine"),
    ("POST", "/barycenter"),
    ("POST", "/traverse"),
    ("GET", "/manifold"),
    ("POST", "/score"),
    ("POST", "/complete"),
    ("POST", "/compress"),
    ("POST", "/decompress"),
}

# What they answer to a request without a body: 33 pictures or more are too many for the fixture's application.
WITHOUT_BODY = {"/sample": 200, "/traverse": 413, "/manifold": 422}


class Passed(Exception):
    """Raised by what lies behind the shortcut."""


@pytest.fixture
def alone(app: FastAPI) -> ASGIApp:
    """The shortcut, before an application that answers nothing by itself."""

    async def passed(scope: Any, receive: Any, take: Any) -> None:
        raise Passed(scope["type"])

    return Shortcut(passed, app, app.state.registry.endpoints)


def test_the_operations_above_are_those_of_the_documentation(app: FastAPI) -> None:
    documented = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if operation["tags"] == ["inference"]
    }
    assert documented == OPERATIONS - {("POST", "/complete")}  # No model of these tests can continue anything.


@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS))
async def test_every_operation_is_reached_without_the_router(alone: ASGIApp, method: str, path: str) -> None:
    sent = await send(alone, Exchange(method, path))
    assert (sent.status, sent.complete) == (WITHOUT_BODY.get(path, 400), True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/encode"), ("HEAD", "/sample"), ("OPTIONS", "/sample"), ("post", "/encode"), ("POST", "/encode/"),
        ("POST", "//encode"), ("POST", "/Encode"), ("POST", "/encode%20"), ("GET", "/"), ("GET", "/health/ready"),
        ("GET", "/models"), ("GET", "/models/grey"), ("GET", "/docs"), ("GET", "/nothing"), ("POST", ""),
    ],
)  # fmt: skip
async def test_all_else_goes_to_the_application(alone: ASGIApp, method: str, path: str) -> None:
    with pytest.raises(Passed, match="http"):
        await send(alone, Exchange(method, path))


async def test_paths_with_parameters_may_have_a_shortcut(app: FastAPI) -> None:
    """Those of inference in the other protocol have one; the router would call the same endpoint with the same parameters."""
    found: list[Any] = []

    async def endpoint(scope: Any, receive: Any, take: Any) -> None:
        found.append(scope["path_params"])

    async def passed(scope: Any, receive: Any, take: Any) -> None:
        found.append("router")

    path = "/v2/models/{model}/versions/{version}/infer"
    registry = Registry([Registration(path, ("POST",), "infer", "v2_infer", endpoint, without_router=True)])
    shortcut = Shortcut(passed, app, registry.endpoints, registry.endpoint_of)
    asked = [("POST", "/v2/models/a.b/versions/1/infer"), ("GET", "/v2/models/a/versions/1/infer"), ("POST", "/v2/models/a/b")]
    asked += [("POST", "/v2/models/a/b/versions/1/infer"), ("POST", "/V2/models/a/versions/1/infer"), ("POST", "/x")]
    for method, where in asked:
        await send(shortcut, Exchange(method, where))
    assert found == [{"model": "a.b", "version": "1"}, *["router"] * 5]
    for where in ("/v2/models/x/infer", "/v2/models/x/versions/1/infer"):
        assert app.state.registry.endpoint_of("POST", where) is not None


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_events_go_to_the_application(alone: ASGIApp, kind: str) -> None:
    async def nothing(*_: Any) -> Any:
        raise AssertionError

    with pytest.raises(Passed, match=kind):
        await alone({"type": kind, "path": "/encode", "method": "POST"}, nothing, nothing)


def test_both_ways_lead_to_the_same_endpoints(app: FastAPI) -> None:
    found = {
        one.path for router in ROUTERS for one in router.registrations if one.endpoint is not None and "{" not in one.path
    }
    of_rest = {path for _, path in app.state.registry.endpoints if not path.startswith("/v2")}
    assert of_rest == found == {path for _, path in OPERATIONS} | {"/collections", "/edit"}
