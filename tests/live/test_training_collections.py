"""The training latents of shipped models as collections of a running service: before anybody has stored a picture."""

import asyncio
from typing import Any

import httpx
import numpy as np

from .server import Server

NAME = "training:mnist"


def test_digits_find_digits_of_their_kind(client: httpx.Client) -> None:
    shown = client.get("/models/mnist/examples").raise_for_status().json()["images"]
    queries = [{"image": one} for one in shown]  # one of each label, in their order
    found = client.post(f"/collections/{NAME}/search?k=5", json={"queries": queries}).raise_for_status().json()["results"]
    labels = [[one["metadata"]["label"] for one in result["neighbors"]] for result in found]
    assert [max(set(own), key=own.count) for own in labels] == list("0123456789")


def test_a_map_and_its_holes_in_the_order_of_the_ids(client: httpx.Client) -> None:
    found = client.get(f"/collections/{NAME}/map?keys=label").raise_for_status().json()
    known = client.get("/models/mnist/map").raise_for_status().json()
    assert found["ids"] == [f"{i:04}" for i in range(10_000)]
    assert found["metadata"]["label"] == [known["label_names"][label] for label in known["labels"]]
    for name in ("mnist", "tiny-rgb"):
        answer = client.get(f"/collections/training:{name}/map?density=16")
        assert answer.status_code == (200 if name == "mnist" else 404)
    assert np.array(client.get(f"/collections/{NAME}/map?density=16").json()["holes"]).shape == (16, 16)


async def test_the_first_crowd_and_later_ones_get_the_same(server: Server) -> None:
    """Also after a deadline that may have passed while the latents were read."""
    name, ends = "training:fashion-mnist", {"start": {"id": "0001"}, "end": {"id": "0002"}}
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", f"/collections/{name}/search?include=image,mu", {"json": {"id": "0042"}}),
        ("GET", f"/collections/{name}/items?limit=500&include=mu,sigma", {}),
        ("GET", f"/collections/{name}/map", {}),
        ("POST", f"/interpolate?collection={name}&include=log_density", {"json": ends}),
    ]
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:

        async def crowd() -> list[set[bytes]]:
            answers = await asyncio.gather(*(client.request(how, path, **more) for _ in range(4) for how, path, more in asked))
            return [{one.raise_for_status().content for one in answers[i :: len(asked)]} for i in range(len(asked))]

        assert (await client.get(f"/collections/{name}?timeout_ms=1")).status_code in (200, 504)
        first = await crowd()
        assert [len(found) for found in first] == [1] * len(asked)
        assert await crowd() == first
