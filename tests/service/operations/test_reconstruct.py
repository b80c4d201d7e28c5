"""Pictures as the model sees them, without HTTP."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.formats import png
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats, ServedModel
from service.operations.encode import draw_from_posterior, encode
from service.operations.generate import decode
from service.operations.reconstruct import reconstruct


async def test_the_mean_is_decoded_and_the_originals_are_kept(
    pipeline: Pipeline, inference: Inference, x: NDArray[np.uint8]
) -> None:
    found = await reconstruct(pipeline, inference, RawItems([png.write(one.transpose(1, 2, 0)) for one in x]))
    mu = (await encode(pipeline, inference, RawItems(rows=x))).mu
    np.testing.assert_array_equal(found.decoded, await decode(pipeline, inference, np.ascontiguousarray(mu)))
    np.testing.assert_array_equal(np.concatenate(found.originals), x)
    assert found.seed is None


async def test_a_seeded_draw_may_be_decoded_instead(pipeline: Pipeline, inference: Inference, x: NDArray[np.uint8]) -> None:
    found = await reconstruct(pipeline, inference, RawItems(rows=x), "sample", seed=5)
    posteriors = await encode(pipeline, inference, RawItems(rows=x))
    _, z = draw_from_posterior(posteriors.mu, posteriors.sigma, 5)
    assert found.seed == 5
    np.testing.assert_array_equal(found.decoded, await decode(pipeline, inference, z))
    assert (await reconstruct(pipeline, inference, RawItems(rows=x), "sample")).seed is not None


async def test_whoever_wants_to_know_is_told(
    pipeline: Pipeline, inference: Inference, x: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[ServedModel, Floats, list[NDArray[Any]]]] = []
    monkeypatch.setattr(pipeline, "tell_of_reconstructions", lambda *what: told.append(what))
    found = await reconstruct(pipeline, inference, RawItems(rows=x))
    ((model, means, originals),) = told
    assert model is inference.model
    assert means is found.decoded
    assert originals is found.originals
