"""pixels=sample of /decode, /sample and /reconstruct: draws from p(x given z), seeded, and apart from the noise of latents."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.formats.npy import npy

Z = np.linspace(-2, 2, 15, dtype=np.float32).reshape(5, 3)
PICTURES = npy(np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8))


def pixels(answer: httpx.Response) -> NDArray[Any]:
    array: NDArray[Any] = np.load(io.BytesIO(answer.raise_for_status().content))
    return array


def body_of(path: str) -> bytes | None:
    if path.startswith("/sample"):
        return None
    return PICTURES if path.startswith("/reconstruct") else npy(Z)


PATHS = ["/decode?", "/sample?n=5&", "/reconstruct?", "/reconstruct?mode=sample&"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_seed_gives_the_same_pixels_and_others_give_others(client: httpx.AsyncClient, path: str) -> None:
    asked, body = f"{path}pixels=sample&format=npy&seed=", body_of(path)
    first = await client.post(asked + "7", content=body)
    drawn = pixels(first)
    assert (drawn.shape, drawn.dtype.name, first.headers["x-seed"]) == ((5, 8, 8, 1), "uint8", "7")
    assert set(np.unique(drawn)) == {0, 255}  # a Bernoulli
    np.testing.assert_array_equal(pixels(await client.post(asked + "7", content=body)), drawn)
    assert not np.array_equal(pixels(await client.post(asked + "8", content=body)), drawn)
    unseeded = await client.post(f"{path}pixels=sample&format=npy", content=body)
    again = pixels(await client.post(asked + unseeded.headers["x-seed"], content=body))
    np.testing.assert_array_equal(again, pixels(unseeded))


async def test_pixels_are_equal_alone_and_among_others(client: httpx.AsyncClient) -> None:
    asked = "/decode?pixels=sample&seed=3&format=npy&dtype=float32"
    many = pixels(await client.post(asked, content=npy(Z)))
    np.testing.assert_array_equal(pixels(await client.post(asked, content=npy(Z[:1]))), many[:1])
    few = pixels(await client.get("/sample?pixels=sample&seed=3&n=2&format=npy"))
    np.testing.assert_array_equal(few, pixels(await client.get("/sample?pixels=sample&seed=3&n=9&format=npy"))[:2])


async def test_the_latents_of_a_seed_stay_the_same(client: httpx.AsyncClient) -> None:
    mean, drawn = [
        (await client.get(f"/sample?n=4&seed=5&include=z&pixels={kind}")).raise_for_status() for kind in ("mean", "sample")
    ]
    assert mean.json()["z"] == drawn.json()["z"]
    assert mean.json()["images"] != drawn.json()["images"]
    assert mean.headers["etag"] != drawn.headers["etag"]
    again = await client.get("/sample?n=4&seed=5&include=z&pixels=sample", headers={"if-none-match": drawn.headers["etag"]})
    assert again.status_code == 304
    by_hand = await client.post("/decode?pixels=sample&seed=5", json={"z": drawn.json()["z"]})
    assert (by_hand.json()["images"], by_hand.json()["seed"]) == (drawn.json()["images"], 5)


async def test_gaussian_pixels_scatter_about_the_mean_and_stay_in_range(client: httpx.AsyncClient) -> None:
    z, asked = npy(np.zeros((20, 4), np.float32)), "/decode?model=colour&format=npy&dtype=float32"
    mean, drawn = [pixels(await client.post(asked + more, content=z)) for more in ("", "&pixels=sample&seed=1")]
    assert (drawn.dtype.name, drawn.min() >= 0, drawn.max() <= 1) == ("float32", True, True)
    assert abs((drawn - mean).std() - 0.1) < 0.005  # sigma is 0.1, and the means are near 1/2
    as_bytes = pixels(await client.post("/decode?model=colour&format=npy&pixels=sample&seed=1", content=z))
    np.testing.assert_array_equal(as_bytes, np.rint(drawn * 255).astype(np.uint8))


async def test_means_are_the_default_and_say_no_seed(client: httpx.AsyncClient) -> None:
    answer = await client.post("/decode?format=npy&seed=1", content=npy(Z))
    assert "x-seed" not in answer.headers
    np.testing.assert_array_equal(pixels(answer), pixels(await client.post("/decode?format=npy&pixels=mean", content=npy(Z))))
    assert "seed" not in (await client.post("/decode", content=npy(Z))).json()
    wrong = await client.post("/decode?pixels=draw", content=npy(Z))
    assert (wrong.status_code, wrong.json()["detail"]) == (422, "pixels must be 'mean' or 'sample', not 'draw'")


async def test_originals_stand_beside_draws(client: httpx.AsyncClient) -> None:
    compared = await client.post("/reconstruct?compare=true&pixels=sample&seed=2&format=png", content=PICTURES)
    assert (compared.status_code, compared.headers["x-seed"]) == (200, "2")
    assert compared.content != (await client.post("/reconstruct?compare=true&format=png", content=PICTURES)).content
