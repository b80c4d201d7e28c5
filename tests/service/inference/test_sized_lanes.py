"""Lanes for pictures of many sizes: which are kept, which make way, and which are prepared."""

import asyncio
import time
from collections import OrderedDict

import numpy as np
import pytest

from service.engine.errors import DeadlineExceeded, Overloaded
from service.inference.kinds import sized_lanes
from service.inference.pipeline import Pipeline
from service.operations import shaped
from tests.autoencoders import FACTOR
from tests.service.inference.shaped_requests import decode, inference, kind_of, latents

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_few_lanes_are_kept(kl_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sized_lanes, "MOST_LANES", 3)
    monkeypatch.setattr(kind_of(kl_pipeline).sized, "_made", OrderedDict())
    told = list[str]()
    monkeypatch.setattr(kind_of(kl_pipeline), "tell_of", lambda name, lane: told.append(name))
    for height in (1, 2, 7, 1, 9):
        await decode(kl_pipeline, latents(1, height, 5))
    sized = [name for name in kind_of(kl_pipeline).all_lanes if "x" in name]
    assert sized == ["decode_4x7x5", "decode_4x1x5", "decode_4x9x5"]
    assert told == ["decode_4x1x5", "decode_4x2x5", "decode_4x7x5", "decode_4x9x5"]
    first = await decode(kl_pipeline, latents(1, 2, 5))  # made once more
    np.testing.assert_array_equal(first, await decode(kl_pipeline, latents(1, 2, 5)))


async def test_a_lane_in_use_is_kept(kl_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sized_lanes, "MOST_LANES", 1)
    sizes = [(1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1)]
    answers = await asyncio.gather(*(decode(kl_pipeline, latents(1, *size)) for size in sizes for _ in range(3)))
    assert [one.shape[1:3] for one in answers[::3]] == [(FACTOR * h, FACTOR * w) for h, w in sizes]
    assert len(kind_of(kl_pipeline).sized.lanes) == 1


async def test_many_sizes_do_not_drive_out_one_that_is_used_often(
    kl_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise one caller with many sizes would make all others wait for theirs to be prepared again and again."""
    monkeypatch.setattr(sized_lanes, "MOST_LANES", 3)
    sized = kind_of(kl_pipeline).sized
    monkeypatch.setattr(sized, "_made", OrderedDict())
    monkeypatch.setattr(sized, "_uses", 0)
    for _ in range(3):
        await decode(kl_pipeline, latents(1, 3, 7))
    kept = sized.lanes["decode_4x3x7"]
    for width in range(1, 7):
        await decode(kl_pipeline, latents(1, 13, width))
        assert len(sized.lanes) <= 3
    assert sized.lanes["decode_4x3x7"] is kept
    monkeypatch.setattr(sized_lanes, "HALVED_AFTER", 1)
    for width in range(1, 7):  # what was used often long ago does not stay for ever
        await decode(kl_pipeline, latents(1, 13, width))
    assert "decode_4x3x7" not in sized.lanes


async def test_a_size_that_nobody_waits_for_any_more_is_not_prepared(
    kl_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    sized, told = kind_of(kl_pipeline).sized, list[str]()
    monkeypatch.setattr(kind_of(kl_pipeline), "tell_of", lambda name, lane: told.append(name))
    waiting = [asyncio.ensure_future(decode(kl_pipeline, latents(1, 14, width))) for width in (1, 2, 3)]
    while len(sized._wanted) < 3:  # noqa: ASYNC110  they are on their way
        await asyncio.sleep(0)
    waiting[1].cancel()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(one, np.ndarray) for one in found] == [True, False, True]
    assert told == ["decode_4x14x1", "decode_4x14x3"]
    assert (await decode(kl_pipeline, latents(1, 14, 2))).shape == (1, 56, 8, 3)  # it is prepared for those who come later


async def test_a_size_that_is_being_prepared(kl_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is prepared once for all who want it; a deadline ends waiting, and too many sizes are refused."""
    monkeypatch.setattr(sized_lanes, "MOST_WAITING", 2)
    late = inference(kl_pipeline, time.monotonic() - 1)
    found = await asyncio.gather(
        shaped.decode(kl_pipeline, late, latents(1, 11, 1)),
        decode(kl_pipeline, latents(1, 11, 1)),
        decode(kl_pipeline, latents(1, 12, 1)),
        decode(kl_pipeline, latents(1, 13, 1)),
        return_exceptions=True,
    )
    assert isinstance(found[0], DeadlineExceeded)
    assert [isinstance(one, np.ndarray) for one in found] == [False, True, True, False]
    assert isinstance(found[3], Overloaded)
    assert "2 sizes of pictures are being prepared" in str(found[3])
