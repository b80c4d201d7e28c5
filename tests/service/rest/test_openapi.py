"""The OpenAPI page says what the running service takes: its bounds, and of the loaded models their latents and priors."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import numpy as np
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.formats import png
from service.formats.latent_rows import MAX_LATENT
from service.rest.components import resolve
from service.rest.search_schemas import SearchParameters
from service.settings import Settings

IN = "/collections/{name}"

OF_SOME_KINDS = ("temperature", "max_length", "id_column", "metadata_columns")
WITHOUT_EXAMPLE = ("label", "collection", "item", *OF_SOME_KINDS)


def schema_of(page: dict[str, Any], path: str, name: str, where: str) -> dict[str, Any]:
    """Return the schema of a parameter, or of a body of that type."""
    operation = page["paths"][path]["get" if path == "/sample" and where == "query" else "post"]
    if where == "query":
        return next(one["schema"] for one in operation["parameters"] if (one["name"], one["in"]) == (name, "query"))
    found: dict[str, Any] = resolve(page, operation["requestBody"]["content"][where]["schema"])["properties"][name]
    return found


@pytest.mark.parametrize("max_rows", [10, 4096])
def test_how_many_items_there_may_be(weights: Path, max_rows: int) -> None:
    page = create_app(Settings(models_dir=weights, max_rows=max_rows)).openapi()
    for path, name in (("/sample", "n"), ("/interpolate", "steps")):
        for where in ("query", "application/json"):
            assert schema_of(page, path, name, where)["maximum"] == max_rows
    assert "maximum" not in schema_of(page, "/interpolate", "steps", "multipart/form-data")  # It is a string there.


async def test_what_the_models_take(client: httpx.AsyncClient, app: FastAPI) -> None:
    """Of the fixture's two models, whose latents have three and four dimensions."""
    page, models = [(await client.get(path)).json() for path in ("/openapi.json", "/models")]
    for name in ("z", "mu"):
        row = schema_of(page, "/decode", name, "application/json")["items"]
        assert row["items"] == {"type": "number", "minimum": -MAX_LATENT, "maximum": MAX_LATENT}
    assert row["anyOf"] == [{"minItems": dim, "maxItems": dim} for dim in (3, 4)]
    priors = {prior for model in models["models"] for prior in model["priors"]}
    assert set(schema_of(page, "/sample", "prior", "query")["enum"]) == priors
    assert schema_of(page, "/sample", "label", "query")["enum"] == [
        name for model in models["models"] for name in model["labels"]
    ]
    await app.state.service.pipeline.catalog.remove("colour")
    row = schema_of((await client.get("/openapi.json")).json(), "/decode", "z", "application/json")["items"]
    assert (row["minItems"], row["maxItems"], "anyOf" in row) == (3, 3, False)


async def test_the_page_allows_a_good_request_of_every_model(client: httpx.AsyncClient) -> None:
    page, models = [(await client.get(path)).json() for path in ("/openapi.json", "/models")]
    picture = "data:image/png;base64," + base64.b64encode(png.write(np.zeros((8, 8, 1), np.uint8))).decode()
    for model in models["models"]:
        z = [0.5] * model["latent_dim"]
        bodies: dict[str, list[dict[str, Any]]] = {
            "/encode": [{"images": [picture], "include": ["kl"]}, {"image": picture}],
            "/reconstruct": [{"images": [picture]}, {"image": picture, "mode": "sample"}],
            "/decode": [{"z": [z, z]}, {"mu": [z, z]}],
            "/sample": [{"n": 2, "seed": 3, "prior": model["priors"][0]}],
            "/interpolate": [
                {"start": {"z": z}, "end": {"image": picture}, "steps": 3},
                {"start": {"mu": z}, "end": {"z": z}},
                {"points": [{"mu": z, "sigma": [0.5] * len(z)}, {"image": picture}, {"z": z}], "steps": 3},
                {"corners": [{"z": z}] * 4, "steps": 3},
            ],
            "/combine": [{"terms": [{"z": z}, {"image": picture, "weight": -2}]}],
            "/barycenter": [{"points": [{"mu": z, "sigma": [0.5] * len(z), "weight": 2}, {"image": picture}], "method": "w2"}],
            "/traverse": [
                {"steps": 2},
                {"z": [z], "dims": [0, 2], "steps": 2},
                {"points": [{"image": picture}], "dims": "local:1"},
            ],
        }
        for path, body in ((path, body) for path, some in bodies.items() for body in some):
            body |= {"model": model["name"]}
            assert (await client.post(path, json=body)).status_code == 200, path
            assert allows(page, path, body)


async def test_the_page_does_not_allow_two_names_of_one_thing(client: httpx.AsyncClient) -> None:
    page = (await client.get("/openapi.json")).json()
    z, picture = [0.5] * 3, "data:image/png;base64," + base64.b64encode(png.write(np.zeros((8, 8, 1), np.uint8))).decode()
    bodies: list[tuple[str, dict[str, Any], str]] = [
        ("/encode", {"images": [picture], "image": picture}, "both 'images' and 'image'"),
        ("/reconstruct", {"image": [picture]}, "'image' must be a string"),
        ("/encode", {}, "no 'images'"),
        ("/decode", {"z": [z], "mu": [z]}, "both 'z' and 'mu'"),
        ("/decode", {"mu": [[0.5, "a", 1]]}, "mu contains strings"),
        ("/decode", {}, "no 'z'"),
        ("/interpolate", {"start": {"z": z, "mu": z}, "end": {"z": z}}, "'start' must be"),
        ("/interpolate", {"start": {"z": z}, "end": {}}, "'end' must be"),
        ("/interpolate", {"start": {"z": z}}, "'end' must be"),
        ("/interpolate", {"points": [{"z": z}]}, "a path needs at least 2"),
        ("/interpolate", {"corners": [{"z": z}] * 3, "steps": 2}, "must have 4"),
        ("/combine", {"terms": []}, "a list of one or more objects"),
        ("/combine", {"terms": [{"z": z, "weight": 101}]}, "weight must be a number from -100 to 100"),
        ("/barycenter", {"points": [{"z": z, "weight": -1}]}, "weight must be a number from 0 to 100"),
        ("/traverse", {"dims": "best", "steps": 2}, "dims must be top:N"),
        ("/interpolate", {"start": {"z": z}, "end": {"mu": [2 * MAX_LATENT] * 3}}, "latents must be finite and between"),
    ]
    for path, body, message in bodies:
        problem = await client.post(path, json=body)
        assert (problem.status_code, message in problem.json()["detail"]) == (422, True), problem.json()["detail"]
        assert not allows(page, path, body)


async def test_the_page_allows_every_filter_that_is_taken(client: httpx.AsyncClient) -> None:
    page = (await client.get("/openapi.json")).json()
    for value in (1, "a", None, {"contains": "a"}, {"contains": None}, {"in": ["a", 1]}, {"eq": 1, "exists": True}):
        body = {"mu": [0.5] * 3, "filter": {"geo.city": value}, "strict": True, "exclude_self": True}
        assert SearchParameters.model_validate({"filter": body["filter"]}).filter
        assert allows(page, "/collections/{name}/search", body)
    assert not allows(page, "/collections/{name}/search", {"mu": [0.5] * 3, "filter": {"a": {"contains": ["a"]}}})


def allows(page: dict[str, Any], path: str, body: dict[str, Any]) -> bool:
    """Return whether the page allows a JSON body."""
    schema = page["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return bool(jsonschema_rs.is_valid({**schema, "components": page["components"]}, body))


def test_before_the_models_are_loaded_nothing_is_said_of_them(weights: Path) -> None:
    page = create_app(Settings(models_dir=weights)).openapi()
    assert "minItems" not in schema_of(page, "/decode", "z", "application/json")["items"]
    assert "vamp" in schema_of(page, "/sample", "prior", "query")["enum"]


def test_what_is_not_announced_in_a_body_is_not_taken(weights: Path) -> None:
    page = create_app(Settings(models_dir=weights, admin=True)).openapi()
    bodies = [
        resolve(page, content["schema"])
        for item in page["paths"].values()
        for operation in item.values()
        for kind, content in operation.get("requestBody", {}).get("content", {}).items()
        if kind in ("application/json", "multipart/form-data")
    ]
    bodies.remove(page["components"]["schemas"]["MetadataPatch"])  # whose keys are those of the metadata
    assert len(bodies) > 8
    assert all(body["additionalProperties"] is False for body in bodies)
    assert all("model" in body["properties"] for body in bodies)


def test_what_the_page_says_is_short_and_readable(weights: Path) -> None:
    page = create_app(Settings(models_dir=weights, admin=True)).openapi()
    operations = [operation for methods in page["paths"].values() for operation in methods.values()]
    assert len(json.dumps(page)) < 350_000
    assert json.dumps(page).count('"request_id"') == 2  # in the properties of Problem, and among the required ones
    names = {operation["operationId"] for operation in operations}
    assert names >= {"encode", "decode", "sample", "reconstruct", "interpolate", "make_collection", "search_collection"}
    for operation in operations:
        assert "\n  " not in operation["description"]
        assert operation["description"][0].isupper()
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                assert parameter["description"].endswith("."), parameter
                assert "default" not in parameter.get("schema", {}), parameter  # It would override the body.
                # /docs must not send these: they are for some models or some data, or name what need not exist.
                if parameter["name"] not in WITHOUT_EXAMPLE:
                    assert "content" in parameter or len(parameter["schema"]["examples"]) == 1, parameter
    assert [tag["name"] for tag in page["tags"]][-1] == "admin"
    assert "admin" not in [tag["name"] for tag in create_app(Settings(models_dir=weights)).openapi()["tags"]]


def test_what_is_accepted_is_listed(weights: Path) -> None:
    page = create_app(Settings(models_dir=weights)).openapi()
    items, search, sample = (page["paths"][path]["post"] for path in (f"{IN}/items", f"{IN}/search", "/sample"))
    types = {f"image/{kind}" for kind in ("png", "jpeg", "webp", "gif", "bmp", "tiff")} | {"application/x-npy"}
    for operation in (page["paths"]["/encode"]["post"], items, search):
        assert types <= operation["requestBody"]["content"].keys()
    assert "application/json" in page["paths"][f"{IN}/items/{{id}}"]["patch"]["requestBody"]["content"]
    assert {"ids", "item"} <= page["components"]["schemas"]["Problem"]["properties"].keys()
    examples = {one["name"]: one["schema"].get("examples") for one in sample["parameters"]}
    assert (examples["include"], examples["timeout_ms"]) == (["z"], [60_000])
    for methods in page["paths"].values():
        for operation in methods.values():
            models = {one["name"]: one["description"] for one in operation.get("parameters", ()) if one["in"] == "query"}
            if operation["tags"][0] in ("inference", "collections", "items", "deletion"):
                assert "timeout_ms" in models
            if operation["tags"][0] in ("items", "deletion"):
                assert "that of the collection" in models["model"]


async def test_examples_fit_the_loaded_models(client: httpx.AsyncClient, app: FastAPI) -> None:
    page = (await client.get("/openapi.json")).json()
    model = app.state.service.pipeline.catalog.get(None)
    example = page["paths"]["/decode"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert [len(row) for row in example["z"]] == [model.latent_dim]
    assert (await client.post("/decode", json=example)).status_code == 200
    assert page["paths"]["/models/{name}"]["get"]["parameters"][0]["example"] == model.name


async def test_an_empty_field_of_a_form_counts_as_none(client: httpx.AsyncClient) -> None:
    """A browser sends every field of a form."""
    picture = {"image": png.write(np.zeros((8, 8, 1), np.uint8))}
    empty = dict.fromkeys(("model", "background", "invert", "format", "include", "seed"), "")
    answers = [await client.post("/encode", files=picture, data=data) for data in ({}, empty)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    refused = await client.post("/encode", files=picture, data={"sead": ""})
    assert "did you mean seed?" in refused.json()["detail"]


def test_a_bandwidth_is_described_alike_everywhere(weights: Path) -> None:
    """As what the service takes: auto, or a number."""
    page = create_app(Settings(models_dir=weights)).openapi()
    found = [
        parameter["schema"]["anyOf"]
        for methods in page["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
        if parameter["name"] == "bandwidth"
    ]
    assert len(found) == 5
    wanted = [{"type": "string", "enum": ["auto"]}, {"type": "number", "minimum": 0, "maximum": 1e6}]
    assert all(one == wanted for one in found)


async def test_a_page_of_pictures_has_nothing_to_complete(client: httpx.AsyncClient) -> None:
    assert "/complete" not in (await client.get("/openapi.json")).json()["paths"]
