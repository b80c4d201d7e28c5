"""The way from pictures to posteriors: pictures decoded slice by slice against rows that are admitted already."""

import asyncio
import base64
import io
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.engine.batcher import Batcher
from service.engine.errors import DeadlineExceeded, Overloaded, TooLarge
from service.formats import base64_text, png
from service.formats.errors import BadInput, TooBig, Undecodable, Unsupported, Unusable
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.kinds.picture_encoding import SLICE
from service.inference.pipeline import Pipeline
from tests.live.costly_pictures import noisy, saved

# pictures of a request that is decoded in four slices
COUNT = 3 * SLICE + 5


def rows(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)


def pngs(count: int) -> list[bytes]:
    return [png.write(row.transpose(1, 2, 0)) for row in rows(count)]


@pytest.fixture
def inference(pipeline: Pipeline) -> Inference:
    return Inference(pipeline.catalog.get("grey"))


def nothing_waits(inference: Inference) -> bool:
    return inference.model.encode.queued_rows == 0


@pytest.mark.parametrize("count", [1, 2, SLICE, SLICE + 1, COUNT])
async def test_pictures_bytes_and_base64_have_the_same_posteriors_in_order(
    pipeline: Pipeline, inference: Inference, count: int
) -> None:
    expected = await pipeline.encode(RawItems(rows=rows(count)), inference)
    encoded = pngs(count)
    texts = [base64.b64encode(png).decode() for png in encoded]
    originals: list[NDArray[Any]] = []
    np.testing.assert_array_equal(await pipeline.encode(RawItems(encoded), inference, originals), expected)
    np.testing.assert_array_equal(await pipeline.encode(RawItems(texts), inference), expected)
    np.testing.assert_array_equal(np.concatenate(originals), rows(count))
    assert nothing_waits(inference)


@pytest.mark.parametrize("pictures", [RawItems(rows=rows(3)), RawItems(pngs(1)), RawItems(pngs(COUNT))])
async def test_a_request_knows_how_long_it_waited_and_was_computed(
    pipeline: Pipeline, inference: Inference, pictures: RawItems
) -> None:
    assert (inference.timings.queue, inference.timings.compute) == (0, 0)
    await pipeline.encode(pictures, inference)
    first = inference.timings.compute
    assert first > 0
    assert inference.timings.queue > 0
    await pipeline.encode(pictures, inference)
    assert inference.timings.compute > first


async def test_float_rows_have_their_own_lane(pipeline: Pipeline, inference: Inference) -> None:
    floats = rows(3).astype(np.float32) / np.float32(255)
    originals: list[NDArray[Any]] = []
    answer = await pipeline.encode(RawItems(rows=floats), inference, originals)
    np.testing.assert_array_equal(answer, await pipeline.encode(RawItems(rows=rows(3)), inference))
    assert originals[0] is floats
    assert inference.model.lanes["encode_float"].stats.rows == 3


async def test_floats_have_the_range_of_the_model_as_pictures_have(pipeline: Pipeline, inference: Inference) -> None:
    spec = replace(inference.model.manifest.preprocessing, range=(-0.5, 4.0))
    object.__setattr__(inference.model, "manifest", replace(inference.model.manifest, preprocessing=spec))
    floats = np.random.default_rng(0).uniform(-0.5, 4, (3, 1, 8, 8)).astype(np.float32)
    floats[0, 0, 0, 0], floats[1], floats[2, 0, 0, 0] = 5, floats[1] / 5 + 0.125, np.nan
    originals: list[NDArray[Any]] = []
    answer = await pipeline.encode(RawItems(rows=floats), inference, originals)
    warnings = inference.warnings.found
    assert [(one.item, one.code) for one in warnings] == [(0, "clipped"), (1, "low_range"), (2, "clipped")]
    assert warnings[1].detail.endswith(
        "the model's pictures -0.5 to 4; send floats on the scale of the training data, or 8-bit pictures"
    )
    files, decoded = [], list[NDArray[Any]]()
    for picture in floats:
        file = io.BytesIO()
        Image.fromarray(picture[0]).save(file, "TIFF")
        files.append(file.getvalue())
    np.testing.assert_array_equal(await pipeline.encode(RawItems(files), inference, decoded), answer)
    np.testing.assert_array_equal(np.concatenate(decoded), originals[0])
    assert inference.warnings.found == warnings


@pytest.mark.parametrize("place", [0, SLICE - 1, SLICE, COUNT - 1])
@pytest.mark.parametrize(("bad", "error"), [(b"\x89PNG", Undecodable), ("!", Undecodable), (7, Unusable)])
async def test_one_bad_picture_fails_the_request_and_is_named(
    pipeline: Pipeline, inference: Inference, place: int, bad: Any, error: type[BadInput]
) -> None:
    encoded: list[Any] = pngs(COUNT)
    encoded[place] = bad
    with pytest.raises(error) as caught:
        await pipeline.encode(RawItems(encoded), inference)
    assert caught.value.item == place
    assert nothing_waits(inference)


async def test_base64_of_no_picture_says_so(pipeline: Pipeline, inference: Inference) -> None:
    for text in ("xx", "data:image/png;base64,xx"):
        for alone, item in ((True, None), (False, 0)):
            with pytest.raises(Unsupported, match="'xx' is valid base64, but what it decodes to is not a picture") as caught:
                await pipeline.encode(RawItems([text], alone=alone), inference)
            assert caught.value.item == item


async def test_of_a_request_that_has_failed_nothing_more_is_computed(
    pipeline: Pipeline, inference: Inference, busy: Callable[[Batcher], AbstractAsyncContextManager[None]]
) -> None:
    async with busy(pipeline.catalog.device._batcher):
        with pytest.raises(Undecodable, match=f"item {COUNT}: "):  # while the slices before it wait
            await pipeline.encode(RawItems([*pngs(COUNT), b"\x89PNG"]), inference)
        assert nothing_waits(inference)
    assert inference.model.encode.stats.rows == 0


@pytest.mark.parametrize("bad", [7, None, True, 1.5, ["AAAA"], {}])
async def test_a_lone_picture_that_is_no_text_is_named_too(pipeline: Pipeline, inference: Inference, bad: Any) -> None:
    with pytest.raises(Unusable, match="item 0: a picture must be a string"):
        await pipeline.encode(RawItems([bad]), inference)
    assert nothing_waits(inference)


async def test_too_many_pixels_are_refused_in_any_slice(pipeline: Pipeline, inference: Inference) -> None:
    huge = png.write(np.zeros((101, 100, 1), np.uint8))
    for encoded, item in (([huge], 0), ([*pngs(SLICE), huge], SLICE)):
        with pytest.raises(TooBig, match="10000") as caught:
            await pipeline.encode(RawItems(encoded), inference)
        assert caught.value.item == item


async def test_rows_are_admitted_before_a_picture_is_decoded(pipeline: Pipeline, inference: Inference) -> None:
    with pytest.raises(TooLarge):
        await pipeline.encode(RawItems(["!"] * (pipeline.max_items + 1)), inference)
    with inference.model.encode.reserve(pipeline.max_items), pytest.raises(Overloaded):
        await pipeline.encode(RawItems(["!"] * pipeline.max_items), inference)
    assert nothing_waits(inference)


async def test_a_deadline_holds_for_every_slice(pipeline: Pipeline, inference: Inference) -> None:
    late = Inference(inference.model, deadline=time.monotonic() - 1)
    for count in (1, COUNT):
        with pytest.raises(DeadlineExceeded):
            await pipeline.encode(RawItems(pngs(count)), late)
    assert nothing_waits(inference)
    assert inference.model.encode.stats.rows == 0


async def test_a_caller_that_leaves_while_pictures_are_decoded_leaves_nothing_behind(
    pipeline: Pipeline, inference: Inference
) -> None:
    task = asyncio.ensure_future(pipeline.encode(RawItems(pngs(COUNT)), inference))
    await asyncio.sleep(0)
    assert inference.model.encode.queued_rows == COUNT
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert nothing_waits(inference)
    assert (await pipeline.encode(RawItems(pngs(1)), inference)).shape == (1, 3, 3)


def test_pictures_know_how_many_they_are() -> None:
    assert [len(RawItems()), len(RawItems(["a", b"b"])), len(RawItems(rows=rows(3)))] == [0, 2, 3]


@pytest.mark.parametrize(
    "picture",
    [pngs(1)[0], saved("L", 9, 9, "JPEG"), saved("L", 9, 9, "GIF"), noisy(200, 200, "PNG")],
    ids=["plain", "quick", "for a decoder", "long"],
)
@pytest.mark.parametrize("beside", [[], pngs(1)], ids=["alone", "beside a plain one"])
async def test_base64_is_decoded_once(
    pipeline: Pipeline, inference: Inference, monkeypatch: pytest.MonkeyPatch, picture: bytes, beside: list[bytes]
) -> None:
    decode, seen = base64_text.base64_bytes, []

    def counted(text: object, item: int | None = None) -> bytes:
        seen.append(text)
        return decode(text, item)

    pipeline.decoders.max_pixels = 50_000
    monkeypatch.setattr(base64_text, "base64_bytes", counted)
    texts = [base64.b64encode(one).decode() for one in (*beside, picture)]
    await pipeline.encode(RawItems(texts), inference)
    assert seen == texts
