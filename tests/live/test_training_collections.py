"""The training latents of shipped models as collections of a running service: before anybody has stored a picture."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from models.calibration import read_calibration
from models.checkpoint import read
from models.golden import read_golden

from .server import Server

NAME = "training:mnist"
K = 5


def search_by_examples(client: httpx.Client) -> list[dict[str, Any]]:
    """Return what each example picture of the model finds: one of each label, in their order."""
    shown = client.get("/models/mnist/examples").raise_for_status().json()["images"]
    queries = [{"image": one} for one in shown]
    answer = client.post(f"/collections/{NAME}/search?k={K}", json={"queries": queries})
    results: list[dict[str, Any]] = answer.raise_for_status().json()["results"]
    return results


def test_digits_find_digits_of_their_kind(client: httpx.Client) -> None:
    """At least nine of the ten examples, by most of their neighbors: one of them is a 5 that other digits surround."""
    results = search_by_examples(client)
    labels = [[one["metadata"]["label"] for one in result["neighbors"]] for result in results]
    alike = [label for label, own in zip("0123456789", labels, strict=True) if own.count(label) > K / 2]
    assert len(alike) >= 9, labels


def test_the_nearest_are_those_of_an_exact_search(client: httpx.Client, models_dir: Path) -> None:
    """In float64, from the posteriors that came with the model."""
    checkpoint = read(models_dir / "mnist")
    golden = read_golden(models_dir / "mnist", checkpoint.digest, checkpoint.vae.config)
    calibration = read_calibration(models_dir / "mnist", checkpoint.digest, checkpoint.vae.config.latent_dim)
    assert golden is not None
    assert calibration is not None
    assert calibration.labels is not None
    weight = client.get(f"/collections/{NAME}").raise_for_status().json()["sigma_weight"]
    for mu, sigma, result in zip(golden.mu, golden.sigma, search_by_examples(client), strict=True):
        squares = np.square(calibration.mu - mu.astype(np.float64)).sum(axis=1)
        squares += weight**2 * np.square(calibration.sigma - sigma.astype(np.float64)).sum(axis=1)
        distances, found = np.sqrt(squares), result["neighbors"]
        # Another machine's posteriors differ a little, so two items that are equally near may be in another order.
        np.testing.assert_allclose([one["distance"] for one in found], np.sort(distances)[:K], rtol=1e-3)
        ids = [int(one["id"]) for one in found]
        np.testing.assert_allclose(distances[ids], np.sort(distances)[:K], rtol=1e-3)
        names = [calibration.label_names[label] for label in calibration.labels[ids]]
        assert [one["metadata"]["label"] for one in found] == names


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
