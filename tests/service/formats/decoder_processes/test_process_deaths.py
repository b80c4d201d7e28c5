"""Decoders that are killed: no picture is blamed for it, others are there at once, and time and memory stay bounded."""

import asyncio
import os
import signal
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest

from service.formats.decoder_processes.dispatch import Decoders
from service.formats.decoder_processes.process import DecoderProcess
from service.formats.errors import TooCostly, Undecodable
from tests.live.costly_pictures import deep, noisy
from tests.service.decoder_processes import (
    SMALL,
    SPEC,
    asked,
    at_work,
    decoders,
    stop_all,
    until,
    zombies,
)

LARGE = deep(1200, 900)


def kill_asked(pool: Decoders) -> int:
    """End those that have a picture in hand, as a bug in a C library would."""
    children = asked(pool)
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child._pid, signal.SIGSEGV)
            os.kill(child._pid, signal.SIGCONT)
    return len(children)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_a_picture_whose_decoder_is_killed_is_decoded_by_another(data: bytes) -> None:
    async with decoders() as pool:
        expected, _ = await pool.decode(data, SPEC)
        stop_all()
        decoding = asyncio.create_task(pool.decode(data, SPEC))
        await until(lambda: kill_asked(pool) > 0)
        np.testing.assert_array_equal((await decoding)[0], expected)
        assert pool.ended == {"crash": 1}


async def test_a_picture_that_kills_two_decoders_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    data = noisy(2500, 2500, "TIFF")
    async with decoders() as pool:
        await pool.decode(SMALL, SPEC)
        decoding = asyncio.create_task(pool.decode(data, SPEC))
        while not decoding.done():
            kill_asked(pool)
            await asyncio.sleep(0.001)
        with pytest.raises(Undecodable, match="the decoder crashed twice on this picture; it is probably corrupt"):
            await decoding
        assert pool.ended == {"crash": 2}
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000
    said = f"decoder ended (crash, exit status -11) while decoding a picture of {len(data)} bytes; starting another"
    assert caplog.messages == [said] * 2


async def test_decoders_that_are_killed_at_rest_are_replaced() -> None:
    async with decoders(2) as pool:
        await pool.start()
        for process in at_work():
            process.kill()
        await until(lambda: pool.ended == {"crash": 3})
        await until(lambda: len(at_work()) == 3 and not zombies())
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000


async def test_decoders_killed_a_moment_ago_get_no_picture() -> None:
    """The event loop has not had the time to notice."""
    async with decoders(2) as pool:
        await pool.start()
        killed = at_work()
        for process in killed:
            process.kill()
        while any(process.status() != psutil.STATUS_ZOMBIE for process in killed):
            time.sleep(0.001)  # noqa: ASYNC251  that is the point
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000
        assert pool.ended == {"crash": 3}


async def test_a_picture_has_one_budget_of_time_for_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a small picture and as a large one, after a crash: what each attempt may take is what the others have left."""
    granted = []
    ask = DecoderProcess.ask

    async def counted(self: DecoderProcess, *arguments: object) -> tuple[bytes, bytes]:
        granted.append(arguments[-1])
        os.kill(self._pid, signal.SIGSTOP)
        return await ask(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(DecoderProcess, "ask", counted)
    async with decoders(seconds=1.5) as pool:
        with pytest.raises(TooCostly, match=r"longer than 1\.5 seconds"):
            await pool.decode(SMALL, SPEC)
        first, second = granted
        assert first == 1.0
        assert isinstance(second, float)
        assert 0 < second <= 0.5
        assert pool.ended == {"time": 2}


async def test_a_large_picture_that_is_slow_to_open_does_not_hold_others_up() -> None:
    large = noisy(1500, 1500, "TIFF")
    async with decoders(2) as pool:
        await asyncio.gather(*(pool.decode(large, SPEC) for _ in range(2)))
        stop_all()
        stuck = asyncio.create_task(pool.decode(large, SPEC))
        await until(lambda: len(asked(pool)) == 1)
        for process in at_work():
            if process.pid != asked(pool)[0]._pid:
                process.resume()
        async with asyncio.timeout(30):
            assert (await pool.decode(large, SPEC))[1] == 1500 * 1500
        assert not stuck.done()
