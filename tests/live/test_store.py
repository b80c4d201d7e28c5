"""The latent store from outside: kill -9, two workers, hostile requests, files that are no store."""

import json
import random
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from .pictures import Pixels, npy, text
from .problems import problem
from .server import PATIENCE_SECONDS, Server, serving

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
    assert added.json() == {"collection": "digits", "ids": [f"{i}/x.png" for i in range(100)], "seq": 100}
    one = digits_of.post(f"{SEARCH}?k=3&include=image,mu", content=pngs[7]).raise_for_status()
    assert one.headers["x-model"].startswith("mnist@sha256:")
    body = one.json()
    assert body.keys() == {"neighbors", "metric", "exact", "seq"}
    assert (body["metric"], body["exact"], body["seq"], len(body["neighbors"])) == ("l2", True, 100, 3)
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
    (ITEMS, {"items": [{"mu": vector(0)}, {"mu": [0.0] * 19}]}, 422, "unusable_input", "19 numbers"),
    (ITEMS, {"items": [{"mu": [*vector(0)[1:], "1"]}]}, 422, "unusable_input", "texts"),
    (ITEMS, {"items": [{"mu": [*vector(0)[1:], 1e30]}]}, 422, "unusable_input", "finite"),
    (ITEMS, {"items": [{"mu": vector(0), "sigma": vector(0)}]}, 422, "unusable_input", "above 0"),
    (ITEMS, {"items": [{"sigma": vector(1)}]}, 422, "unusable_input", "image or mu"),
    (ITEMS, {"items": [{"mu": vector(0), "x": 1}]}, 422, "unusable_input", "unknown key 'x'"),
    (ITEMS, {"items": [{"mu": vector(0), "metadata": []}]}, 422, "unusable_input", "object"),
    (ITEMS, {"items": [{"mu": vector(0), "metadata": {"x": "\0"}}]}, 422, "unusable_input", "character 0"),
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
    (SEARCH, {"mu": vector(0), "filter": {"lable": 1}}, 422, "invalid_filter", "did you mean 'label'?"),
    (SEARCH, {"mu": vector(0), "filter": {"label": {"gtt": 1}}}, 422, "invalid_filter", "did you mean gt?"),
    (SEARCH, {"mu": vector(0), "filter": {"label": {"in": 1}}}, 422, "invalid_filter", "list"),
    (SEARCH, {"mu": vector(0), "filter": {'a" OR 1=1 --': 1}}, 422, "invalid_filter", "quotes"),
    (SEARCH, {"mu": vector(0), "filter": 3}, 422, "invalid_filter", "object"),
    (SEARCH, {"mu": vector(0), "k": 5, "candidates": 3}, 422, "invalid_parameter", "candidates"),
    (SEARCH, {"queries": [{"mu": vector(0)}], "mu": vector(0)}, 422, "unusable_input", "queries"),
    (SEARCH, {"mu": vector(0), "k": 5000, "include": ["image"]}, 413, "too_many_items", "4096"),
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
    problem(digits_of.get(f"{ITEMS}?cursor=!"), 422, "invalid_parameter")
    problem(digits_of.get(f"{ITEMS}?filter=!"), 422, "invalid_parameter")
    info = digits_of.get("/collections/digits").json()
    assert (info["count"], info["seq"]) == (1, 1)


def test_filters_by_query_and_by_body(digits_of: httpx.Client) -> None:
    rows = [{"id": f"{i}", "mu": vector(i), "metadata": {"label": i % 3, "tag": "ab"[i % 2]}} for i in range(30)]
    digits_of.post(ITEMS, json={"items": rows}).raise_for_status()
    wanted = {"label": 1, "tag": {"in": ["b", "c"]}}
    by_body = digits_of.post(SEARCH, json={"mu": vector(0), "filter": wanted, "k": 3}).raise_for_status().json()
    assert [neighbor["id"] for neighbor in by_body["neighbors"]] == ["1", "7", "13"]
    assert by_body["neighbors"][1]["distance"] == pytest.approx(7 * 20**0.5, abs=1e-12)
    listed = digits_of.get(ITEMS, params={"filter": json.dumps(wanted)}).raise_for_status().json()
    assert {item["id"] for item in listed["items"]} == {"1", "7", "13", "19", "25"}


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.soak)])
def test_kill_loses_nothing_acknowledged(tmp_path: Path, rounds: int) -> None:
    variables = {"VAE_STORE": str(tmp_path / "latents.db"), "VAE_MODELS": "mnist-2d", "VAE_DEFAULT_MODEL": "mnist-2d"}
    acknowledged: dict[str, list[float]] = {}
    chance = random.Random(0)
    for round in range(rounds + 1):
        server = Server(variables=variables)
        try:
            server.wait_until_ready()
            with httpx.Client(base_url=server.url, timeout=60) as client:
                client.put("/collections/digits").raise_for_status()
                check_all(client, acknowledged)
            if round < rounds:
                add_until_killed(server, round, acknowledged, chance.randrange(10, 120))
        finally:
            server.kill()
    assert len(acknowledged) >= rounds * 10


def check_all(client: httpx.Client, acknowledged: dict[str, list[float]]) -> None:
    """Everything acknowledged is there and found; whatever else is there is whole."""
    found: dict[str, dict[str, Any]] = {}
    cursor = ""
    while cursor is not None:
        page = client.get(ITEMS, params={"limit": 1000, "cursor": cursor, "include": "mu"}).raise_for_status().json()
        found |= {item["id"]: item for item in page["items"]}
        cursor = page["cursor"]
    assert client.get("/collections/digits").json()["count"] == len(found)
    for id, mu in acknowledged.items():
        assert found[id]["mu"] == mu
    batches: dict[str, int] = {}
    for item in found.values():
        assert item["metadata"]["mu"] == item["mu"]
        batches[item["metadata"]["batch"]] = batches.get(item["metadata"]["batch"], 0) + 1
    assert set(batches.values()) <= {5}  # all of a request, or nothing
    sample = list(acknowledged.items())[-20:]
    if sample:
        results = client.post(SEARCH, json={"queries": [{"mu": mu} for _, mu in sample], "k": 1}).raise_for_status().json()
        assert [result["neighbors"][0]["id"] for result in results["results"]] == [id for id, _ in sample]


def add_until_killed(server: Server, round: int, acknowledged: dict[str, list[float]], after: int) -> None:
    lock = threading.Lock()
    rng = np.random.default_rng(round)
    count = [0]

    def add(worker: int) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for i in range(10_000):
                with lock:
                    mu = np.round(rng.standard_normal((5, 2)), 6).astype(np.float32).tolist()
                rows = {f"{round}-{worker}-{i}-{j}": [float(str(np.float32(v))) for v in row] for j, row in enumerate(mu)}
                items = [
                    {"id": id, "mu": row, "metadata": {"mu": row, "batch": f"{round}-{worker}-{i}"}}
                    for id, row in rows.items()
                ]
                try:
                    client.post(ITEMS, json={"items": items}).raise_for_status()
                except httpx.TransportError:
                    return
                with lock:
                    acknowledged.update(rows)
                    count[0] += 1
                    if count[0] == after:
                        server.process.kill()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))


def test_what_one_worker_acknowledges_the_other_finds(tmp_path: Path) -> None:
    """Two services on one file: what VAE_WORKERS=2 does, but with each to be addressed."""
    variables = {"VAE_STORE": str(tmp_path / "latents.db"), "VAE_MODELS": "mnist-2d", "VAE_DEFAULT_MODEL": "mnist-2d"}
    with serving(variables=variables) as one, serving(variables=variables) as other:
        clients = [httpx.Client(base_url=server.url, timeout=PATIENCE_SECONDS) for server in (one, other)]
        clients[0].put("/collections/digits").raise_for_status()
        for i in range(40):
            writer, reader = clients[i % 2], clients[1 - i % 2]
            writer.post(ITEMS, json={"items": [{"id": f"{i}", "mu": [i, -i]}]}).raise_for_status()
            found = reader.post(SEARCH, json={"mu": [i, -i], "k": 1}).raise_for_status().json()
            assert (found["neighbors"][0]["id"], found["seq"]) == (f"{i}", i + 1)
        for client in clients:
            client.close()


def test_memory_and_models_at_the_start(tmp_path: Path) -> None:
    variables = {"VAE_STORE": str(tmp_path / "latents.db"), "VAE_STORE_MAX_BYTES": str(1 << 20), "VAE_MODELS": "mnist-2d"}
    with serving(variables=variables) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        client.put("/collections/digits").raise_for_status()
        body = npy(np.zeros((4096, 2), np.float32))
        answers = [client.post(ITEMS, content=body) for _ in range(8)]
        problem(answers[-1], 507, "store_full", "VAE_STORE_MAX_BYTES")
        kept = 4096 * sum(answer.status_code == 200 for answer in answers)
        assert client.get("/collections/digits").json()["count"] == kept
        digest = client.get("/collections/digits").json()["digest"]
    with serving(variables={**variables, "VAE_MODELS": "mnist"}) as server:
        assert f"is of mnist-2d@sha256:{digest}, which is not loaded" in server.log
        answer = httpx.post(f"{server.url}{SEARCH}", json={"mu": [0, 0]})
        problem(answer, 409, "model_not_loaded", digest, "add the pictures again")
        stated = {"mu": [0, 0], "model": f"mnist-2d@sha256:{digest}", "k": 1}
        assert httpx.post(f"{server.url}{SEARCH}", json=stated).status_code == 200


def test_a_foreign_file_ends_the_start(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    server = Server(variables={"VAE_STORE": str(path), "VAE_MODELS": "mnist-2d"})
    assert server.wait() == 1
    assert f"{path} is a sqlite file of another program" in server.log
    assert "Traceback" not in server.log
