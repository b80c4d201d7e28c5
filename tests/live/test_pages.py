"""Pages about the service itself: /models, /info, /health, /docs and its assets, /openapi.json and its examples."""

import hashlib
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.rest.registration import PICTURE_EXAMPLE

from .server import Server

# statuses that a test of this directory has seen: test_problems, test_bounds (413), test_overload (429, 504) and
# test_lifecycle (503), test_protocol (304), test_abuse (408, 431), test_wire_heads (421), test_store (403, 409, 507);
# 500 is a defect, not to be had
SEEN = {"200", "304", "400", "403", "404", "408", "409", "413", "415", "421", "422", "429", "431", "500", "503", "504", "507"}
PAYLOAD = (
    *("images", "image", "z", "start", "end", "terms", "points", "items", "mu", "sigma", "filter", "a", "b"),
    *("positive", "negative", "directions"),
)
# What a value needs beside it: a path through items, and the directions of an edit, are those of a collection.
BESIDE = {
    ("interpolate", "method", "graph"): {"collection": "digits"},
    ("edit", None, None): {"collection": "digits"},
    ("map_of_collection", "plane", "dims"): {"dims": "0,1"},
    ("map_of_collection", "prior", None): {"density": "8"},
    ("map_of_collection", "format", "png"): {"density": "8"},
}
# if_exists=error is about items that are there by then, no shipped model has a VampPrior, and the default one is of pictures.
FILES_OF_OTHER_KINDS = {("format", form): 422 for form in ("csv", "svg", "txt")}
REFUSED = {("if_exists", "error"): 409, ("prior", "vamp"): 422, **FILES_OF_OTHER_KINDS}
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}


@pytest.fixture(scope="module")
def page(server: Server) -> dict[str, Any]:
    """/openapi.json."""
    found: dict[str, Any] = httpx.get(f"{server.url}/openapi.json").raise_for_status().json()
    return found


def operations(page: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation), in the order in which /docs shows them: by groups, then by paths."""
    for tag in page["tags"]:
        for path, item in page["paths"].items():
            for method, operation in item.items():
                if method in METHODS and operation["tags"] == [tag["name"]]:
                    yield path, method, operation


def filled(path: str, operation: dict[str, Any]) -> str:
    """A path with the examples of its parameters."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path" and "example" in parameter:
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    return path


def within(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from within(child)


def test_models_are_listed_with_what_is_known_of_them(client: httpx.Client, models_dir: Path) -> None:
    listed = client.get("/models").raise_for_status().json()["models"]
    assert [model["name"] for model in listed] == ["fashion-mnist", "mnist", "mnist-2d", "tiny-rgb"]
    assert [model["name"] for model in listed if model["default"]] == ["mnist"]
    for model in listed:
        directory = models_dir / model["name"]
        config = json.loads((directory / "config.json").read_text())
        search = config.pop("search", {"metric": "l2", "sigma_weight": None, "chosen_by": ""})
        content = (json.dumps(config, indent=2) + "\n").encode()  # The digest is without the choice of a metric.
        assert model == client.get(f"/models/{model['name']}").raise_for_status().json()
        assert model["digest"] == hashlib.sha256(content + (directory / "model.safetensors").read_bytes()).hexdigest()
        assert model["search"] == search
        assert model["latent_dim"] == config["model"]["latent_dim"]
        assert model["config"] == {"prior": "standard", "prior_options": {}} | config["model"]
        values = {"range": None, "background": "auto", "ink": "light", "invert": "no"}  # stored only where they differ
        assert model["preprocessing"] == values | config["preprocessing"]
        assert model["data"] == config["data"]
        metrics = directory / "metrics.json"
        assert model["metrics"] == (json.loads(metrics.read_text()) if metrics.exists() else {})
        answer = client.get("/sample", params={"model": model["name"]})
        assert answer.headers["x-model"] == f"{model['name']}@sha256:{model['digest']}"
    assert {model["name"]: model["shape"] for model in listed}["tiny-rgb"] == [9, 7, 3]


def test_info_counts_rows(client: httpx.Client, pngs: list[bytes]) -> None:
    def counts() -> dict[str, Any]:
        found: dict[str, Any] = client.get("/info").raise_for_status().json()["engine"]["mnist"]
        return found

    before = counts()
    client.post("/encode", files=[("image", ("x", png)) for png in pngs[:3]])
    client.get("/sample?n=100&seed=1")
    after = counts()
    for operation, rows, batches in (("encode", 3, 1), ("decode", 100, 2), ("encode_float", 0, 0)):
        assert after[operation]["rows"] - before[operation]["rows"] == rows
        assert after[operation]["batches"] - before[operation]["batches"] == batches
        assert after[operation]["queued_rows"] == 0
        assert after[operation].keys() >= {"queued_rows", "rows", "padded_rows", "batches", "dropped_rows", "rejected_rows"}
    # 3 rows are no whole batch; nothing was dropped or turned away
    assert after["encode"]["padded_rows"] > before["encode"]["padded_rows"]
    assert after["encode"]["dropped_rows"] == after["encode"]["rejected_rows"] == 0


def test_info_says_what_holds(client: httpx.Client) -> None:
    info = client.get("/info").raise_for_status().json()
    assert info["default_model"] == "mnist"
    assert info["models"] == ["fashion-mnist", "mnist", "mnist-2d", "tiny-rgb"]
    assert info["device"] == "cpu"
    assert info["threads"] == 1
    assert (info["engine_name"], info["precision"]) == ("onnx", "float32")
    assert info["limits"].keys() == {"max_batch", "max_queue_rows", "max_rows", "max_body_bytes", "max_pixels"}


def test_health(client: httpx.Client) -> None:
    assert client.get("/health/live").raise_for_status().json() == {"status": "live"}
    assert client.get("/health/ready").raise_for_status().json() == {"status": "ready"}


@pytest.mark.parametrize("path", ["/models?x=1", "/info?format=json", "/models/mnist?seed=3"])
def test_pages_take_no_parameters(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 422


class Assets(HTMLParser):
    """Addresses that a browser loads with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe"):
            self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_docs_come_from_the_service_alone(client: httpx.Client) -> None:
    for start in ("/docs", "/"):
        answer = client.get(start, follow_redirects=True).raise_for_status()
        assets = Assets()
        assets.feed(answer.text)
        assert any(address.endswith(".js") for address in assets.found)
        assert any(address.endswith(".css") for address in assets.found)
        for address in assets.found:
            assert "://" not in address
            assert not address.startswith("//")
            loaded = client.get(httpx.URL(str(answer.url)).join(address).raw_path.decode()).raise_for_status()
            assert loaded.content
            assert not loaded.headers["content-type"].startswith("text/html")


def test_openapi_is_whole(page: dict[str, Any]) -> None:
    assert page["openapi"].startswith("3.1")
    assert page["info"]["title"]
    assert page["info"]["version"]
    identifiers = [operation["operationId"] for _, _, operation in operations(page)]
    assert len(identifiers) == len(set(identifiers)) >= 10
    for path, method, operation in operations(page):
        assert operation["summary"], path
        assert operation["description"], path
        assert all(response.get("description") or "$ref" in response for response in operation["responses"].values())
        assert "200" in operation["responses"]
        declared = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
        assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}
        names = [(parameter["name"], parameter["in"]) for parameter in operation.get("parameters", ())]
        assert len(names) == len(set(names))
        assert method != "get" or "requestBody" not in operation


def test_every_status_on_the_page_has_been_seen(page: dict[str, Any]) -> None:
    documented = {status for _, _, operation in operations(page) for status in operation["responses"]}
    assert documented == SEEN
    for _, _, operation in operations(page):
        for status, response in operation["responses"].items():
            assert status in ("200", "304") or response == {"$ref": "#/components/responses/Problem"}
    assert list(page["components"]["responses"]["Problem"]["content"]) == ["application/problem+json"]


def test_openapi_refers_to_what_is_there(page: dict[str, Any]) -> None:
    for node in within(page):
        reference = node.get("$ref")
        if isinstance(reference, str):
            assert reference.startswith("#/"), reference
            found: Any = page
            for name in reference[2:].split("/"):
                assert name in found, f"{reference} is not on the page"
                found = found[name]


@pytest.mark.parametrize("again", ["first", "again"])
def test_every_example_on_the_page_is_accepted(client: httpx.Client, page: dict[str, Any], again: str) -> None:
    """One after the other in the order of the page, which deletes what it has made."""
    client.delete("/collections/example")
    sent, compressed = 0, b""
    for path, method, operation in operations(page):
        bodies = operation.get("requestBody", {}).get("content", {})
        examples = [(kind, content["example"]) for kind, content in bodies.items() if "example" in content]
        patch = ["application/merge-patch+json"] if method == "patch" else []
        wanted = ["application/json"] if bodies and operation["operationId"] != "decompress" else []
        assert [kind for kind, _ in examples] == [*patch, *wanted]
        for kind, example in examples or [("", None)]:
            sent_body = {"content": compressed} if operation["operationId"] == "decompress" else {"json": example}
            answer = client.request(
                method, filled(path, operation), **sent_body, headers={"content-type": kind} if kind else {}
            )
            assert answer.status_code == 200, (again, path, answer.text)
            if operation["operationId"] == "compress":  # Nothing else makes what /decompress takes.
                compressed = answer.content
        sent += 1
    assert sent == len(list(operations(page))) >= 24
    assert client.get("/collections/example").status_code == 404


def test_every_parameter_on_the_page_is_accepted(client: httpx.Client, page: dict[str, Any]) -> None:
    """Each default, and each word of a choice, as the page states them."""
    client.put("/collections/digits").raise_for_status()
    rows = np.random.default_rng(0).normal(size=(8, 2, 20))
    items = [{"id": f"{i}", "mu": mu.tolist(), "sigma": np.exp(sigma).tolist()} for i, (mu, sigma) in enumerate(rows)]
    client.post("/collections/digits/items", json={"items": items}).raise_for_status()
    sides = {"positive": {"ids": ["0", "1"]}, "negative": {"ids": ["2", "3"]}}
    client.put("/collections/digits/directions/smile", json=sides).raise_for_status()
    compressed = client.post("/compress", json={"images": [PICTURE_EXAMPLE]}).raise_for_status().content
    models = client.get("/models").json()["models"]
    for path, method, operation in operations(page):
        if method == "delete" or "{id}" in path:  # test_store has them
            continue
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        if body is not None:
            body = {name: value for name, value in body.items() if name in PAYLOAD}
        for parameter in operation.get("parameters", ()):
            if parameter["in"] != "query":
                continue
            schema = parameter.get("schema", {})
            for value in [*schema.get("enum", ()), *([schema["default"]] if "default" in schema else ())]:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                name, params = operation["operationId"], {parameter["name"]: text}
                for beside in ((name, None, None), (name, parameter["name"], None), (name, parameter["name"], value)):
                    params |= BESIDE.get(beside, {})
                if parameter["name"] == "label":  # each model has its own
                    params["model"] = next(model["name"] for model in models if text in model["labels"])
                own = {"content": compressed} if name == "decompress" else {"json": body}
                answer = client.request(method, filled(path, operation), params=params, **own)
                status = REFUSED.get((parameter["name"], value), 200)
                assert answer.status_code == status, (path, parameter["name"], value, answer.text)


def test_every_page_carries_a_request_id(client: httpx.Client) -> None:
    for path in ("/health/live", "/models", "/info", "/docs", "/openapi.json", "/sample", "/nowhere"):
        own = client.get(path, headers={"x-request-id": "abc-123"})
        assert own.headers["x-request-id"] == "abc-123"
        drawn = {client.get(path).headers["x-request-id"] for _ in range(2)}
        assert len(drawn) == 2
        unsafe = client.get(path, headers={"x-request-id": "two words; <b>"})
        assert unsafe.headers["x-request-id"] not in ("", "two words; <b>")
        assert len(unsafe.headers.get_list("x-request-id")) == 1


def test_timings_of_an_operation(client: httpx.Client, pngs: list[bytes]) -> None:
    for answer in (
        client.post("/encode", content=pngs[0]),
        client.post("/reconstruct", content=pngs[0]),
        client.get("/sample?format=png"),
        client.post("/decode", json={"z": [[0.0] * 20]}),
        client.post("/interpolate", json={"start": {"z": [0.0] * 20}, "end": {"z": [1.0] * 20}}),
    ):
        entries = dict(entry.strip().split(";dur=") for entry in answer.headers["server-timing"].split(","))
        assert entries.keys() >= {"queue", "compute"}
        assert float(entries["queue"]) >= 0
        assert float(entries["compute"]) > 0
