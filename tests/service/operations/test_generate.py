"""Latents, given or drawn, to pictures, without HTTP."""

from pathlib import Path

import numpy as np
import pytest
import torch

import models
from service.engine.errors import Overloaded, TooLarge
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.priors import NoSuchLabel, NoSuchPrior
from service.latents import noise
from service.operations.generate import decode, sample


async def test_pictures_of_latents_are_the_means_of_the_likelihood(
    pipeline: Pipeline, inference: Inference, weights: Path
) -> None:
    z = noise.standard_normal(1, 4, 3)
    pixels = await decode(pipeline, inference, z)
    mean = models.load(weights / "grey").decode(torch.from_numpy(z)).mean
    assert pixels.shape == (4, 8, 8, 1)
    np.testing.assert_allclose(pixels, mean.permute(0, 2, 3, 1).detach().numpy(), rtol=1e-4, atol=1e-5)


async def test_a_sample_is_the_picture_of_the_noise_of_its_seed(pipeline: Pipeline, inference: Inference) -> None:
    found = await sample(pipeline, inference, 4, seed=9, temperature=0.5, prior="standard")
    assert (found.seed, found.prior) == (9, "standard")
    np.testing.assert_array_equal(found.z, noise.standard_normal(9, 4, 3) * np.float32(0.5))
    np.testing.assert_array_equal(found.decoded, await decode(pipeline, inference, found.z))


async def test_a_seed_that_is_drawn_draws_the_same_again(pipeline: Pipeline, inference: Inference) -> None:
    found = await sample(pipeline, inference, 2)
    again = await sample(pipeline, inference, 2, found.seed)
    np.testing.assert_array_equal(found.z, again.z)
    np.testing.assert_array_equal(found.decoded, again.decoded)


async def test_a_mixture_is_drawn_from_where_the_model_has_one(pipeline: Pipeline, inference: Inference) -> None:
    found = await sample(pipeline, inference, 30, seed=3, temperature=0.0, prior="aggregate")
    assert found.prior == "aggregate"
    assert {tuple(row) for row in found.z.tolist()} == {(1, 2, 3), (-4, -5, -6)}
    unnamed = await sample(pipeline, inference, 30, seed=3, temperature=0.0)
    assert unnamed.prior == "aggregate"
    np.testing.assert_array_equal(unnamed.z, found.z)
    assert (await sample(pipeline, Inference(pipeline.catalog.get("colour")), 1)).prior == "standard"
    with pytest.raises(NoSuchPrior, match=r"'colour' has no fitted prior \(prior=aggregate\)"):
        await sample(pipeline, Inference(pipeline.catalog.get("colour")), 1, prior="aggregate")


async def test_a_label_draws_from_its_components_with_the_noise_of_the_seed(pipeline: Pipeline, inference: Inference) -> None:
    still = await sample(pipeline, inference, 30, seed=3, temperature=0.0, label="7")
    assert (still.prior, {tuple(row) for row in still.z.tolist()}) == ("aggregate", {(-4, -5, -6)})
    many, few = [await sample(pipeline, inference, n, seed=3, label="cat") for n in (16, 4)]
    np.testing.assert_array_equal(many.z[:4], few.z)
    np.testing.assert_allclose(many.z, [1, 2, 3] + 0.1 * noise.standard_normal(3, 16, 3), rtol=1e-6)
    with pytest.raises(NoSuchLabel, match="Choose 7, cat"):
        await sample(pipeline, inference, 1, label="8")


async def test_rows_are_admitted_before_noise_is_drawn(pipeline: Pipeline, inference: Inference) -> None:
    with pytest.raises(TooLarge):
        await sample(pipeline, inference, 1 << 40)
    lane = inference.model.decode
    with lane.reserve(32), lane.reserve(32), pytest.raises(Overloaded):
        await sample(pipeline, inference, 1)
    assert lane.queued_rows == 0
