"""/sample of a model that was trained with a VampPrior draws from it."""

from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

import models
from models.vae import VAE, VAEConfig


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one checkpoint, whose prior has two far components."""
    torch.manual_seed(0)
    vae = VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]}, prior="vamp", prior_options={"pseudo_inputs": 2}))
    directory = tmp_path_factory.mktemp("vamp")
    models.save(directory / "grey", vae)
    return directory


async def test_its_own_prior_is_the_default(client: httpx.AsyncClient, weights: Path) -> None:
    assert (await client.get("/models/grey")).json()["priors"] == ["vamp", "standard"]
    query: dict[str, str | int] = {"n": 30, "seed": 3, "include": "z"}
    own, named = [(await client.get("/sample", params=more)).json() for more in (query, query | {"prior": "vamp"})]
    assert own == named
    assert own["prior"] == "vamp"
    vae = models.load(weights / "grey")
    with torch.no_grad():
        posterior = vae.encode(torch.sigmoid(torch.as_tensor(vae.prior_layer.logits)))
    mu, sigma = posterior.mu.numpy(), posterior.sigma.numpy()
    still = np.array((await client.get("/sample", params=query | {"temperature": 0})).json()["z"])
    distances = np.abs(still[:, None] - mu[None]).max(2)  # (30, 2)
    assert distances.min(1).max() < 1e-6
    k = distances.argmin(1)
    assert set(k) == {0, 1}
    assert ((np.array(own["z"]) - still) / sigma[k]).std() == pytest.approx(1, abs=0.3)


async def test_the_standard_normal_can_be_asked_for(client: httpx.AsyncClient) -> None:
    standard = (await client.get("/sample?seed=3&prior=standard")).json()
    assert standard["prior"] == "standard"
    refused = await client.get("/sample?prior=aggregate")
    assert (refused.status_code, refused.json()["code"]) == (422, "no_such_prior")
