"""The latent store from outside: what is found, and what is refused."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from .pictures import Pixels, npy, text
from .problems import problem
from .server import Server

ITEMS = "/collections/digits/items"
SEARCH = "/collections/digits/search"


@pytest.fixture
def digits_of(server: Server) -> Iterator[httpx.Client]:
    """A client, and an empty collection of the default model."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        client.delete("/collections/digits")  # what tests of the pages have left
        client.put("/collections/digits").raise_for_status()
        yield client
        client.delete("/collections/digits").raise_for_status()


def vector(value: float) -> list[float]:
    return [value] * 20


def test_pictures_are_found_by_pictures(digits_of: httpx.Client, pngs: list[bytes]) -> None:
    files = [("image", (f"{i}/x.png", png)) for i, png in enumerate(pngs[:100])]
    added = digits_of.post(ITEMS, files=files).raise_for_status()
    ids = [f"{i}/x.png" for i in range(100)]
    assert added.json() == {"collection": "digits", "ids": ids, "added": ids, "replaced": [], "seq": 100}
    one = digits_of.post(f"{SEARCH}?k=3&include=image,mu", content=pngs[7]).raise_for_status()
    assert one.headers["x-model"].startswith("mnist@sha256:")
    assert all("compute;dur=" in answer.headers["server-timing"] for answer in (added, one))
    body = one.json()
    best = digits_of.get("/models/mnist").json()["search"]
    assert best["metric"] == "w2"  # Sigma makes searches among digits better.
    assert body.keys() == {"neighbors", "metric", "sigma_weight", "exact", "seq"}
    assert (body["metric"], body["sigma_weight"], body["exact"], body["seq"]) == ("w2", best["sigma_weight"], True, 100)
    assert len(body["neighbors"]) == 3
    assert body["neighbors"][0].keys() == {"id", "distance", "metadata", "image", "mu"}
    assert (body["neighbors"][0]["id"], body["neighbors"][0]["distance"]) == ("7/x.png", 0)
    decoded = digits_of.post("/decode", json={"z": [body["neighbors"][1]["mu"]]}).json()["images"]
    assert decoded == [body["neighbors"][1]["image"]]
    form = digits_of.post(SEARCH, files={"image": pngs[7]}, params={"k": 3}).json()
    body_too = digits_of.post(SEARCH, json={"image": text(pngs[7]), "k": 3}).json()
    assert form["neighbors"] == body_too["neighbors"]
    several = digits_of.post(SEARCH, json={"queries": [{"image": text(png)} for png in pngs[:5]], "k": 1}).json()
    assert [result["neighbors"][0]["id"] for result in several["results"]] == [f"{i}/x.png" for i in range(5)]
    item = digits_of.get(f"{ITEMS}/7/x.png").raise_for_status().json()
    encoded = digits_of.post("/encode", content=pngs[7]).json()
    assert (item["mu"], item["sigma"]) == (encoded["mu"][0], encoded["sigma"][0])
    assert digits_of.delete(f"{ITEMS}/7/x.png").json() == {"id": "7/x.png", "seq": 101}
    problem(digits_of.get(f"{ITEMS}/7/x.png"), 404, "unknown_item")
    found = digits_of.post(f"{SEARCH}?k=1", content=pngs[7]).json()
    assert found["neighbors"][0]["id"] != "7/x.png"


def test_the_longest_lists_of_a_filter_fit_into_a_query(digits_of: httpx.Client) -> None:
    metadata = dict.fromkeys("abcdefg", 999.125)
    digits_of.post(ITEMS, json={"items": [{"id": "a", "mu": vector(0), "metadata": metadata}]}).raise_for_status()
    values = [*(i + 0.125 - 1e12 for i in range(249)), 999.125]
    wanted = json.dumps({key: {"in": values} for key in metadata})
    page = digits_of.get(ITEMS, params={"filter": wanted}).raise_for_status()
    assert len(page.json()["items"]) == 1
    assert len(str(page.url)) > 33_000


def test_a_filter_that_does_not_count_must_be_right_too(digits_of: httpx.Client, pngs: list[bytes]) -> None:
    wrong = {"k": {"in": 3}}
    form = digits_of.post(SEARCH, params={"filter": "null"}, files={"image": pngs[0]}, data={"filter": json.dumps(wrong)})
    problem(form, 422, "invalid_filter")
    body = {"image": text(pngs[0]), "filter": wrong}
    problem(digits_of.post(SEARCH, params={"filter": "null"}, json=body), 422, "invalid_filter")
    assert digits_of.post(SEARCH, params={"filter": "null"}, files={"image": pngs[0]}).json()["neighbors"] == []


def test_arrays_and_pages(digits_of: httpx.Client, digits: Pixels) -> None:
    both = np.random.default_rng(0).uniform(0.1, 1, (2, 25, 20)).astype(np.float32)
    drawn = digits_of.post(ITEMS, content=npy(both)).raise_for_status().json()["ids"]
    more = digits_of.post(ITEMS, content=npy(both[0])).raise_for_status().json()["ids"]
    assert len({*drawn, *more}) == 50
    listed, cursor = [], ""
    while cursor is not None:
        page = digits_of.get(ITEMS, params={"limit": 20, "cursor": cursor, "include": "mu,sigma"}).raise_for_status().json()
        listed += page["items"]
        cursor = page["cursor"]
    assert [item["id"] for item in listed] == sorted([*drawn, *more])
    by_id = {item["id"]: item for item in listed}
    np.testing.assert_array_equal(np.array([by_id[id]["sigma"] for id in drawn], np.float32), both[1])
    assert all(by_id[id]["sigma"] is None for id in more)


BAD: list[tuple[str, Any, int, str, str]] = [
    (ITEMS, {"items": [{"id": "a", "mu": vector(0)}, {"id": "a", "mu": vector(1)}]}, 422, "unusable_input", "item 0"),
    (ITEMS, {"items": [{"mu": vector(0)}, {"mu": [0.0] * 19}]}, 422, "unusable_input", "not a list of 19"),
    (ITEMS, {"items": [{"mu": [*vector(0)[1:], "1"]}]}, 422, "unusable_input", "strings"),
    (ITEMS, {"items": [{"mu": [*vector(0)[1:], 1e30]}]}, 422, "unusable_input", "finite"),
    (ITEMS, {"items": [{"mu": vector(0), "sigma": vector(0)}]}, 422, "unusable_input", "above 0"),
    (ITEMS, {"items": [{"sigma": vector(1)}]}, 422, "unusable_input", "image and mu"),
    (ITEMS, {"items": [{"mu": vector(0), "x": 1}]}, 422, "unusable_input", "unknown key 'x'"),
    (ITEMS, {"items": [{"mu": vector(0), "metadata": []}]}, 422, "unusable_input", "object"),
    (ITEMS, {"items": [{"mu": vector(0), "metadata": {"x": "\0"}}]}, 422, "unusable_input", "U+0000"),
    (ITEMS, {"items": [{"mu": vector(0), "metadata": {"x": "y" * 10_000_000}}]}, 413, "metadata_too_large", "65536"),
    (ITEMS, {"items": [{"id": "a\nb", "mu": vector(0)}]}, 422, "unusable_input", "control"),
    (ITEMS, {"items": [{"id": "a" * 513, "mu": vector(0)}]}, 422, "unusable_input", "512"),
    (ITEMS, {"items": [{"id": 7, "mu": vector(0)}]}, 422, "unusable_input", "512"),
    (ITEMS, {"items": [{"mu": vector(0)}] * 5000}, 413, "too_many_items", "4096"),
    (ITEMS, {"items": [{"mu": vector(0)}, {"image": "!"}]}, 400, "undecodable", "item 1"),
    (ITEMS, {"items": [{"mu": vector(0)}], "model": "mnist-2d"}, 409, "model_mismatch", "mnist-2d@sha256:"),
    (ITEMS, {"items": [{"mu": vector(0)}], "model": "mnits"}, 404, "unknown_model", "mnist"),
    (SEARCH, {"mu": vector(0), "model": "mnist@sha256:0"}, 409, "model_mismatch", "mnist@sha256:0"),
    (SEARCH, {"mu": vector(0), "id": "here"}, 422, "unusable_input", "mu and id"),
    (SEARCH, {"id": "nobody"}, 404, "unknown_item", "nobody"),
    (SEARCH, {"mu": vector(0), "metric": "jeffreys"}, 422, "unusable_input", "sigma"),
    (SEARCH, {"mu": vector(0), "metric": "l3"}, 422, "invalid_parameter", "metric"),
    (SEARCH, {"mu": vector(0), "k": 0}, 422, "invalid_parameter", "k"),
    (SEARCH, {"mu": vector(0), "filtre": {}}, 422, "invalid_parameter", "did you mean filter?"),
    (SEARCH, {"mu": vector(0), "filter": {"lable": 1}, "strict": True}, 409, "unknown_key", "did you mean 'label'?"),
    (SEARCH, {"mu": vector(0), "filter": {"label": {"gtt": 1}}}, 422, "invalid_filter", "did you mean gt?"),
    (SEARCH, {"mu": vector(0), "filter": {"label": {"in": 1}}}, 422, "invalid_filter", "list"),
    (SEARCH, {"mu": vector(0), "filter": {'a" OR 1=1 --': 1}}, 422, "invalid_filter", "quotes"),
    (SEARCH, {"mu": vector(0), "filter": 3}, 422, "invalid_filter", "object"),
    (SEARCH, {"mu": vector(0), "k": 5, "candidates": 3}, 422, "invalid_parameter", "candidates"),
    (SEARCH, {"queries": [{"mu": vector(0)}], "mu": vector(0)}, 422, "unusable_input", "queries"),
    ("/collections/nobody/items", {"items": [{"mu": vector(0)}]}, 404, "unknown_collection", "nobody"),
    ("/collections/digitz/search", {"mu": vector(0)}, 404, "unknown_collection", "did you mean digits?"),
]


def test_bad_requests_are_named_and_store_nothing(digits_of: httpx.Client) -> None:
    here = {"items": [{"id": "here", "mu": vector(0), "metadata": {"label": 1}}]}
    digits_of.post(ITEMS, json=here).raise_for_status()
    for path, body, status, code, words in BAD:
        problem(digits_of.post(path, json=body), status, code, words)
    problem(digits_of.post(ITEMS, content=b'{"items": [{"mu": [NaN]}]}'), 400, "undecodable")
    problem(digits_of.post(ITEMS, content=npy(np.full((1, 20), np.nan))), 422, "unusable_input", "finite")
    problem(digits_of.put("/collections/digits?model=mnist-2d"), 409, "model_mismatch", "mnist-2d@sha256:", "mnist@sha256:")
    problem(digits_of.put("/collections/a%20b"), 422, "unusable_input")
    problem(digits_of.get(f"{ITEMS}?cursor=%01"), 422, "invalid_parameter")
    problem(digits_of.delete("/collections/digits", headers={"origin": "https://evil.example"}), 403, "other_site")
    problem(digits_of.get(f"{ITEMS}?filter=!"), 422, "invalid_filter")
    info = digits_of.get("/collections/digits").json()
    assert (info["count"], info["seq"]) == (1, 1)


def test_pictures_of_more_neighbours_than_there_are_items(digits_of: httpx.Client) -> None:
    """The bound on pictures counts the items that can be found, not the k that was asked for."""
    digits_of.post(ITEMS, json={"items": [{"id": "here", "mu": vector(0)}]}).raise_for_status()
    found = digits_of.post(SEARCH, json={"mu": vector(0), "k": 5000, "include": ["image"]}).raise_for_status().json()
    assert [neighbor.keys() for neighbor in found["neighbors"]] == [{"id", "distance", "metadata", "image"}]


def test_filters_by_query_and_by_body(digits_of: httpx.Client) -> None:
    rows = [{"id": f"{i}", "mu": vector(i), "metadata": {"label": i % 3, "tag": "ab"[i % 2]}} for i in range(30)]
    digits_of.post(ITEMS, json={"items": rows}).raise_for_status()
    wanted = {"label": 1, "tag": {"in": ["b", "c"]}}
    by_body = digits_of.post(SEARCH, json={"mu": vector(0), "filter": wanted, "k": 3}).raise_for_status().json()
    assert [neighbor["id"] for neighbor in by_body["neighbors"]] == ["1", "7", "13"]
    assert by_body["neighbors"][1]["distance"] == pytest.approx(7 * 20**0.5, abs=1e-12)
    listed = digits_of.get(ITEMS, params={"filter": json.dumps(wanted)}).raise_for_status().json()
    assert {item["id"] for item in listed["items"]} == {"1", "7", "13", "19", "25"}
