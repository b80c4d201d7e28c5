"""Paths between pictures and latents, without HTTP."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.errors import TooLarge
from service.formats import png
from service.formats.errors import Undecodable
from service.formats.pictures import Pictures
from service.inference.pipeline import Inference, Pipeline
from service.latents import interpolation as paths
from service.operations.encode import encode
from service.operations.generate import decode
from service.operations.interpolate import interpolate

Z = np.array([[0.5, -1, 2]], np.float32)


@pytest.mark.parametrize("method", list(paths.METHODS))
async def test_frames_are_the_pictures_of_a_path(pipeline: Pipeline, inference: Inference, method: str) -> None:
    found = await interpolate(pipeline, inference, Z, -2 * Z, 5, method)
    np.testing.assert_array_equal(found.z, paths.path(Z[0], -2 * Z[0], 5, method))
    np.testing.assert_array_equal(found.pixels, await decode(pipeline, inference, found.z))


async def test_the_end_that_is_a_picture_is_its_mean(
    pipeline: Pipeline, inference: Inference, x: NDArray[np.uint8], weights: Path
) -> None:
    first, second = (Pictures([png.write(one.transpose(1, 2, 0))]) for one in x[:2])
    mu = (await encode(pipeline, inference, Pictures(rows=x[:2]))).mu
    both = await interpolate(pipeline, inference, first, second, 2)
    np.testing.assert_array_equal(both.z, mu)
    np.testing.assert_array_equal((await interpolate(pipeline, inference, Z, second, 3)).z[[0, 2]], [Z[0], mu[1]])
    np.testing.assert_array_equal((await interpolate(pipeline, inference, first, Z, 3)).z[[0, 2]], [mu[0], Z[0]])


async def test_errors_are_those_of_the_domain(pipeline: Pipeline, inference: Inference) -> None:
    with pytest.raises(TooLarge):
        await interpolate(pipeline, inference, Z, Z, 1 << 40)
    with pytest.raises(Undecodable):
        await interpolate(pipeline, inference, Z, Pictures([b"\x89PNG, but no more"]), 3)
