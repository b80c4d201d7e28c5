"""A client that openapi-python-client makes of /openapi.json: few warnings, and every operation can be called with it."""

import importlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from service.rest.registration import PICTURE_EXAMPLE

from .server import ROOT, Server, serving
from .test_pages import operations

pytestmark = pytest.mark.skipif(
    find_spec("openapi_python_client") is None, reason="openapi-python-client is not installed: make test does that"
)

PACKAGE = "vae_service_client"
# Bodies and answers that the generator does not know: pictures, arrays of pictures or latents, and compressed latents.
FILES = r"(image/[\w+]+|application/x-npy|application/x-vae-latents|text/csv|text/plain)"
BINARY = re.compile(rf"Unsupported content.type {FILES}(, image/\w+)*")

# Operations whose answers are no JSON, or have no schema of their own.
UNPARSED = ("get_picture", "get_metrics", "get_info", "compress")


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    with serving("--models", "mnist,fashion-mnist", variables={"VAE_ADMIN": "true"}) as running:
        yield running


@pytest.fixture(scope="module")
def page(service: Server) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{service.url}/openapi.json").raise_for_status().json()
    return found


@pytest.fixture(scope="module")
def generated(page: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(what the generator has said, the directory of the package)."""
    directory = tmp_path_factory.mktemp("client")
    (directory / "openapi.json").write_text(json.dumps(page))
    (directory / "config.yml").write_text("post_hooks: []\n")
    paths = ["--path", "openapi.json", "--config", "config.yml", "--output-path", PACKAGE, "--meta", "none"]
    command = [sys.executable, "-m", "openapi_python_client", "generate", *paths]
    ended = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    sys.path.insert(0, str(directory))
    try:
        yield ended.stdout + ended.stderr, directory
    finally:
        sys.path.remove(str(directory))


def test_its_warnings_concern_bodies_that_are_files_alone(generated: tuple[str, Path]) -> None:
    said = " ".join(generated[0].split())
    warnings = re.findall(r"WARNING parsing (.*?)(?=WARNING parsing|If you believe|$)", said)
    assert len(warnings) < 120  # one for each kind of picture, CSV, SVG and text, in ten operations
    for warning in warnings:
        assert BINARY.search(warning), warning
    assert "Unable to" not in said


def module_of(operation: dict[str, Any]) -> ModuleType:
    return importlib.import_module(f"{PACKAGE}.api.{operation['tags'][0]}.{operation['operationId']}")


@pytest.fixture
def client(service: Server, generated: tuple[str, Path]) -> Iterator[Any]:
    """A generated client of the service."""
    with importlib.import_module(PACKAGE).Client(base_url=service.url, timeout=60) as one:
        yield one


def test_it_calls_every_operation(client: Any, page: dict[str, Any], service: Server) -> None:
    models, types = (importlib.import_module(f"{PACKAGE}.{name}") for name in ("models", "types"))
    called = set()
    for path, _, operation in operations(page):
        parameters = [one for one in operation.get("parameters", ()) if one["in"] == "path"]
        arguments: dict[str, Any] = {one["name"]: one["example"] for one in parameters}
        for content in operation.get("requestBody", {}).get("content", {}).values():
            if "example" in content:
                name = content["schema"]["$ref"].rpartition("/")[2]
                arguments["body"] = getattr(models, name).from_dict(content["example"])
        if operation["operationId"] == "manifold":  # It answers with a PNG unless it is asked for JSON.
            arguments["format_"] = models.ManifoldFormat("json")
        if operation["operationId"] == "decompress":  # Only /compress makes its body, and has no parser.
            made = httpx.post(f"{service.url}/compress", json={"images": [PICTURE_EXAMPLE]}).raise_for_status()
            arguments["body"] = types.File(payload=io.BytesIO(made.content))
        answer = module_of(operation).sync_detailed(client=client, **arguments)
        assert answer.status_code == 200, (path, answer.content)
        described = page["components"]["schemas"].keys() & {type(answer.parsed).__name__}
        assert described or operation["operationId"] in UNPARSED, (path, answer.parsed)
        called.add(operation["operationId"])
    assert called >= {"encode", "decode", "sample", "make_collection", "add_items", "search_collection", "load_model"}


def test_it_sends_files_and_reads_problems(client: Any) -> None:
    models, types = (importlib.import_module(f"{PACKAGE}.{name}") for name in ("models", "types"))
    encode = importlib.import_module(f"{PACKAGE}.api.inference.encode")
    picture = io.BytesIO((ROOT / "examples" / "seven.png").read_bytes())
    form = models.EncodeForm(image=[types.File(payload=picture, file_name="seven.png", mime_type="image/png")])
    found = encode.sync(client=client, body=form, include="kl")
    assert found.kl[0] == pytest.approx(17.401, abs=1e-3)
    problem = encode.sync(client=client, body=models.EncodeBody(images=["no picture"]))
    assert isinstance(problem, models.Problem)
    assert (problem.status, problem.item) == (400, 0)
