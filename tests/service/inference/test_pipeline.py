"""A request's way through the engine: pictures decoded slice by slice against rows that are admitted already."""

import asyncio
import base64
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.batcher import Batcher
from service.engine.device import Device, QueueLimits
from service.engine.errors import DeadlineExceeded, Overloaded, TooLarge
from service.formats import base64_text, png
from service.formats.errors import BadInput, TooBig, Undecodable, Unusable
from service.formats.pictures import Pictures
from service.inference.catalog import Catalog
from service.inference.pipeline import INLINE_BYTES, SLICE, Engine, Request
from service.store import make_store
from tests.live.costly_pictures import noisy, saved

# pictures of a request that is decoded in four slices
COUNT = 3 * SLICE + 5


def rows(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)


def pngs(count: int) -> list[bytes]:
    return [png.write(row.transpose(1, 2, 0)) for row in rows(count)]


@pytest.fixture
async def engine(weights: Path, tmp_path: Path) -> AsyncIterator[Engine]:
    device = Device("cpu", threads=1, limits=QueueLimits(max_batch=16, max_queue_rows=150, max_rows=120))
    device.start()
    engine = Engine(Catalog(device), max_pixels=10_000, store=make_store(str(tmp_path / "latents.db"), 1 << 20))
    await engine.catalog.load(weights, ("grey",), "grey")
    yield engine
    await device.close()
    await engine.close()


@pytest.fixture
def request_(engine: Engine) -> Request:
    return Request(engine.catalog.get("grey"))


def nothing_waits(request: Request) -> bool:
    return request.model.encode.queued_rows == 0


@pytest.mark.parametrize("count", [1, 2, SLICE, SLICE + 1, COUNT])
async def test_pictures_bytes_and_base64_have_the_same_posteriors_in_order(
    engine: Engine, request_: Request, count: int
) -> None:
    expected = await engine.encode(Pictures(rows=rows(count)), request_)
    encoded = pngs(count)
    texts = [base64.b64encode(png).decode() for png in encoded]
    originals: list[NDArray[Any]] = []
    np.testing.assert_array_equal(await engine.encode(Pictures(encoded), request_, originals), expected)
    np.testing.assert_array_equal(await engine.encode(Pictures(texts), request_), expected)
    np.testing.assert_array_equal(np.concatenate(originals), rows(count))
    assert nothing_waits(request_)


@pytest.mark.parametrize("pictures", [Pictures(rows=rows(3)), Pictures(pngs(1)), Pictures(pngs(COUNT))])
async def test_a_request_knows_how_long_it_waited_and_was_computed(
    engine: Engine, request_: Request, pictures: Pictures
) -> None:
    assert (request_.timings.queue, request_.timings.compute) == (0, 0)
    await engine.encode(pictures, request_)
    first = request_.timings.compute
    assert first > 0
    assert request_.timings.queue > 0
    await engine.encode(pictures, request_)
    assert request_.timings.compute > first


async def test_float_rows_have_their_own_lane(engine: Engine, request_: Request) -> None:
    floats = rows(3).astype(np.float32) / np.float32(255)
    originals: list[NDArray[Any]] = []
    answer = await engine.encode(Pictures(rows=floats), request_, originals)
    np.testing.assert_array_equal(answer, await engine.encode(Pictures(rows=rows(3)), request_))
    assert originals[0] is floats
    assert request_.model.encode_float.stats.rows == 3


@pytest.mark.parametrize("place", [0, SLICE - 1, SLICE, COUNT - 1])
@pytest.mark.parametrize(("bad", "error"), [(b"\x89PNG", Undecodable), ("!", Undecodable), (7, Unusable)])
async def test_one_bad_picture_fails_the_request_and_is_named(
    engine: Engine, request_: Request, place: int, bad: Any, error: type[BadInput]
) -> None:
    encoded: list[Any] = pngs(COUNT)
    encoded[place] = bad
    with pytest.raises(error) as caught:
        await engine.encode(Pictures(encoded), request_)
    assert caught.value.item == place
    assert nothing_waits(request_)


async def test_of_a_request_that_has_failed_nothing_more_is_computed(
    engine: Engine, request_: Request, busy: Callable[[Batcher], AbstractAsyncContextManager[None]]
) -> None:
    async with busy(engine.catalog.device._batcher):
        with pytest.raises(Undecodable, match=f"item {COUNT}: "):  # while the slices before it wait
            await engine.encode(Pictures([*pngs(COUNT), b"\x89PNG"]), request_)
        assert nothing_waits(request_)
    assert request_.model.encode.stats.rows == 0


@pytest.mark.parametrize("bad", [7, None, True, 1.5, ["AAAA"], {}])
async def test_a_lone_picture_that_is_no_text_is_named_too(engine: Engine, request_: Request, bad: Any) -> None:
    with pytest.raises(Unusable, match="item 0: must be a string"):
        await engine.encode(Pictures([bad]), request_)
    assert nothing_waits(request_)


async def test_too_many_pixels_are_refused_in_any_slice(engine: Engine, request_: Request) -> None:
    huge = png.write(np.zeros((101, 100, 1), np.uint8))
    for encoded, item in (([huge], 0), ([*pngs(SLICE), huge], SLICE)):
        with pytest.raises(TooBig, match="10000") as caught:
            await engine.encode(Pictures(encoded), request_)
        assert caught.value.item == item


async def test_rows_are_admitted_before_a_picture_is_decoded(engine: Engine, request_: Request) -> None:
    with pytest.raises(TooLarge):
        await engine.encode(Pictures(["!"] * (engine.max_items + 1)), request_)
    with request_.model.encode.reserve(engine.max_items), pytest.raises(Overloaded):
        await engine.encode(Pictures(["!"] * engine.max_items), request_)
    assert nothing_waits(request_)


async def test_a_deadline_holds_for_every_slice(engine: Engine, request_: Request) -> None:
    late = Request(request_.model, deadline=time.monotonic() - 1)
    for count in (1, COUNT):
        with pytest.raises(DeadlineExceeded):
            await engine.encode(Pictures(pngs(count)), late)
    assert nothing_waits(request_)
    assert request_.model.encode.stats.rows == 0


async def test_a_caller_that_leaves_while_pictures_are_decoded_leaves_nothing_behind(
    engine: Engine, request_: Request
) -> None:
    task = asyncio.ensure_future(engine.encode(Pictures(pngs(COUNT)), request_))
    await asyncio.sleep(0)
    assert request_.model.encode.queued_rows == COUNT
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert nothing_waits(request_)
    assert (await engine.encode(Pictures(pngs(1)), request_)).shape == (1, 3, 3)


@pytest.mark.parametrize(("size", "inline"), [(INLINE_BYTES, True), (INLINE_BYTES + 1, False)])
async def test_long_work_leaves_the_event_loop(engine: Engine, size: int, inline: bool) -> None:
    thread = await engine.offload(size, threading.current_thread)
    assert (thread is threading.current_thread()) == inline
    with pytest.raises(ZeroDivisionError):
        await engine.offload(size, lambda: 1 // 0)


def test_pictures_know_how_many_they_are() -> None:
    assert [len(Pictures()), len(Pictures(["a", b"b"])), len(Pictures(rows=rows(3)))] == [0, 2, 3]


@pytest.mark.parametrize(
    "picture",
    [pngs(1)[0], saved("L", 9, 9, "JPEG"), saved("L", 9, 9, "GIF"), noisy(200, 200, "PNG")],
    ids=["plain", "quick", "for a decoder", "long"],
)
@pytest.mark.parametrize("beside", [[], pngs(1)], ids=["alone", "beside a plain one"])
async def test_base64_is_decoded_once(
    engine: Engine, request_: Request, monkeypatch: pytest.MonkeyPatch, picture: bytes, beside: list[bytes]
) -> None:
    decode, seen = base64_text.base64_bytes, []

    def counted(text: object, item: int | None = None) -> bytes:
        seen.append(text)
        return decode(text, item)

    engine.decoders.max_pixels = 50_000
    monkeypatch.setattr(base64_text, "base64_bytes", counted)
    texts = [base64.b64encode(one).decode() for one in (*beside, picture)]
    await engine.encode(Pictures(texts), request_)
    assert seen == texts
