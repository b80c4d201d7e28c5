"""Paths between pictures and latents, without HTTP."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.errors import TooLarge
from service.formats import png
from service.formats.errors import Undecodable
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.latents import interpolation as paths
from service.operations.encode import encode
from service.operations.generate import decode
from service.operations.interpolate import interpolate
from service.operations.items import Entries
from service.operations.service import Service
from service.rest.item_bodies import blank

Z = np.array([[0.5, -1, 2]], np.float32)


def points(*found: NDArray[np.float32] | bytes) -> Entries:
    """Points that are latents (1, 3), or picture files."""
    entries = blank([None] * len(found), [one if isinstance(one, bytes) else None for one in found], 3)
    for i, one in enumerate(found):
        if not isinstance(one, bytes):
            entries.mu[i] = one
    return entries


@pytest.mark.parametrize("method", list(paths.METHODS))
async def test_frames_are_the_pictures_of_a_path(service: Service, inference: Inference, method: str) -> None:
    found = await interpolate(service.pipeline, service.store, inference, points(Z, -2 * Z), 5, method)
    np.testing.assert_array_equal(found.z, paths.path(Z[0], -2 * Z[0], 5, method))
    np.testing.assert_array_equal(found.decoded, await decode(service.pipeline, inference, found.z))


async def test_the_end_that_is_a_picture_is_its_mean(service: Service, inference: Inference, x: NDArray[np.uint8]) -> None:
    first, second = (png.write(one.transpose(1, 2, 0)) for one in x[:2])
    mu = (await encode(service.pipeline, inference, RawItems(rows=x[:2]))).mu
    for ends, expected in (((first, second), mu), ((Z, second), [Z[0], mu[1]]), ((first, Z), [mu[0], Z[0]])):
        found = await interpolate(service.pipeline, service.store, inference, points(*ends), 3)
        np.testing.assert_array_equal(found.z[[0, 2]], expected)


async def test_errors_are_those_of_the_domain(service: Service, inference: Inference) -> None:
    with pytest.raises(TooLarge):
        await interpolate(service.pipeline, service.store, inference, points(Z, Z), 1 << 40)
    with pytest.raises(Undecodable) as caught:
        await interpolate(service.pipeline, service.store, inference, points(Z, b"\x89PNG, but no more"), 3)
    assert caught.value.item == 1  # the end, though it is the first picture
