"""Every kind as tensors: what is encoded, decoded and sampled is what the REST API answers."""

import json
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.kinds.kind_requests import KINDS, SQUARE, TRIANGLE, About
from tests.service.open_inference.bodies import ask, infer

pytestmark = pytest.mark.asyncio(loop_scope="session")
NAMES = {"penguins": "row", "strokes": "strokes", "lines": "text"}


def tensor(about: About, items: list[Any]) -> Any:
    """Items as an input."""
    if about.model == "strokes":
        points = np.full((len(items), max(map(len, items)), 3), (0, 0, 2), np.float32)
        for row, item in zip(points, items, strict=True):
            row[: len(item)] = item
        return points
    return [json.dumps(item).encode() if about.model == "penguins" else item.encode() for item in items]


def items_of(about: About, output: NDArray[Any]) -> list[Any]:
    """Items of an output."""
    if about.model == "strokes":
        return [[point for point in drawing.tolist() if point[2] != 2] for drawing in output]
    return [json.loads(one) if about.model == "penguins" else one.decode() for one in output]


def same(about: About, output: NDArray[Any], items: list[Any]) -> bool:
    found = items_of(about, output)
    if about.model == "strokes":
        return len(found) == len(items) and all(
            np.array_equal(np.float32(a), np.float32(b)) for a, b in zip(found, items, strict=True)
        )
    return found == items


@pytest.mark.parametrize("about", KINDS, ids=[about.model for about in KINDS])
async def test_as_the_rest_api_answers(client: httpx.AsyncClient, about: About) -> None:
    model, many, name, sent = about.model, about.many, NAMES[about.model], {NAMES[about.model]: tensor(about, about.items)}
    rest = (await client.post(f"/encode?model={model}", json={many: about.items})).json()
    for binary in (True, False):
        found = await infer(client, f"{model}.encode", sent, binary, parameters={"binary_data_output": True})
        assert np.array_equal(found["mu"], np.array(rest["mu"], np.float32))
    z = np.array(rest["mu"], np.float32)
    decoded = (await client.post(f"/decode?model={model}", json={"z": rest["mu"]})).json()[many]
    for binary in (True, False):
        output = (await infer(client, f"{model}.decode", {"z": z}, parameters={"binary_data_output": binary}))[name]
        if not binary and model != "strokes":
            output = np.array([one.encode() for one in output], object)
        assert same(about, output, decoded)
    made = await infer(client, f"{model}.reconstruct", sent, parameters={"binary_data_output": True})
    again = (await client.post(f"/reconstruct?model={model}", json={many: about.items})).json()[many]
    if model == "penguins":  # The REST API keeps what was sent as it was sent.
        assert [one["bill_depth_mm"] for one in items_of(about, made[name])] == pytest.approx(
            [one["bill_depth_mm"] for one in again]
        )
    else:
        assert same(about, made[name], again)
    scored = await infer(client, f"{model}.score", sent)
    for key, value in (await client.post(f"/score?model={model}", json={many: about.items})).json()["scores"].items():
        assert np.array_equal(scored[key], np.array(value["value"], np.float32))
    path = await infer(client, f"{model}.interpolate", {"z": z[None, :2]}, parameters={"steps": 3, "binary_data_output": True})
    assert path[name].shape[:2] == (1, 3)
    metadata = (await client.get(f"/v2/models/{model}.encode")).json()
    assert [one["name"] for one in metadata["inputs"]] == [name]
    assert (await client.get(f"/v2/models/{model}.encode_files")).status_code == 404


@pytest.mark.parametrize("about", KINDS, ids=[about.model for about in KINDS])
async def test_a_seed_gives_the_same_alone(client: httpx.AsyncClient, about: About) -> None:
    seeds = [3, 99, 3]
    for more in ({}, {"temperature": 0.4}):
        parameters = {"binary_data_output": True, **more}
        made = (await infer(client, f"{about.model}.sample", {"seed": np.array(seeds)}, parameters=parameters))[
            NAMES[about.model]
        ]
        rest = [
            (await client.get("/sample", params={"model": about.model, "seed": seed, **more})).json()[about.many][0]
            for seed in seeds
        ]
        assert same(about, made, rest)


async def test_drawings_as_svg_and_with_an_end(client: httpx.AsyncClient) -> None:
    svg = [b"M0 0 L50 0 L25 40 Z", b"M0 0 L9 9"]
    rest = (await client.post("/encode?model=strokes", json={"strokes": [one.decode() for one in svg]})).json()["mu"]
    found = await infer(client, "strokes.encode", {"strokes": svg})
    assert np.array_equal(found["mu"], np.array(rest, np.float32))
    alone = await infer(client, "strokes.encode", {"strokes": np.array([TRIANGLE], np.float32)})
    both = await infer(client, "strokes.encode", {"strokes": tensor(KINDS[1], [TRIANGLE, SQUARE])})
    assert np.array_equal(alone["mu"][0], both["mu"][0])


async def test_items_that_are_none(client: httpx.AsyncClient) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("penguins", {"row": [b"{", b"{}"]}), ("penguins", {"row": [b"[]"]}), ("penguins", {"row": [b'{"nothing": 1}']}),
        ("lines", {"text": [b"\xff"]}), ("lines", {"text": np.zeros((1, 3), np.uint8)}),
        ("lines", {"text": ["\u2603".encode()]}), ("strokes", {"strokes": np.full((1, 3, 3), 2, np.float32)}),
        ("strokes", {"strokes": np.zeros((1, 3), np.float32)}), ("strokes", {"strokes": [b"no path"]}),
        ("strokes", {"strokes": np.full((1, 3, 3), np.nan, np.float32)}),
        ("strokes", {"strokes": np.zeros((1, 99, 3), np.float32)}),
    ]  # fmt: skip
    for model, inputs in asked:
        answer = await ask(client, f"{model}.encode", inputs)
        assert answer.status_code == 400, (model, inputs, answer.text)
