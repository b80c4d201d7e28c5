"""A model of diffusers as it is served: pictures and latents of any size, alone and among others, whole and in tiles."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.spatial_latents import SpatialLatents
from service.engine.device import Device
from service.engine.errors import Overloaded, TooLarge
from service.formats.errors import BadInput, TooBig, Unusable
from service.formats.raw_items import RawItems
from service.inference.kinds import size_limits
from service.inference.kinds.size_limits import SizeLimits
from service.inference.pipeline import Pipeline
from service.operations import shaped
from tests.autoencoders import CHANNELS, FACTOR
from tests.service.inference.shaped_requests import decode, encode, inference, kind_of, latents, noise, png

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-4}


@pytest.mark.parametrize("size", [(16, 16), (4, 4), (24, 40), (64, 8)])
async def test_it_answers_as_diffusers_does(kl_pipeline: Pipeline, original: Any, size: tuple[int, int]) -> None:
    x, z = noise(3, 3, *size), latents(3, size[0] // FACTOR, size[1] // FACTOR)
    work = inference(kl_pipeline)
    found = await shaped.encode(kl_pipeline, work, RawItems(rows=x))
    assert work.size == (None if size == (16, 16) else size)
    pixels = await decode(kl_pipeline, z)
    with torch.inference_mode():
        wanted = original.encode(2 * torch.from_numpy(x) - 1).latent_dist
        sample = original.decode(torch.from_numpy(z)).sample.numpy()
    assert found.mu.shape == z.shape
    np.testing.assert_allclose(found.mu, wanted.mean, **CLOSE)
    np.testing.assert_allclose(found.sigma, wanted.std, **CLOSE)
    np.testing.assert_allclose(found.logvar, wanted.logvar, **CLOSE)
    assert pixels.shape == (3, *size, 3)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(2 * pixels.transpose(0, 3, 1, 2) - 1, sample, **CLOSE)


@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
async def test_an_answer_does_not_depend_on_others(kl_pipeline: Pipeline, size: tuple[int, int]) -> None:
    """Neither on those of the same request nor on other requests that share its batches, nor on their sizes."""
    x, z = noise(16, 3, *size), latents(16, size[0] // FACTOR, size[1] // FACTOR)
    alone = [await encode(kl_pipeline, one[None]) for one in x], [await decode(kl_pipeline, one[None]) for one in z]
    together = await encode(kl_pipeline, x), await decode(kl_pipeline, z)
    np.testing.assert_array_equal(np.concatenate([one.mu for one in alone[0]]), together[0].mu)
    np.testing.assert_array_equal(np.concatenate([one.sigma for one in alone[0]]), together[0].sigma)
    np.testing.assert_array_equal(np.concatenate(alone[1]), together[1])
    others = [decode(kl_pipeline, latents(2, 4, 4)), decode(kl_pipeline, latents(2, 3, 5))]
    mixed = await asyncio.gather(*(decode(kl_pipeline, z[i : i + 3]) for i in range(0, 15, 3)), *others)
    np.testing.assert_array_equal(np.concatenate(mixed[:5]), together[1][:15])


async def test_bytes_and_floats_are_the_same(kl_pipeline: Pipeline) -> None:
    for size in ((16, 16), (12, 20)):
        x = np.random.default_rng(0).integers(0, 256, (2, 3, *size), np.uint8)
        floats = x.astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal((await encode(kl_pipeline, x)).mu, (await encode(kl_pipeline, floats)).mu)


@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
async def test_arrays_are_inverted_if_a_request_asks_for_it(kl_pipeline: Pipeline, size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 3, *size), np.uint8)
    work = inference(kl_pipeline)
    work.invert = "yes"
    found = await shaped.encode(kl_pipeline, work, RawItems(rows=x))
    np.testing.assert_array_equal(found.mu, (await encode(kl_pipeline, 255 - x)).mu)


async def test_picture_files_keep_their_size(kl_pipeline: Pipeline) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    work = inference(kl_pipeline)
    found = await shaped.encode(kl_pipeline, work, RawItems([png(pixels), png(pixels[:, ::-1])]))
    assert (work.size, found.mu.shape, work.warnings.found) == ((24, 40), (2, CHANNELS, 6, 10), [])
    rows = np.stack([pixels, pixels[:, ::-1]]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found.mu, (await encode(kl_pipeline, np.ascontiguousarray(rows))).mu)


@pytest.mark.parametrize("size", [(27, 42), (301, 275)], ids=["decoded here", "decoded by a process"])
async def test_the_middle_is_cut_out_with_a_warning(kl_pipeline: Pipeline, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    height, width = size[0] // FACTOR * FACTOR, size[1] // FACTOR * FACTOR
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    work, seen = inference(kl_pipeline), list[NDArray[Any]]()
    work.any_size = True
    await kl_pipeline.encode(RawItems([png(pixels)]), work, seen)
    np.testing.assert_array_equal(seen[0][0].transpose(1, 2, 0), pixels[top : top + height, left : left + width])
    ((item, code, detail),) = work.warnings.found
    assert (item, code) == (0, "cut")
    assert detail == f"the middle, {height} x {width} pixels, was cut out of {size[0]} x {size[1]} (height x width)"


async def test_pictures_of_a_request_have_one_size(kl_pipeline: Pipeline) -> None:
    files = [png(np.zeros((h, 16, 3), np.uint8)) for h in (16, 17, 24)]
    with pytest.raises(Unusable, match=r"24 x 16 pixels .* the first of the request has 16 x 16") as caught:
        await shaped.encode(kl_pipeline, inference(kl_pipeline), RawItems(files))
    assert caught.value.item == 2


async def test_what_is_too_small_or_no_multiple(kl_pipeline: Pipeline) -> None:
    with pytest.raises(Unusable, match=r"3 x 40 pixels .* needs at least 4 x 4; enlarge it"):
        await shaped.encode(kl_pipeline, inference(kl_pipeline), RawItems([png(np.zeros((3, 40, 3), np.uint8))], alone=True))
    with pytest.raises(Unusable, match=r"10 x 16 pixels .* each side must be a multiple of 4"):
        await encode(kl_pipeline, noise(1, 3, 10, 16))
    for shape in ((1, 3, 4, 4), (1, CHANNELS, 0, 4), (1, 64)):
        with pytest.raises(Unusable, match=r"have the shape \(N, 4, h, w\), not"):
            await decode(kl_pipeline, np.zeros(shape, np.float32))


async def test_other_operations_take_the_own_size_only(kl_pipeline: Pipeline) -> None:
    with pytest.raises(Unusable, match=r"24 x 16 pixels .* here the model takes 16 x 16 only; resize it"):
        await kl_pipeline.encode(RawItems([png(np.zeros((24, 16, 3), np.uint8))]), inference(kl_pipeline))
    with pytest.raises(Unusable, match=r"24 x 16 pixels .* here the model takes 16 x 16 only; resize them"):
        await kl_pipeline.encode(RawItems(rows=noise(1, 3, 24, 16)), inference(kl_pipeline))
    assert (await kl_pipeline.encode(RawItems(rows=noise(1, 3, 16, 16)), inference(kl_pipeline))).shape == (1, 3, 64)


async def test_large_pictures_are_computed_in_tiles(
    kl_pipeline: Pipeline, original: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles know only of themselves, so the result is near that of the whole picture, and not equal to it."""
    x, z = noise(2, 3, 72, 40), latents(2, 18, 10)
    whole = await encode(kl_pipeline, x), await decode(kl_pipeline, z)
    monkeypatch.setattr(size_limits, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(size_limits, "TILE", 32)
    tiled = await encode(kl_pipeline, x), await decode(kl_pipeline, z)
    assert {"encode_3x32x32", "decode_4x8x8"} <= kind_of(kl_pipeline).all_lanes.keys()
    for found, wanted in ((tiled[0].mu, whole[0].mu), (tiled[0].logvar, whole[0].logvar), (tiled[1], whole[1])):
        assert found.shape == wanted.shape
        assert 0 < np.sqrt(np.square(found - wanted).mean()) < 0.7 * wanted.std()
    np.testing.assert_allclose(tiled[0].sigma, np.exp(tiled[0].logvar / 2), rtol=1e-6)
    kind = kind_of(kl_pipeline)
    lanes = [lane for name, lane in kind.sized.lanes.items() if name in ("encode_3x32x32", "decode_4x8x8")]
    assert all(lane.stats.rows == 2 * 3 * 2 for lane in lanes)
    for lane in lanes:
        monkeypatch.setattr(lane, "max_rows", 4)  # of the 6 tiles of a picture
    alone = await encode(kl_pipeline, x[1:]), await decode(kl_pipeline, z[1:])
    np.testing.assert_array_equal(alone[0].mu[0], tiled[0].mu[1])
    np.testing.assert_array_equal(alone[1][0], tiled[1][1])
    with torch.inference_mode():  # the upper left corner belongs to one tile alone
        corner = original.decode(torch.from_numpy(z[:1, :, :8, :8])).sample.numpy()
    np.testing.assert_allclose(2 * tiled[1][0, :20, :8].transpose(2, 0, 1) - 1, corner[0, :, :20, :8], **CLOSE)


async def test_a_batch_gives_signs_of_life_after_each_layer(kl_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large picture takes minutes on a CPU, and one layer of it seconds."""
    beats = list[int]()
    monkeypatch.setattr(kl_pipeline.catalog.device, "beat", lambda: beats.append(threading.get_ident()))
    await decode(kl_pipeline, latents(1, 4, 4))
    own = len(beats)
    await decode(kl_pipeline, latents(1, 6, 10))
    assert own > 30
    assert len(beats) >= 2 * own
    await encode(kl_pipeline, noise(1, 3, 16, 16))
    assert len(beats) >= 2 * own + 30


async def test_bounds(kl_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_limits, "MAX_PIXELS", 600)
    monkeypatch.setattr(size_limits, "REQUEST_PIXELS", 1000)
    with pytest.raises(TooBig, match=r"640 pixels each \(1 of 32 x 20\), at most 600"):
        await decode(kl_pipeline, latents(1, 8, 5))
    with pytest.raises(TooBig, match=r"1600 pixels all together \(4 of 20 x 20\), at most 1000"):
        await encode(kl_pipeline, noise(4, 3, 20, 20))
    files = [png(np.zeros((20, 20, 3), np.uint8))] * 3
    with pytest.raises(TooBig, match="at most 600 are allowed in a picture and 1000 in a request") as caught:
        await shaped.encode(kl_pipeline, inference(kl_pipeline), RawItems(files))
    assert caught.value.item == 2
    monkeypatch.setattr(size_limits, "WAITING_PIXELS", 1000)
    both = await asyncio.gather(
        decode(kl_pipeline, latents(2, 5, 5)), decode(kl_pipeline, latents(2, 5, 5)), return_exceptions=True
    )
    assert [type(one) for one in both] == [np.ndarray, Overloaded]
    assert "pictures with 800 pixels are waiting" in str(both[1])
    assert (await decode(kl_pipeline, latents(2, 5, 5))).shape == (2, 20, 20, 3)  # nothing is left of the first two


async def test_pictures_count_while_others_are_decoded(kl_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise many requests of many pictures would fill the memory before one of them is refused."""
    monkeypatch.setattr(size_limits, "WAITING_PIXELS", 1000)
    files = RawItems([png(np.zeros((20, 20, 3), np.uint8)), b"never looked at"])
    with kind_of(kl_pipeline)._admission() as admit:
        admit(700)
        with pytest.raises(Overloaded, match="pictures with 700 pixels are waiting"):
            await shaped.encode(kl_pipeline, inference(kl_pipeline), files)
    with pytest.raises(BadInput):
        await shaped.encode(kl_pipeline, inference(kl_pipeline), files)


async def test_rows_of_a_request_are_bounded_by_pixels(kl_pipeline: Pipeline) -> None:
    sizes = SizeLimits(SpatialLatents(4, 8, 1.0))
    for name, side, batch, request in (("cpu", 512, 1, 64), ("cpu", 2048, 1, 4), ("cpu", 64, 4, 4096), ("cpu", 16, 8, 4096)):
        limits = sizes.of_queue(side, side, Device(name))
        assert (limits.max_batch, limits.max_rows, limits.max_queue_rows) == (batch, request, 2 * request)
    limits = sizes.of_queue(64, 64, Device("cuda"))
    assert (limits.max_batch, limits.max_rows) == (64, 4096)
    with pytest.raises(TooLarge):
        await decode(kl_pipeline, latents(33, 2, 2))


async def test_its_prior_is_that_of_its_configuration(kl_pipeline: Pipeline) -> None:
    """N(0, I), the prior of its training, is far from its latents; diffusion models know the scale of those."""
    priors = kl_pipeline.catalog.priors["kl"]
    name, mixture = priors.choose(None)
    assert (name, priors.names) == ("aggregate", ["aggregate", "standard"])
    assert mixture is not None
    eps = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    np.testing.assert_allclose(mixture.draw(eps, np.full(5, 0.5), 1.0), 0.25 + 2 * eps, rtol=1e-6)
