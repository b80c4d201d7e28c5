"""A model of diffusers as it is served: pictures and latents of any size, alone and among others, whole and in tiles."""

import asyncio
import io
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch
from numpy.typing import NDArray
from PIL import Image

from models.spatial_latents import SpatialLatents
from service.engine.device import Device, QueueLimits
from service.engine.errors import DeadlineExceeded, Overloaded, TooLarge
from service.formats.decoder_processes.dispatch import Decoders
from service.formats.errors import BadInput, TooBig, Unusable
from service.formats.raw_items import RawItems
from service.inference.catalog import Catalog
from service.inference.inference import Inference
from service.inference.kinds import size_limits, sized_lanes
from service.inference.kinds.autoencoder_kl import ServedAutoencoderKL
from service.inference.kinds.size_limits import SizeLimits
from service.inference.pipeline import Pipeline
from service.operations import shaped
from tests.autoencoders import CHANNELS, FACTOR, save_autoencoder

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-4}
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def original(directory: Path) -> Any:
    return save_autoencoder(directory / "kl", scaling_factor=0.5, shift_factor=0.25)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pipeline(directory: Path, original: Any) -> AsyncIterator[Pipeline]:
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch=16, max_queue_rows=64, max_rows=32))
    device.start()
    catalog = Catalog(device)
    await catalog.load(directory, (), "kl")
    pipeline = Pipeline(catalog, Decoders(10_000_000))
    yield pipeline
    await pipeline.close()
    await device.close()


def inference(pipeline: Pipeline, deadline: float | None = None) -> Inference:
    return Inference(pipeline.catalog.get(None), deadline)


def kind_of(pipeline: Pipeline) -> ServedAutoencoderKL:
    kind = pipeline.catalog.get(None).kind
    assert isinstance(kind, ServedAutoencoderKL)
    return kind


def noise(*shape: int) -> Floats:
    return np.random.default_rng(0).random(shape, np.float32)


def latents(count: int, height: int, width: int) -> Floats:
    return np.random.default_rng(1).normal(size=(count, CHANNELS, height, width)).astype(np.float32)


def png(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


async def encode(pipeline: Pipeline, x: NDArray[Any]) -> shaped.ShapedPosteriors:
    return await shaped.encode(pipeline, inference(pipeline), RawItems(rows=x))


async def decode(pipeline: Pipeline, z: Floats) -> Floats:
    return await shaped.decode(pipeline, inference(pipeline), z)


@pytest.mark.parametrize("size", [(16, 16), (4, 4), (24, 40), (64, 8)])
async def test_it_answers_as_diffusers_does(pipeline: Pipeline, original: Any, size: tuple[int, int]) -> None:
    x, z = noise(3, 3, *size), latents(3, size[0] // FACTOR, size[1] // FACTOR)
    work = inference(pipeline)
    found = await shaped.encode(pipeline, work, RawItems(rows=x))
    assert work.size == (None if size == (16, 16) else size)
    pixels = await decode(pipeline, z)
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
async def test_an_answer_does_not_depend_on_others(pipeline: Pipeline, size: tuple[int, int]) -> None:
    """Neither on those of the same request nor on other requests that share its batches, nor on their sizes."""
    x, z = noise(16, 3, *size), latents(16, size[0] // FACTOR, size[1] // FACTOR)
    alone = [await encode(pipeline, one[None]) for one in x], [await decode(pipeline, one[None]) for one in z]
    together = await encode(pipeline, x), await decode(pipeline, z)
    np.testing.assert_array_equal(np.concatenate([one.mu for one in alone[0]]), together[0].mu)
    np.testing.assert_array_equal(np.concatenate([one.sigma for one in alone[0]]), together[0].sigma)
    np.testing.assert_array_equal(np.concatenate(alone[1]), together[1])
    others = [decode(pipeline, latents(2, 4, 4)), decode(pipeline, latents(2, 3, 5))]
    mixed = await asyncio.gather(*(decode(pipeline, z[i : i + 3]) for i in range(0, 15, 3)), *others)
    np.testing.assert_array_equal(np.concatenate(mixed[:5]), together[1][:15])


async def test_bytes_and_floats_are_the_same(pipeline: Pipeline) -> None:
    for size in ((16, 16), (12, 20)):
        x = np.random.default_rng(0).integers(0, 256, (2, 3, *size), np.uint8)
        floats = x.astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal((await encode(pipeline, x)).mu, (await encode(pipeline, floats)).mu)


@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
async def test_arrays_are_inverted_if_a_request_asks_for_it(pipeline: Pipeline, size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 3, *size), np.uint8)
    work = inference(pipeline)
    work.invert = "yes"
    found = await shaped.encode(pipeline, work, RawItems(rows=x))
    np.testing.assert_array_equal(found.mu, (await encode(pipeline, 255 - x)).mu)


async def test_picture_files_keep_their_size(pipeline: Pipeline) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    work = inference(pipeline)
    found = await shaped.encode(pipeline, work, RawItems([png(pixels), png(pixels[:, ::-1])]))
    assert (work.size, found.mu.shape, work.warnings.found) == ((24, 40), (2, CHANNELS, 6, 10), [])
    rows = np.stack([pixels, pixels[:, ::-1]]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found.mu, (await encode(pipeline, np.ascontiguousarray(rows))).mu)


@pytest.mark.parametrize("size", [(27, 42), (301, 275)], ids=["decoded here", "decoded by a process"])
async def test_the_middle_is_cut_out_with_a_warning(pipeline: Pipeline, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    height, width = size[0] // FACTOR * FACTOR, size[1] // FACTOR * FACTOR
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    work, seen = inference(pipeline), list[NDArray[Any]]()
    work.any_size = True
    await pipeline.encode(RawItems([png(pixels)]), work, seen)
    np.testing.assert_array_equal(seen[0][0].transpose(1, 2, 0), pixels[top : top + height, left : left + width])
    ((item, code, detail),) = work.warnings.found
    assert (item, code) == (0, "cut")
    assert detail == f"the middle, {height} x {width} pixels, was cut out of {size[0]} x {size[1]} (height x width)"


async def test_pictures_of_a_request_have_one_size(pipeline: Pipeline) -> None:
    files = [png(np.zeros((h, 16, 3), np.uint8)) for h in (16, 17, 24)]
    with pytest.raises(Unusable, match=r"24 x 16 pixels .* the first of the request has 16 x 16") as caught:
        await shaped.encode(pipeline, inference(pipeline), RawItems(files))
    assert caught.value.item == 2


async def test_what_is_too_small_or_no_multiple(pipeline: Pipeline) -> None:
    with pytest.raises(Unusable, match=r"3 x 40 pixels .* needs at least 4 x 4; enlarge it"):
        await shaped.encode(pipeline, inference(pipeline), RawItems([png(np.zeros((3, 40, 3), np.uint8))], alone=True))
    with pytest.raises(Unusable, match=r"10 x 16 pixels .* each side must be a multiple of 4"):
        await encode(pipeline, noise(1, 3, 10, 16))
    for shape in ((1, 3, 4, 4), (1, CHANNELS, 0, 4), (1, 64)):
        with pytest.raises(Unusable, match=r"have the shape \(N, 4, h, w\), not"):
            await decode(pipeline, np.zeros(shape, np.float32))


async def test_other_operations_take_the_own_size_only(pipeline: Pipeline) -> None:
    with pytest.raises(Unusable, match=r"24 x 16 pixels .* here the model takes 16 x 16 only; resize it"):
        await pipeline.encode(RawItems([png(np.zeros((24, 16, 3), np.uint8))]), inference(pipeline))
    with pytest.raises(Unusable, match=r"24 x 16 pixels .* here the model takes 16 x 16 only; resize them"):
        await pipeline.encode(RawItems(rows=noise(1, 3, 24, 16)), inference(pipeline))
    assert (await pipeline.encode(RawItems(rows=noise(1, 3, 16, 16)), inference(pipeline))).shape == (1, 3, 64)


async def test_large_pictures_are_computed_in_tiles(
    pipeline: Pipeline, original: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles know only of themselves, so the result is near that of the whole picture, and not equal to it."""
    x, z = noise(2, 3, 72, 40), latents(2, 18, 10)
    whole = await encode(pipeline, x), await decode(pipeline, z)
    monkeypatch.setattr(size_limits, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(size_limits, "TILE", 32)
    tiled = await encode(pipeline, x), await decode(pipeline, z)
    assert {"encode_3x32x32", "decode_4x8x8"} <= kind_of(pipeline).all_lanes.keys()
    for found, wanted in ((tiled[0].mu, whole[0].mu), (tiled[0].logvar, whole[0].logvar), (tiled[1], whole[1])):
        assert found.shape == wanted.shape
        assert 0 < np.sqrt(np.square(found - wanted).mean()) < 0.7 * wanted.std()
    np.testing.assert_allclose(tiled[0].sigma, np.exp(tiled[0].logvar / 2), rtol=1e-6)
    kind = kind_of(pipeline)
    lanes = [lane for name, lane in kind.sized.lanes.items() if name in ("encode_3x32x32", "decode_4x8x8")]
    assert all(lane.stats.rows == 2 * 3 * 2 for lane in lanes)
    for lane in lanes:
        monkeypatch.setattr(lane, "max_rows", 4)  # of the 6 tiles of a picture
    alone = await encode(pipeline, x[1:]), await decode(pipeline, z[1:])
    np.testing.assert_array_equal(alone[0].mu[0], tiled[0].mu[1])
    np.testing.assert_array_equal(alone[1][0], tiled[1][1])
    with torch.inference_mode():  # the upper left corner belongs to one tile alone
        corner = original.decode(torch.from_numpy(z[:1, :, :8, :8])).sample.numpy()
    np.testing.assert_allclose(2 * tiled[1][0, :20, :8].transpose(2, 0, 1) - 1, corner[0, :, :20, :8], **CLOSE)


async def test_a_batch_gives_signs_of_life_after_each_layer(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large picture takes minutes on a CPU, and one layer of it seconds."""
    beats = list[int]()
    monkeypatch.setattr(pipeline.catalog.device, "beat", lambda: beats.append(threading.get_ident()))
    await decode(pipeline, latents(1, 4, 4))
    own = len(beats)
    await decode(pipeline, latents(1, 6, 10))
    assert own > 30
    assert len(beats) >= 2 * own
    await encode(pipeline, noise(1, 3, 16, 16))
    assert len(beats) >= 2 * own + 30


async def test_bounds(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_limits, "MAX_PIXELS", 600)
    monkeypatch.setattr(size_limits, "REQUEST_PIXELS", 1000)
    with pytest.raises(TooBig, match=r"640 pixels each \(1 of 32 x 20\), at most 600"):
        await decode(pipeline, latents(1, 8, 5))
    with pytest.raises(TooBig, match=r"1600 pixels all together \(4 of 20 x 20\), at most 1000"):
        await encode(pipeline, noise(4, 3, 20, 20))
    files = [png(np.zeros((20, 20, 3), np.uint8))] * 3
    with pytest.raises(TooBig, match="at most 600 are allowed in a picture and 1000 in a request") as caught:
        await shaped.encode(pipeline, inference(pipeline), RawItems(files))
    assert caught.value.item == 2
    monkeypatch.setattr(size_limits, "WAITING_PIXELS", 1000)
    both = await asyncio.gather(decode(pipeline, latents(2, 5, 5)), decode(pipeline, latents(2, 5, 5)), return_exceptions=True)
    assert [type(one) for one in both] == [np.ndarray, Overloaded]
    assert "pictures with 800 pixels are waiting" in str(both[1])
    assert (await decode(pipeline, latents(2, 5, 5))).shape == (2, 20, 20, 3)  # nothing is left of the first two


async def test_pictures_count_while_others_are_decoded(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise many requests of many pictures would fill the memory before one of them is refused."""
    monkeypatch.setattr(size_limits, "WAITING_PIXELS", 1000)
    files = RawItems([png(np.zeros((20, 20, 3), np.uint8)), b"never looked at"])
    with kind_of(pipeline)._admission() as admit:
        admit(700)
        with pytest.raises(Overloaded, match="pictures with 700 pixels are waiting"):
            await shaped.encode(pipeline, inference(pipeline), files)
    with pytest.raises(BadInput):
        await shaped.encode(pipeline, inference(pipeline), files)


async def test_rows_of_a_request_are_bounded_by_pixels(pipeline: Pipeline) -> None:
    sizes = SizeLimits(SpatialLatents(4, 8, 1.0))
    for name, side, batch, request in (("cpu", 512, 1, 64), ("cpu", 2048, 1, 4), ("cpu", 64, 4, 4096), ("cpu", 16, 8, 4096)):
        limits = sizes.of_queue(side, side, Device(name))
        assert (limits.max_batch, limits.max_rows, limits.max_queue_rows) == (batch, request, 2 * request)
    limits = sizes.of_queue(64, 64, Device("cuda"))
    assert (limits.max_batch, limits.max_rows) == (64, 4096)
    with pytest.raises(TooLarge):
        await decode(pipeline, latents(33, 2, 2))


async def test_few_lanes_are_kept(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sized_lanes, "MOST_LANES", 3)
    monkeypatch.setattr(kind_of(pipeline).sized, "_made", OrderedDict())
    told = list[str]()
    monkeypatch.setattr(kind_of(pipeline), "tell_of", lambda name, lane: told.append(name))
    for height in (1, 2, 7, 1, 9):
        await decode(pipeline, latents(1, height, 5))
    sized = [name for name in kind_of(pipeline).all_lanes if "x" in name]
    assert sized == ["decode_4x7x5", "decode_4x1x5", "decode_4x9x5"]
    assert told == ["decode_4x1x5", "decode_4x2x5", "decode_4x7x5", "decode_4x9x5"]
    first = await decode(pipeline, latents(1, 2, 5))  # made once more
    np.testing.assert_array_equal(first, await decode(pipeline, latents(1, 2, 5)))


async def test_a_lane_in_use_is_kept(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sized_lanes, "MOST_LANES", 1)
    sizes = [(1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1)]
    answers = await asyncio.gather(*(decode(pipeline, latents(1, *size)) for size in sizes for _ in range(3)))
    assert [one.shape[1:3] for one in answers[::3]] == [(FACTOR * h, FACTOR * w) for h, w in sizes]
    assert len(kind_of(pipeline).sized.lanes) == 1


async def test_many_sizes_do_not_drive_out_one_that_is_used_often(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one caller with many sizes would make all others wait for theirs to be prepared again and again."""
    monkeypatch.setattr(sized_lanes, "MOST_LANES", 3)
    sized = kind_of(pipeline).sized
    monkeypatch.setattr(sized, "_made", OrderedDict())
    monkeypatch.setattr(sized, "_uses", 0)
    for _ in range(3):
        await decode(pipeline, latents(1, 3, 7))
    kept = sized.lanes["decode_4x3x7"]
    for width in range(1, 7):
        await decode(pipeline, latents(1, 13, width))
        assert len(sized.lanes) <= 3
    assert sized.lanes["decode_4x3x7"] is kept
    monkeypatch.setattr(sized_lanes, "HALVED_AFTER", 1)
    for width in range(1, 7):  # what was used often long ago does not stay for ever
        await decode(pipeline, latents(1, 13, width))
    assert "decode_4x3x7" not in sized.lanes


async def test_a_size_that_nobody_waits_for_any_more_is_not_prepared(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    sized, told = kind_of(pipeline).sized, list[str]()
    monkeypatch.setattr(kind_of(pipeline), "tell_of", lambda name, lane: told.append(name))
    waiting = [asyncio.ensure_future(decode(pipeline, latents(1, 14, width))) for width in (1, 2, 3)]
    while len(sized._wanted) < 3:  # noqa: ASYNC110  they are on their way
        await asyncio.sleep(0)
    waiting[1].cancel()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(one, np.ndarray) for one in found] == [True, False, True]
    assert told == ["decode_4x14x1", "decode_4x14x3"]
    assert (await decode(pipeline, latents(1, 14, 2))).shape == (1, 56, 8, 3)  # it is prepared for those who come later


async def test_a_size_that_is_being_prepared(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is prepared once for all who want it; a deadline ends waiting, and too many sizes are refused."""
    monkeypatch.setattr(sized_lanes, "MOST_WAITING", 2)
    late = inference(pipeline, time.monotonic() - 1)
    found = await asyncio.gather(
        shaped.decode(pipeline, late, latents(1, 11, 1)),
        decode(pipeline, latents(1, 11, 1)),
        decode(pipeline, latents(1, 12, 1)),
        decode(pipeline, latents(1, 13, 1)),
        return_exceptions=True,
    )
    assert isinstance(found[0], DeadlineExceeded)
    assert [isinstance(one, np.ndarray) for one in found] == [False, True, True, False]
    assert isinstance(found[3], Overloaded)
    assert "2 sizes of pictures are being prepared" in str(found[3])


async def test_its_prior_is_that_of_its_configuration(pipeline: Pipeline) -> None:
    """N(0, I), the prior of its training, is far from its latents; diffusion models know the scale of those."""
    priors = pipeline.catalog.priors["kl"]
    name, mixture = priors.choose(None)
    assert (name, priors.names) == ("aggregate", ["aggregate", "standard"])
    assert mixture is not None
    eps = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    np.testing.assert_allclose(mixture.draw(eps, np.full(5, 0.5), 1.0), 0.25 + 2 * eps, rtol=1e-6)
