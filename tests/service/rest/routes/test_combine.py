"""/combine and /barycenter over HTTP, in every format."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from httpx import AsyncClient
from PIL import Image

from service.formats import png

PICTURES = [png.write(np.random.default_rng(i).integers(0, 256, (8, 8, 1), np.uint8)) for i in range(3)]
TEXTS = [base64.b64encode(picture).decode() for picture in PICTURES]
Z = [0.5, -1.0, 2.0]


async def posterior(client: AsyncClient, picture: bytes) -> tuple[list[float], list[float]]:
    found = (await client.post("/encode", content=picture)).raise_for_status().json()
    return found["mu"][0], found["sigma"][0]


async def test_an_analogy_of_pictures_latents_and_items(client: AsyncClient) -> None:
    (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
    (await client.post("/collections/some/items", json={"items": [{"id": "a", "mu": [1, 2, 3]}]})).raise_for_status()
    mu = (await posterior(client, PICTURES[0]))[0]
    terms = [
        {"image": TEXTS[0]},
        {"z": Z, "weight": -1.5},
        {"id": "a", "weight": 2},
        {"mu": Z, "sigma": [1, 1, 1], "weight": 0},
    ]
    found = await client.post("/combine", json={"terms": terms, "collection": "some", "include": "z"})
    answer = found.raise_for_status().json()
    expected = np.array(mu) - 1.5 * np.array(Z) + 2 * np.arange(1, 4)
    np.testing.assert_allclose(answer["z"], [expected], rtol=1e-6)
    decoded = (await client.post("/decode", json={"z": answer["z"]})).json()
    assert answer == decoded | {"z": answer["z"]}


async def test_the_formats_are_those_of_decode(client: AsyncClient) -> None:
    body = {"terms": [{"z": Z}]}
    for query in (
        "format=npy",
        "format=npy&dtype=float32",
        "format=png&scale=3",
        "pixels=sample&seed=4",
        "pixels=sample&seed=4&format=png",
    ):
        for path, points in (("/combine", body), ("/barycenter", {"points": body["terms"]})):
            made = (await client.post(f"{path}?{query}", json=points)).raise_for_status()
            decoded = (await client.post(f"/decode?{query}", json={"z": [Z]})).raise_for_status()
            assert made.headers["content-type"] == decoded.headers["content-type"]
            assert made.headers.get("x-seed") == decoded.headers.get("x-seed")
            if "json" not in made.headers["content-type"]:
                assert made.content == decoded.content
            else:
                assert made.json()["images"] == decoded.json()["images"]
    browser = await client.post("/combine", json=body, headers={"accept": "text/html,image/avif,*/*;q=0.8"})
    assert Image.open(io.BytesIO(browser.content)).size == (256, 256)


async def test_a_barycenter_of_posteriors_has_the_mean_mu_and_the_mean_sigma(client: AsyncClient) -> None:
    posteriors = [await posterior(client, picture) for picture in PICTURES]
    weights = [1, 2, 5]
    points = [{"image": text, "weight": weight} for text, weight in zip(TEXTS, weights, strict=True)]
    mu, sigma = (np.average([one[k] for one in posteriors], 0, weights) for k in range(2))
    w2 = (await client.post("/barycenter?method=w2", json={"points": points})).raise_for_status().json()
    np.testing.assert_allclose(w2["mu"], [mu], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(w2["sigma"], [sigma], rtol=1e-6)
    assert w2["images"] == (await client.post("/decode", json={"mu": w2["mu"]})).json()["images"]
    euclidean = (await client.post("/barycenter?include=z", json={"points": points})).raise_for_status().json()
    assert euclidean["z"] == w2["mu"]
    assert euclidean.keys() == {"model", "images", "shape", "method", "z"}
    alone = (await client.post("/barycenter?method=w2", json={"points": [{"image": TEXTS[0], "weight": 0.3}]})).json()
    assert (alone["mu"], alone["sigma"]) == ([posteriors[0][0]], [posteriors[0][1]])


async def test_warnings_name_the_term(client: AsyncClient) -> None:
    blank = base64.b64encode(png.write(np.zeros((8, 8, 1), np.uint8))).decode()
    answer = await client.post("/combine", json={"terms": [{"z": Z}, {"image": TEXTS[0]}, {"image": blank}]})
    assert [(one["item"], one["code"]) for one in answer.json()["warnings"]] == [(2, "blank")]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/combine", {}, 422, "needs 'terms', a list of one or more objects"),
        ("/combine", {"points": [{"z": Z}]}, 422, "unknown parameter 'points'"),
        ("/combine", {"terms": [{"z": Z}] * 33}, 413, "33"),
        ("/combine", {"terms": [{"z": Z, "weight": 101}]}, 422, "point 0: weight must be a number from -100 to 100, not 101"),
        ("/combine", {"terms": [{"z": Z, "weight": "1"}]}, 422, "point 0: weight must be a number from -100 to 100, not '1'"),
        ("/combine", {"terms": [{"z": [9000, 0, 0], "weight": 1.2}]}, 422, "10800, but latents end at 10000; use smaller"),
        ("/combine", {"terms": [{"z": Z}, {"weight": 1}]}, 422, "point 1: needs exactly one of image, z, mu and id"),
        ("/combine", {"terms": [{"z": Z}, {"image": "QUJD"}]}, 415, "point 1: 'QUJD' is valid base64"),
        ("/combine", {"terms": [{"z": Z}], "method": "w2"}, 422, "unknown parameter 'method'"),
        ("/combine", {"terms": [{"z": Z}], "format": "gif"}, 422, "format must be"),
        ("/barycenter", {"points": [{"z": Z, "weight": -1}]}, 422, "point 0: weight must be a number from 0 to 100, not -1"),
        ("/barycenter", {"points": [{"z": Z, "weight": 0}] * 2}, 422, "all weights are 0; at least one must be above 0"),
        ("/barycenter", {"points": [{"mu": Z, "sigma": [1] * 3}, {"z": Z}], "method": "w2"}, 422, "point 1: this point"),
        ("/barycenter", {"points": [{"z": Z}], "method": "mean"}, 422, "method must be"),
        ("/barycenter", {"points": [{"id": "a"}]}, 422, "collection is missing"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(client: AsyncClient, path: str, body: Any, status: int, message: str) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == status
    assert message in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/combine", "/barycenter"])
async def test_only_json_is_taken(client: AsyncClient, path: str) -> None:
    for more in ({"content": PICTURES[0]}, {"files": {"image": ("a.png", PICTURES[0])}}):
        answer = await client.post(path, **more)
        assert (answer.status_code, answer.json()["code"]) in ((415, "unsupported_media_type"), (422, "invalid_parameter"))
