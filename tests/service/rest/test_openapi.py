"""The OpenAPI page says what the running service takes: its bounds, and of the loaded models their latents and priors."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.settings import Settings


def schema_of(page: dict[str, Any], path: str, name: str, where: str) -> dict[str, Any]:
    """Of a parameter, or of what stands in a body of that type."""
    operation = page["paths"][path]["get" if path == "/sample" and where == "query" else "post"]
    if where == "query":
        return next(one["schema"] for one in operation["parameters"] if (one["name"], one["in"]) == (name, "query"))
    found: dict[str, Any] = operation["requestBody"]["content"][where]["schema"]["properties"][name]
    return found


@pytest.mark.parametrize("max_rows", [10, 4096])
def test_how_many_items_there_may_be(weights: Path, max_rows: int) -> None:
    page = create_app(Settings(models_dir=weights, max_rows=max_rows)).openapi()
    for path, name in (("/sample", "n"), ("/interpolate", "steps")):
        for where in ("query", "application/json"):
            assert schema_of(page, path, name, where)["maximum"] == max_rows
    assert schema_of(page, "/interpolate", "steps", "multipart/form-data")["maximum"] == max_rows


async def test_what_the_models_take(client: httpx.AsyncClient) -> None:
    page, models = [(await client.get(path)).json() for path in ("/openapi.json", "/models")]
    dim = next(model["latent_dim"] for model in models["models"] if model["default"])
    row = schema_of(page, "/decode", "z", "application/json")["items"]
    assert (row["minItems"], row["maxItems"]) == (dim, dim)
    priors = {prior for model in models["models"] for prior in model["priors"]}
    assert set(schema_of(page, "/sample", "prior", "query")["enum"]) == priors


def test_before_the_models_are_loaded_nothing_is_said_of_them(weights: Path) -> None:
    page = create_app(Settings(models_dir=weights)).openapi()
    assert "minItems" not in schema_of(page, "/decode", "z", "application/json")["items"]
    assert "vamp" in schema_of(page, "/sample", "prior", "query")["enum"]


def test_what_is_not_announced_in_a_body_is_not_taken(weights: Path) -> None:
    page = create_app(Settings(models_dir=weights, admin=True)).openapi()
    bodies = [
        content["schema"]
        for item in page["paths"].values()
        for operation in item.values()
        for kind, content in operation.get("requestBody", {}).get("content", {}).items()
        if kind in ("application/json", "multipart/form-data")
    ]
    assert len(bodies) > 8
    assert all(body["additionalProperties"] is False for body in bodies)
    assert all("model" in body["properties"] for body in bodies)
