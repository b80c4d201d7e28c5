"""A new endpoint needs its registration and no more: it is routed, guarded, counted, documented, and has its shortcut."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from service.app import create_app
from service.http.call import Answer, Call
from service.http.registry import Registry
from service.rest.parameters import read_parameters
from service.rest.registration import Router, add, describe_operation
from service.rest.routes.families import ROUTERS
from service.rest.schemas import NoParameters
from service.settings import Settings
from tests.service.asgi import Exchange, send

KEYS = "caller infer a-key-that-may-infer; other store a-key-that-may-store"


async def score(service: Any, call: Call) -> Answer:
    """How long the body is."""
    read_parameters(NoParameters, call.query)
    return Answer(str(len(call.body)).encode(), "text/plain", {})


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Router:
    router = Router(tags=["inference"])
    description = describe_operation(NoParameters, {"text/plain": {"schema": {"type": "string"}}}, {})
    add(router, "/score", ["POST"], score, "A score", description, scope="infer", label="score")
    add(router, "/score/{name}", ["POST"], score, "A score", description, scope="infer", label="score")
    monkeypatch.setattr("service.app.ROUTERS", [*ROUTERS, router])
    return router


@pytest.mark.usefixtures("router")
async def test_a_new_endpoint(weights: Path, tmp_path: Path) -> None:
    settings = Settings(
        models_dir=weights, default_model="grey", device="cpu", threads=1, api_keys=SecretStr(KEYS), store=str(tmp_path / "s")
    )
    app = create_app(settings)
    statuses = {b"": 401, b"a-key-that-may-store": 403, b"a-key-that-may-infer": 200}
    async with app.router.lifespan_context(app):
        await app.state.started.wait()
        for path in ("/score", "/score/x"):
            for key, status in statuses.items():
                sent = await send(app, Exchange("POST", path, headers=[(b"x-api-key", key)], pieces=[b"four"]))
                assert sent.status == status
            assert sent.body == b"4"
        counted = {family.name: family for family in app.state.sinks.metrics.families(None, ready=True)}["vae_requests_total"]
        assert counted.samples == {("score", str(status)): 2 for status in statuses.values()}
    assert ("POST", "/score") in app.state.registry.endpoints
    operation = app.openapi()["paths"]["/score"]["post"]
    assert operation["security"]
    assert "Needs a key with the scope `infer`" in operation["description"]


def test_a_path_has_one_scope_and_one_label() -> None:
    router = Router()
    details = describe_operation(NoParameters, {}, {})
    add(router, "/x", ["POST"], score, "", details, scope="infer", label="x")
    add(router, "/x", ["GET"], score, "", details, scope="store", label="x")
    with pytest.raises(ValueError, match="/x is registered twice"):
        Registry(router.registrations)
