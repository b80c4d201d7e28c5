"""/sample: a seed means the same latents at any time; item i does not depend on how many items there are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models.checkpoint import read
from models.mixture import read_prior

from .pictures import decoded_all, from_npy
from .problems import problem

MAX_SEED = 2**53 - 1


def sample(client: httpx.Client, **parameters: Any) -> httpx.Response:
    return client.get("/sample", params=parameters).raise_for_status()


def drawn(client: httpx.Client, **parameters: Any) -> dict[str, Any]:
    """The answer, with its latents, to a request for draws from N(0, I)."""
    body: dict[str, Any] = sample(client, **parameters, prior="standard", include="z").json()
    return body


@pytest.mark.parametrize("seed", [0, 7, MAX_SEED])
@pytest.mark.parametrize("form", ["json", "npy", "png"])
def test_the_same_seed_gives_the_same_bytes(client: httpx.Client, seed: int, form: str) -> None:
    first, again = (sample(client, seed=seed, n=5, format=form) for _ in range(2))
    posted = client.post("/sample", json={"seed": seed, "n": 5, "format": form}).raise_for_status()
    assert first.content == again.content == posted.content
    assert first.headers["x-seed"] == str(seed)
    assert first.content != sample(client, seed=(seed + 1) % MAX_SEED, n=5, format=form).content


def test_item_i_of_many_is_item_i_of_few(client: httpx.Client) -> None:
    many, few = (sample(client, seed=3, n=n, include="z").json() for n in (16, 4))
    assert many["images"][:4] == few["images"]
    assert many["z"][:4] == few["z"]
    assert len({tuple(z) for z in many["z"]}) == 16
    # through several batches, and alone
    thousand = from_npy(sample(client, seed=3, n=1000, format="npy").content)
    np.testing.assert_array_equal(thousand[:16, ..., 0], decoded_all(many["images"]))
    assert sample(client, seed=3).json()["images"] == many["images"][:1]


def test_a_missing_seed_is_drawn_and_given_back(client: httpx.Client) -> None:
    drawn = [sample(client, n=2) for _ in range(4)]
    seeds = [answer.json()["seed"] for answer in drawn]
    assert len(set(seeds)) == 4
    assert all(0 <= seed <= MAX_SEED for seed in seeds)
    for answer, seed in zip(drawn, seeds, strict=True):
        assert answer.headers["x-seed"] == str(seed)
        assert sample(client, n=2, seed=seed).content == answer.content
    png = sample(client, n=2, format="png")
    assert sample(client, n=2, format="png", seed=png.headers["x-seed"]).content == png.content


def test_pictures_are_those_of_the_latents(client: httpx.Client, means: Callable[[str, Any], Any]) -> None:
    body = sample(client, n=6, seed=1, include="z").json()
    assert body.keys() == {"model", "images", "shape", "seed", "prior", "z"}
    decoded = client.post("/decode", json={"z": body["z"]}).raise_for_status().json()
    assert body["images"] == decoded["images"]
    floats = from_npy(sample(client, n=6, seed=1, format="npy", dtype="float32").content)
    np.testing.assert_allclose(floats, means("mnist", body["z"]), rtol=0, atol=1e-5)
    assert "z" not in sample(client, n=6, seed=1).json()


def test_temperature_scales_the_latents(client: httpx.Client) -> None:
    z = {t: np.array(drawn(client, n=3, seed=1, temperature=t)["z"], np.float32) for t in (0, 0.5, 1, 2)}
    assert not z[0].any()
    np.testing.assert_array_equal(z[2], 2 * z[1])
    np.testing.assert_array_equal(z[0.5], z[1] / 2)


def test_latents_are_standard_normal(client: httpx.Client) -> None:
    z = np.array(drawn(client, n=2000, seed=5)["z"])
    assert z.shape == (2000, 20)
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02


def test_a_seed_means_the_same_noise_for_every_model(client: httpx.Client) -> None:
    z = {name: drawn(client, n=3, seed=4, model=name)["z"] for name in ("mnist", "fashion-mnist", "tiny-rgb")}
    for name, dim in (("fashion-mnist", 20), ("tiny-rgb", 3)):
        np.testing.assert_array_equal(np.array(z[name])[:, :dim], np.array(z["mnist"])[:, :dim])


def test_of_parameters_in_query_and_body_the_query_wins(client: httpx.Client) -> None:
    mixed = client.post("/sample?n=2", json={"seed": 1}).raise_for_status()
    assert mixed.content == sample(client, n=2, seed=1).content
    assert client.post("/sample?n=2&seed=1", json={"seed": 2}).raise_for_status().content == mixed.content


# --- draws from the mixture that was fitted to the aggregate posterior


def test_the_aggregate_prior_is_seeded_like_the_other(client: httpx.Client) -> None:
    many, again, few = (sample(client, seed=3, n=n, prior="aggregate", include="z") for n in (16, 16, 4))
    assert many.content == again.content
    assert many.headers["x-prior"] == many.json()["prior"] == "aggregate"
    assert many.json()["z"][:4] == few.json()["z"]
    assert many.json()["images"][:4] == few.json()["images"]
    assert sample(client, seed=3, n=4, include="z").content == few.content  # the default of a model that has it
    assert sample(client, seed=3, model="tiny-rgb").headers["x-prior"] == "standard"
    assert drawn(client, seed=3)["prior"] == "standard"
    assert many.json()["images"] == client.post("/decode", json={"z": many.json()["z"]}).raise_for_status().json()["images"]


@pytest.mark.parametrize("name", ["mnist", "mnist-2d", "fashion-mnist"])
def test_aggregate_latents_have_the_moments_of_the_mixture(client: httpx.Client, models_dir: Path, name: str) -> None:
    prior = read_prior(models_dir / name, read(models_dir / name).digest, read(models_dir / name).manifest.model.latent_dim)
    assert prior is not None
    weights, means, scale = prior.mixture.weights, prior.mixture.means, prior.mixture.scale
    z = np.array(sample(client, n=4000, seed=5, prior="aggregate", include="z", model=name).json()["z"])
    mean = (weights[:, None] * means).sum(0).numpy()
    second = (weights[:, None, None] * (scale @ scale.mT + means[:, :, None] * means[:, None, :])).sum(0).numpy()
    np.testing.assert_allclose(z.mean(0), mean, atol=5 * z.std(0).max() / 4000**0.5)
    np.testing.assert_allclose(z.T @ z / 4000, second, atol=0.15)
    # temperature 0 leaves the components' means
    still = np.array(sample(client, n=50, seed=5, prior="aggregate", temperature=0, include="z", model=name).json()["z"])
    distance = np.abs(still[:, None] - means.numpy()[None]).max(2).min(1)
    assert distance.max() < 1e-6


def test_models_say_what_they_can_draw_from(client: httpx.Client) -> None:
    priors = {model["name"]: model["priors"] for model in client.get("/models").json()["models"]}
    assert priors == {name: ["aggregate", "standard"] for name in ("fashion-mnist", "mnist", "mnist-2d")} | {
        "tiny-rgb": ["standard"]
    }
    refused = client.get("/sample", params={"model": "tiny-rgb", "prior": "aggregate"})
    problem(refused, 422, "no_such_prior", "tiny-rgb", "--fit-prior", "Choose standard")
    problem(client.get("/sample?prior=agregate"), 422, "invalid_parameter", "prior", "standard", "aggregate")
