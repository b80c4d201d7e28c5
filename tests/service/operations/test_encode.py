"""Pictures to posteriors, without HTTP."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.distributions import Normal, kl_divergence

import models
from service.engine.errors import DeadlineExceeded, TooLarge
from service.formats import png
from service.formats.errors import Undecodable
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.latents import noise
from service.operations.encode import draw_from_posterior, encode


async def test_posteriors_are_those_of_the_model(
    pipeline: Pipeline, inference: Inference, x: NDArray[np.uint8], weights: Path
) -> None:
    found = await encode(pipeline, inference, RawItems([png.write(one.transpose(1, 2, 0)) for one in x]))
    expected = models.load(weights / "grey").encode(torch.from_numpy(x))
    for name in ("mu", "sigma", "logvar"):
        assert getattr(found, name).shape == (5, 3)
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name).numpy(), rtol=1e-4, atol=1e-5)
    assert inference.timings.compute > 0


async def test_the_kl_of_each_dimension_is_from_the_standard_normal(
    pipeline: Pipeline, inference: Inference, x: NDArray[np.uint8]
) -> None:
    found = await encode(pipeline, inference, RawItems(rows=x))
    mu, sigma = torch.tensor(found.mu, dtype=torch.float64), torch.tensor(found.sigma, dtype=torch.float64)
    np.testing.assert_allclose(found.kl_per_dim(), kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)), atol=1e-6)
    assert found.kl_per_dim().dtype == np.float64


async def test_a_draw_is_mu_and_sigma_times_the_noise_of_its_seed(
    pipeline: Pipeline, inference: Inference, x: NDArray[np.uint8]
) -> None:
    found = await encode(pipeline, inference, RawItems(rows=x))
    seed, z = draw_from_posterior(found.mu, found.sigma, 7)
    assert seed == 7
    np.testing.assert_array_equal(z, found.mu + found.sigma * noise.standard_normal(7, 5, 3))
    drawn, _ = draw_from_posterior(found.mu, found.sigma, None)
    np.testing.assert_array_equal(
        draw_from_posterior(found.mu, found.sigma, drawn)[1], draw_from_posterior(found.mu, found.sigma, drawn)[1]
    )


async def test_errors_are_those_of_the_domain(pipeline: Pipeline, inference: Inference, x: NDArray[np.uint8]) -> None:
    with pytest.raises(Undecodable) as error:
        await encode(pipeline, inference, RawItems([b"\x89PNG, but no more"]))
    assert error.value.item == 0
    with pytest.raises(TooLarge):  # before any of them is looked at
        await encode(pipeline, inference, RawItems([b"no picture"] * 33))
    with pytest.raises(DeadlineExceeded):
        await encode(pipeline, Inference(inference.model, deadline=time.monotonic() - 1), RawItems(rows=x))
