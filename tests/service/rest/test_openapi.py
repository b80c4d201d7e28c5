"""The OpenAPI page says what the running service takes: its bounds, and of the loaded models their latents and priors."""

import base64
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import numpy as np
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.formats import png
from service.settings import Settings


def schema_of(page: dict[str, Any], path: str, name: str, where: str) -> dict[str, Any]:
    """Return the schema of a parameter, or of a body of that type."""
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


async def test_what_the_models_take(client: httpx.AsyncClient, app: FastAPI) -> None:
    """Of the fixture's two models, whose latents have three and four dimensions."""
    page, models = [(await client.get(path)).json() for path in ("/openapi.json", "/models")]
    row = schema_of(page, "/decode", "z", "application/json")["items"]
    assert row["anyOf"] == [{"minItems": dim, "maxItems": dim} for dim in (3, 4)]
    priors = {prior for model in models["models"] for prior in model["priors"]}
    assert set(schema_of(page, "/sample", "prior", "query")["enum"]) == priors
    await app.state.service.pipeline.catalog.remove("colour")
    row = schema_of((await client.get("/openapi.json")).json(), "/decode", "z", "application/json")["items"]
    assert (row["minItems"], row["maxItems"], "anyOf" in row) == (3, 3, False)


async def test_the_page_allows_a_good_request_of_every_model(client: httpx.AsyncClient) -> None:
    page, models = [(await client.get(path)).json() for path in ("/openapi.json", "/models")]
    picture = "data:image/png;base64," + base64.b64encode(png.write(np.zeros((8, 8, 1), np.uint8))).decode()
    for model in models["models"]:
        z = [0.5] * model["latent_dim"]
        bodies: dict[str, dict[str, Any]] = {
            "/encode": {"images": [picture], "include": ["kl"]},
            "/reconstruct": {"images": [picture]},
            "/decode": {"z": [z, z]},
            "/sample": {"n": 2, "seed": 3, "prior": model["priors"][0]},
            "/interpolate": {"start": {"z": z}, "end": {"image": picture}, "steps": 3},
        }
        for path, body in bodies.items():
            body |= {"model": model["name"]}
            assert (await client.post(path, json=body)).status_code == 200, path
            schema = page["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            jsonschema_rs.validate({**schema, "components": page["components"]}, body)


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
