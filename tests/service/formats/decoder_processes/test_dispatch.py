"""Decoders: the same pixels and errors as without them, within bounds on memory, time and work, and never in anybody's way."""

import asyncio
import gc
import struct
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import psutil
import pytest

from models.depth import Note
from service.formats import pictures as codecs
from service.formats.errors import BadInput, TooBig, TooCostly, Undecodable, Unsupported
from tests.live.costly_pictures import deep, flat_png, noisy, saved, scans, ztxt
from tests.service.decoder_processes import MAX_PIXELS, SMALL, SPEC, asked, decoders, running, stop_all, until


@cache
def pictures() -> dict[str, bytes]:
    return {
        "jpeg": SMALL,
        "large jpeg": noisy(1500, 1200, "JPEG"),
        "progressive": noisy(1500, 1200, "JPEG", progressive=True),
        "cmyk": saved("CMYK", 700, 800, "JPEG"),
        "png": noisy(500, 400, "PNG"),
        "rgba": flat_png(900, 900, 8, 6, 4),
        "deep": deep(1200, 900),
        "texts": ztxt(28, 28, 60),
        "webp": noisy(640, 480, "WEBP"),
        "webp with alpha": saved("RGBA", 600, 500, "WEBP", lossless=True),
        "gif": noisy(300, 200, "GIF"),
        "bmp": noisy(300, 200, "BMP"),
        "tiff": noisy(600, 400, "TIFF"),
        "tiff, lzw": noisy(600, 400, "TIFF", compression="tiff_lzw"),
        "tiff in one strip": saved("RGB", 2000, 2000, "TIFF", compression="tiff_adobe_deflate", strip_size=1 << 30),
    }


async def test_notes_and_values_are_those_without_decoders() -> None:
    async with decoders() as pool:
        for spec in (SPEC, replace(SPEC, range=(0.0, 9000.0)), replace(SPEC, background="white", ink="dark", invert="yes")):
            for name in ("deep", "rgba", "jpeg"):
                found: list[Note] = []
                expected: list[Note] = []
                pixels, _ = await pool.decode(pictures()[name], spec, notes=found)
                image = codecs.open_picture(pictures()[name], MAX_PIXELS)
                np.testing.assert_array_equal(pixels, codecs.picture_pixels(image, spec, notes=expected), name)
                assert found == expected
                assert found or name == "jpeg"


async def test_pixels_are_those_of_pillow() -> None:
    async with decoders() as pool:
        for name, data in pictures().items():
            pixels, own = await pool.decode(data, SPEC)
            image = codecs.open_picture(data, MAX_PIXELS)
            assert own == image.width * image.height, name
            np.testing.assert_array_equal(pixels, codecs.picture_pixels(image, SPEC), name)
        assert not pool.ended


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"", Undecodable, "the picture is empty"),
        (b"nothing", Unsupported, "not a picture in a supported format"),
        (b"\x89PNG\r\n\x1a\nnothing", Undecodable, "its header is corrupt"),
        (SMALL[: len(SMALL) // 2], Undecodable, "the JPEG file is corrupt or truncated"),
        (noisy(1500, 1200, "JPEG")[:-60_000], Undecodable, "the JPEG file is corrupt or truncated"),
        (flat_png(10_000, 10_000, 1, 0, 1), TooBig, "10000 x 10000 pixels"),
        (saved("RGB", 9000, 6000, "WEBP", method=0), TooBig, "9000 x 6000 pixels"),
        (flat_png(50_000_000, 1, 8, 0, 1), TooCostly, "VAE_MAX_DECODED_BYTES"),
        (saved("RGB", 6000, 6000, "WEBP", method=0), TooCostly, "VAE_MAX_DECODED_BYTES"),
        (scans(3000, 3000, 70)[0], TooCostly, "fewer scans"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value)[:30],
)
async def test_errors_say_what_is_wrong_and_cost_no_decoder(data: bytes, kind: type[BadInput], reason: str) -> None:
    async with decoders() as pool:
        with pytest.raises(kind, match=reason) as raised:
            await pool.decode(data, SPEC, item=3)
        assert raised.value.item == 3
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000
        assert not pool.ended


async def test_a_refused_file_is_let_go_at_once() -> None:
    """Without the garbage collector, which is rare in a service: refused files of megabytes would add up."""
    async with decoders() as pool:
        gc.disable()
        try:
            for data in (SMALL[:9000], noisy(1500, 1200, "JPEG")[:-60_000], saved("RGB", 6000, 6000, "WEBP", method=0)):
                before = sys.getrefcount(data)
                with suppress(BadInput):
                    await pool.decode(data, SPEC)
                await asyncio.sleep(0)
                assert sys.getrefcount(data) == before
        finally:
            gc.enable()


async def test_the_sum_of_pixels_is_bounded() -> None:
    async with decoders() as pool:
        await pool.decode(SMALL, SPEC, spent=4 * MAX_PIXELS - 60_000)
        with pytest.raises(TooBig, match="allowed in one request"):
            await pool.decode(SMALL, SPEC, spent=4 * MAX_PIXELS - 59_999)


async def test_a_picture_that_takes_too_long_costs_its_decoder() -> None:
    async with decoders(seconds=0.5) as pool:
        await pool.decode(SMALL, SPEC)
        stop_all()
        with pytest.raises(TooCostly, match=r"longer than 0\.5 seconds"):
            await pool.decode(SMALL, SPEC)
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000
        assert pool.ended == {"time": 1}


async def test_a_small_picture_that_is_slow_is_tried_as_a_large_one() -> None:
    async with decoders() as pool:
        await pool.decode(SMALL, SPEC)
        stop_all()
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000
        assert pool.ended == {"time": 1}


async def test_who_leaves_is_gone_at_once_and_his_decoder_soon() -> None:
    async with decoders() as pool:
        await pool.decode(SMALL, SPEC)
        stop_all()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.decode(SMALL, SPEC)
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000
        await until(lambda: bool(pool.ended))
        assert pool.ended == {"left": 1}


async def test_a_small_picture_does_not_wait_for_large_ones() -> None:
    """Both that may be decoded at a time stand still, and others wait for them."""
    large = noisy(1500, 1500, "TIFF")
    async with decoders(2) as pool:
        await asyncio.gather(*(pool.decode(large, SPEC) for _ in range(2)))
        stop_all()
        stuck = [asyncio.create_task(pool.decode(large, SPEC)) for _ in range(5)]
        await until(lambda: len(asked(pool)) == 2)
        for _ in range(5):
            assert (await pool.decode(SMALL, SPEC))[1] == 60_000
        assert not any(task.done() for task in stuck)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


async def test_what_has_no_room_waits_and_all_are_decoded() -> None:
    """Room for one at a time; whoever gives up meanwhile takes nothing with him."""
    data = flat_png(2000, 2000, 8, 6, 4)  # 16 MB
    async with decoders(4, max_bytes=40 << 20) as pool:
        tasks = [asyncio.create_task(pool.decode(data, SPEC)) for _ in range(8)]
        await until(lambda: len(asked(pool)) > 0)
        for task in tasks[1::3]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in found] == [i % 3 == 1 for i in range(8)]
        assert all(not isinstance(one, BadInput) for one in found)
        assert (await pool.decode(data, SPEC))[1] == 4_000_000


def many_strips(strips: int) -> bytes:
    """A TIFF of 8 x 8 pixels that tells where so many strips are, in 4 bytes each: ten times as many in Python."""
    places = b"".join(struct.pack("<I", 8 + number % 100) for number in range(strips))
    entries = [(256, 1, 8), (257, 1, 8), (258, 1, 8), (259, 1, 1), (262, 1, 1), (273, strips, 8), (277, 1, 1), (278, 1, 8)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, *rest) for tag, *rest in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(places)) + places + directory + bytes(4)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux bounds what a process allocates")
async def test_a_file_that_takes_more_memory_than_it_says_is_refused() -> None:
    """Its decoder does not get it from the system, whatever the file's size and format say."""
    data = many_strips(3_000_000)
    async with decoders() as pool:
        with pytest.raises(TooCostly, match="more memory than its header declares; the file is probably corrupt"):
            await pool.decode(data, SPEC)
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000
        assert pool.ended == {"memory": 1}


async def test_nothing_is_left_behind() -> None:
    """No process, no zombie, no open file: after the end, after errors, and after a caller has left."""
    files = psutil.Process().num_fds()
    before = running()
    for _ in range(3):
        async with decoders(2) as pool:
            await pool.start()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await asyncio.gather(*(pool.decode(deep(4000, 4000), SPEC) for _ in range(4)))
    assert running() == before
    assert psutil.Process().num_fds() == files


async def test_the_end_does_not_wait_for_a_decoder() -> None:
    async with decoders(2) as pool:
        await pool.start()
        stop_all()
        tasks = [asyncio.create_task(pool.decode(SMALL, SPEC)) for _ in range(6)]
        await until(lambda: len(asked(pool)) == 3)
        start = time.monotonic()
        await pool.close()
        assert time.monotonic() - start < 10
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(found, BaseException)
