"""/collections/{name}/density, /compare, /map and /coverage over HTTP, and everything that is wrong with a request."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.formats.npy import npy, npy_array
from service.operations.density import evaluate
from service.rest.routes.maps import picture

NPY = {"content-type": "application/x-npy"}
MU = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
TWO = {"a": {"odd": True}, "b": {"odd": False}}


@pytest.fixture
async def some(client: httpx.AsyncClient) -> str:
    """The path of a collection of 40 items, of which every fourth has no sigma."""
    await client.put("/collections/some")
    for first in (0, 20):
        items = [
            {"id": f"{i:02}", "mu": MU[i].tolist(), "metadata": {"odd": bool(i % 2)}} | ({"sigma": [0.5] * 3} if i % 4 else {})
            for i in range(first, first + 20)
        ]
        assert (await client.post("/collections/some/items", json={"items": items})).status_code == 200
    return "/collections/some"


async def test_densities_of_vectors_and_pictures(client: httpx.AsyncClient, some: str) -> None:
    rows = await client.post(f"{some}/density?k=2", content=npy(MU[:3]), headers=NPY)
    found = rows.json()
    assert rows.status_code == 200
    assert rows.headers["x-model"].startswith("grey@sha256:")
    assert found.keys() >= {"log_density", "percentile", "ids", "bandwidth", "count", "without_sigma", "seq"}
    assert (found["count"], found["without_sigma"], found["seq"]) == (40, 10, 40)
    assert [ids[0] for ids in found["ids"]] == ["00", "01", "02"]
    one = await client.post(f"{some}/density", json={"mu": MU[1].tolist(), "k": 2})
    assert one.json()["log_density"] == found["log_density"][1:2]
    assert one.json()["ids"] == found["ids"][1:2]
    file = io.BytesIO()
    Image.new("L", (8, 8), 200).save(file, "PNG")
    drawn = await client.post(f"{some}/density", content=file.getvalue(), headers={"content-type": "image/png"})
    assert drawn.status_code == 200
    assert drawn.json()["warnings"][0]["code"] == "blank"
    stated = await client.post(f"{some}/density?bandwidth=0.5", json={"id": "03"})
    assert (stated.json()["bandwidth"], stated.json()["bandwidth_sample"]) == (0.5, None)
    assert "03" not in stated.json()["ids"][0]


async def test_two_sets(client: httpx.AsyncClient, some: str) -> None:
    first = (await client.post(f"{some}/compare", json={**TWO, "limit": 30})).json()
    rest = (await client.post(f"{some}/compare?limit=30", json={**TWO, "cursor": first["cursor"]})).json()
    assert [*first["ids"], *rest["ids"]] == [f"{i:02}" for i in range(40)]
    assert rest["cursor"] is None
    assert (first["a"], first["b"]) == ({"count": 20, "without_sigma": 0}, {"count": 20, "without_sigma": 10})
    assert first["in_a"][:2] == [False, True]
    at = (await client.post(f"{some}/compare", json={**TWO, "queries": [{"mu": [0, 0, 0]}]})).json()
    assert at["ids"] == [None]
    none = (await client.post(f"{some}/compare", json={"a": {"off": 1}, "b": {"odd": True}, "limit": 1})).json()
    assert (none["log_density_a"], none["log_ratio"], none["unknown_keys"]) == ([None], [None], ["off"])


async def test_maps(client: httpx.AsyncClient, some: str) -> None:
    shown = (await client.get(f"{some}/map?keys=odd")).json()
    assert (len(shown["ids"]), shown["metadata"]["odd"][:2], shown["plane"]["kind"]) == (40, [False, True], "pca")
    rows = npy_array((await client.get(f"{some}/map?format=npy")).content)
    assert rows.tolist() == np.float32(shown["points"]).tolist()
    plain = (await client.get(f"{some}/map?dims=0,2&limit=10")).json()
    assert np.array_equal(np.float32(plain["points"]), MU[::4][:, [0, 2]])
    made = (await client.get(f"{some}/map?density=32")).json()
    (x0, x1), (y0, y1) = made["x_range"], made["y_range"]
    assert np.sum(made["density"]) * (x1 - x0) * (y1 - y0) / 32**2 == pytest.approx(1, abs=0.01)
    both = await client.get(f"{some}/map?density=32&format=npy")
    assert npy_array(both.content)[0].tolist() == made["density"]
    assert npy_array(both.content)[1].astype(bool).tolist() == made["holes"]
    assert [float(one) for one in both.headers["x-range"].split(",")] == [x0, x1, y0, y1]
    drawn = await client.get(f"{some}/map?density=32", headers={"accept": "text/html,image/*,*/*"})
    assert Image.open(io.BytesIO(drawn.content)).size == (512, 512)
    small = await client.get(f"{some}/map?density=32&scale=2", headers={"accept": "image/png"})
    assert Image.open(io.BytesIO(small.content)).size == (64, 64)


async def test_every_format_of_a_map_varies_by_accept(client: httpx.AsyncClient, some: str) -> None:
    for query in ("format=json", "format=npy", "density=8", "density=8&format=npy", "density=8&format=png"):
        answer = (await client.get(f"{some}/map?{query}")).raise_for_status()
        assert "accept" in answer.headers.get("vary", "").lower().split(", "), query


async def test_coverage(client: httpx.AsyncClient, some: str) -> None:
    found = (await client.get(f"{some}/coverage?draws=100&prior=standard")).json()
    assert 0 <= found["coverage"] <= 1
    assert (found["draws"], found["seed"], found["alpha"], found["prior"]) == (100, 0, 0.95, "standard")
    assert (await client.get(f"{some}/coverage?draws=100&seed=1&prior=standard")).json()["coverage"] != found["coverage"]


async def test_coverage_is_computed_once_for_each_state(
    client: httpx.AsyncClient, some: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = list[int]()

    async def counted(pipeline: Any, inference: Any, points: Any, *others: Any) -> Any:
        computed.append(len(points))
        return await evaluate(pipeline, inference, points, *others)

    monkeypatch.setattr("service.operations.coverage.evaluate", counted)
    path = f"{some}/coverage?draws=30&seed=7"
    first = (await client.get(path)).raise_for_status()
    assert (await client.get(path)).content == first.content
    assert computed == [30, 40]  # draws from the prior, and from the posteriors
    (await client.post(f"{some}/items", json={"items": [{"id": "late", "mu": [0] * 3}]})).raise_for_status()
    changed = (await client.get(path)).raise_for_status().json()
    assert changed["count"] == first.json()["count"] + 1
    assert computed == [30, 40, 30, 41]
    (await client.delete(f"{some}/items/late")).raise_for_status()


WRONG: list[tuple[str, str, dict[str, Any] | None, int, str]] = [
    ("POST", "density?bandwidth=-1", {"mu": [0] * 3}, 422, "invalid_parameter"),
    ("POST", "density?bandwidth=nan", {"mu": [0] * 3}, 422, "invalid_parameter"),
    ("POST", "density", {"mu": [0] * 3, "bandwidth": True}, 422, "invalid_parameter"),
    ("POST", "density?bandwidth=0", {"mu": [0] * 3}, 422, "no_density"),
    ("POST", "density?k=101", {"mu": [0] * 3}, 422, "invalid_parameter"),
    ("POST", "density?metric=l2", {"mu": [0] * 3}, 422, "invalid_parameter"),
    ("POST", "density", {"mu": [0] * 4}, 422, "unusable_input"),
    ("POST", "density", {"id": "none"}, 404, "unknown_item"),
    ("POST", "density?model=colour", {"mu": [0] * 3}, 409, "model_mismatch"),
    ("POST", "density?strict=true", {"mu": [0] * 3, "filter": {"off": 1}}, 409, "unknown_key"),
    ("POST", "density", {"queries": [{"mu": [0] * 3}] * 33}, 413, "too_many_items"),
    ("POST", "compare", {"a": {"odd": True}}, 422, "unusable_input"),
    ("POST", "compare", {"a": {"odd": True}, "b": 7}, 422, "invalid_filter"),
    ("POST", "compare", {**TWO, "limit": 0}, 422, "invalid_parameter"),
    ("POST", "compare", {**TWO, "queries": []}, 422, "unusable_input"),
    ("GET", "map?dims=0,0", None, 422, "invalid_parameter"),
    ("GET", "map?dims=0,3", None, 422, "invalid_parameter"),
    ("GET", "map?dims=0", None, 422, "invalid_parameter"),
    ("GET", "map?plane=dims", None, 422, "invalid_parameter"),
    ("GET", "map?plane=pca&dims=0,1", None, 422, "invalid_parameter"),
    ("GET", "map?format=png", None, 422, "invalid_parameter"),
    ("GET", "map?density=512&format=png&scale=9", None, 422, "invalid_parameter"),
    ("GET", "map?density=8&bandwidth=1e-163", None, 422, "no_density"),
    ("GET", "map?keys=1,2,3,4,5,6,7,8,9", None, 422, "invalid_parameter"),
    ("GET", "map?density=8&prior=vamp", None, 422, "no_such_prior"),
    ("GET", "map?bandwidth=1", None, 422, "invalid_parameter"),
    ("GET", "map?prior=standard", None, 422, "invalid_parameter"),
    ("GET", "map?density=8&keys=odd", None, 422, "invalid_parameter"),
    ("GET", "map?density=8&limit=5", None, 422, "invalid_parameter"),
    ("GET", "coverage?draws=0", None, 422, "invalid_parameter"),
    ("GET", "coverage?seed=9007199254740992", None, 422, "invalid_parameter"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), WRONG)
async def test_what_is_wrong_is_told(
    client: httpx.AsyncClient, some: str, method: str, path: str, body: dict[str, Any] | None, status: int, code: str
) -> None:
    answer = await client.request(method, f"{some}/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "density?bandwidth=abc", {"mu": [0] * 3}, "bandwidth must be auto, or a number from 0 to 1000000, not 'abc'"),
        ("POST", "compare", {"a": 7, "b": {}}, 'a must be a filter, a JSON object such as {"label": 7}, not a number'),
        ("GET", "map?dims=3", None, "dims must be two different dimensions from 0 to 2, such as 0,1, not '3'"),
        ("GET", "map?bandwidth=1", None, "bandwidth is for the map of a density: leave it out, or add density=128"),
        ("GET", "map?density=8&keys=odd", None, "keys is for the map of points: leave it out, or leave out density"),
    ],
)
async def test_messages_say_what_to_do(
    client: httpx.AsyncClient, some: str, method: str, path: str, body: dict[str, Any] | None, words: str
) -> None:
    assert (await client.request(method, f"{some}/{path}", json=body)).json()["detail"] == words


async def test_what_is_not_there(client: httpx.AsyncClient) -> None:
    for method, path in (("POST", "density"), ("POST", "compare"), ("GET", "map"), ("GET", "coverage")):
        body = None if method == "GET" else {"mu": [0] * 3} if path == "density" else TWO
        answer = await client.request(method, f"/collections/none/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_collection")
    assert (await client.post("/collections/none/compare", content=b"7", headers=NPY)).status_code == 415


def test_a_picture_has_the_highest_y_on_top_and_red_holes() -> None:
    density, holes = np.zeros((2, 2)), np.zeros((2, 2), np.bool_)
    density[1, 0], holes[0, 1] = 3.0, True
    pixels = picture(density, holes)
    assert pixels[0, 0].tolist() == [253, 231, 37]
    assert pixels[0, 1].tolist() == pixels[1, 0].tolist() == [68, 1, 84]
    assert pixels[1, 1, 0] > 140
