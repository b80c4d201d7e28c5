"""Directions and edits on real servers: one process on sqlite, two, and PostgreSQL agree; edits change digits as they say."""

import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.service.store.postgres_server import Postgres

from .server import ROOT, Server, serving

SIDES: dict[str, Any] = {"positive": {"label": 7}, "negative": {"label": {"ne": 7}}}
REPEATS = 6  # enough to reach both workers, each of which has connections of its own


def fill(client: httpx.Client) -> None:
    """A collection of latents of ten labels, drawn with seeds."""
    client.put("/collections/digits", json={"model": "mnist"}).raise_for_status()
    for label in range(10):
        drawn = client.get(f"/sample?label={label}&n=40&seed={label}&include=z").raise_for_status().json()["z"]
        items = [{"id": f"{label}/{i}", "mu": z, "metadata": {"label": label}} for i, z in enumerate(drawn)]
        client.post("/collections/digits/items", content=json.dumps({"items": items})).raise_for_status()


def answers(server: Server) -> list[bytes]:
    """The bytes of directions by both methods, and of edits along them; each request has a connection of its own."""
    found: list[bytes] = []
    with httpx.Client(base_url=server.url, timeout=60) as client:
        fill(client)
    for _ in range(REPEATS):
        own = []
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for method in ("mean_difference", "logistic_regression"):
                made = client.put(f"/collections/digits/directions/{method}", json={**SIDES, "method": method})
                own.append(made.raise_for_status().content)
        with httpx.Client(base_url=server.url, timeout=60) as client:
            own.append(client.get("/collections/digits/directions").raise_for_status().content)
            query = "/edit?collection=digits&include=z&directions=mean_difference:2,logistic_regression:-0.3"
            own.append(client.post(query, json={"points": [{"id": "1/0"}, {"id": "2/0"}]}).raise_for_status().content)
        found = found or own
        assert own == found
    return found


def test_two_workers_and_postgres_agree_with_one_process(tmp_path: Path, postgres: Postgres) -> None:
    settings = (
        {"VAE_STORE": str(tmp_path / "one.db")},
        {"VAE_STORE": str(tmp_path / "two.db"), "VAE_WORKERS": "2"},
        {"VAE_STORE": postgres.create(f"live_{uuid.uuid4().hex}"), "VAE_WORKERS": "2"},
    )
    found = []
    for variables in settings:
        with serving("--models", "mnist", variables=variables) as server:
            found.append(answers(server))
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_an_edit_moves_the_posterior_where_the_direction_leads(tmp_path: Path) -> None:
    with (
        serving("--models", "mnist", variables={"VAE_STORE": str(tmp_path / "latents.db")}) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        fill(client)
        made = client.put("/collections/digits/directions/sevens", json=SIDES).raise_for_status().json()
        assert made["auc"] > 0.95
        two = ROOT / "examples" / "two.png"
        query = "/edit?collection=digits&format=npy&directions=sevens:"
        projections = []
        for amount in (-2, 0, 2):
            pixels = client.post(f"{query}{amount}", content=two.read_bytes()).raise_for_status().content
            again = client.post("/encode", content=pixels).raise_for_status().json()["mu"][0]
            projections.append(float(np.dot(again, made["vector"]) / made["unit"]))
        assert projections[0] + 1 < projections[1] < projections[2] - 1  # what the encoder sees of two units each


def test_a_key_needs_both_scopes(tmp_path: Path) -> None:
    keys = "".join(f"{name} {scopes} {name * 32}\n" for name, scopes in (("i", "infer"), ("s", "store"), ("b", "infer,store")))
    with serving("--models", "mnist", variables={"VAE_API_KEYS": keys, "VAE_STORE": str(tmp_path / "latents.db")}) as server:
        path = f"{server.url}/edit?collection=x&directions=a:1"
        found = [httpx.post(path, json={"z": [[0.0] * 20]}, headers={"X-API-Key": name * 32}) for name in "isb"]
    assert [(one.status_code, one.json()["code"]) for one in found] == [
        (403, "missing_scope"), (403, "missing_scope"), (404, "unknown_collection"),
    ]  # fmt: skip
