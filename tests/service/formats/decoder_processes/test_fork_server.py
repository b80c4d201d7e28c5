"""Fork servers that die, stand still or do not start: pictures are decoded or refused in time, nothing is left behind."""

import asyncio
import ctypes
import errno
import logging
import os
import sys
from contextlib import suppress

import httpx
import psutil
import pytest

from service.formats.decoder_processes import fork_server
from service.formats.decoder_processes.fork_server import DecoderUnavailable, ForkServer
from service.formats.decoder_processes.process import Died
from tests.live.costly_pictures import deep, saved
from tests.service.decoder_processes import (
    SMALL,
    SPEC,
    at_work,
    decoders,
    fork_servers,
    running,
    until,
    zombies,
)

LARGE = deep(1200, 900)


def program(lines: str) -> str:
    """A fork server that runs so many lines of Python before it begins."""
    path = [os.path.abspath(place) for place in sys.path]
    return f"# service.formats.decoder_processes.child\nimport sys; sys.path[:] = {path!r}\n{lines}"


@pytest.mark.parametrize("handles", [True, False], ids=["pidfd", "no pidfd"])
async def test_a_fork_server_that_is_killed_costs_one_new_one(monkeypatch: pytest.MonkeyPatch, handles: bool) -> None:
    """The decoders that it had go on; that they end is nothing to the new one."""
    if not handles:
        monkeypatch.setattr(fork_server, "_handle", lambda pid: None)
    before = psutil.Process().num_fds()
    async with decoders(2) as pool:
        await pool.start()
        seen = []
        for _ in range(4):
            (server,) = fork_servers()
            seen.append(server.pid)
            old = at_work()
            server.kill()
            await until(lambda: not fork_servers() and not zombies())  # noticed at once
            assert all(process.is_running() for process in old)
            assert (await pool.decode(SMALL, SPEC))[1] == 60_000
            for process in old:
                process.kill()
            for data in (SMALL, LARGE, SMALL):
                await pool.decode(data, SPEC)
            await pool.start()
            await until(lambda: len(at_work()) == 3)
        assert len({*seen, *(server.pid for server in fork_servers())}) == 5
    assert running() == []
    assert psutil.Process().num_fds() == before


async def test_without_any_process_pictures_are_decoded() -> None:
    async with decoders(2) as pool:
        await pool.start()
        for process in running():
            process.kill()
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="orphans elsewhere always go to process 1")
async def test_orphans_are_waited_for_by_process_1() -> None:
    """In a container the service is process 1, which inherits the decoders of a fork server that was killed."""
    prctl, subreaper = ctypes.CDLL(None).prctl, 36
    async with decoders(2) as pool:
        await pool.start()
        prctl(subreaper, 1, 0, 0, 0)
        try:
            orphans = at_work()
            (server,) = fork_servers()
            server.kill()
            await until(lambda: not server.is_running())
            assert {process.ppid() for process in orphans} == {os.getpid()}
            orphans[0].kill()
            await until(lambda: bool(pool.ended) and not zombies())
            await pool.close()
            assert zombies() == []
            assert not any(process.is_running() for process in orphans)
        finally:
            prctl(subreaper, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("sys.exit(3)", "the fork server has ended right after its start"),
        ("import time; time.sleep(1000)", "the fork server has not answered within 0.5 seconds"),
        (f"import os\ndef fork(): raise OSError({errno.EAGAIN}, '')\nos.fork = fork\n"
         "from service.formats.decoder_processes.child import main; main()",
         os.strerror(errno.EAGAIN)),
        ("", "No such file"),
    ],
    ids=["ends", "says nothing", "cannot fork", "no program"],
)  # fmt: skip
async def test_what_cannot_start_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lines: str, reason: str
) -> None:
    before = psutil.Process().num_fds()
    async with decoders(2) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(fork_server, "_program", lambda: program(lines))
            patch.setattr(fork_server, "START_SECONDS", 0.5 if "sleep" in lines else 60)
            if not lines:
                patch.setattr(sys, "executable", "/nowhere/python")
            await pool.start()
            for found in await asyncio.gather(*(pool.decode(SMALL, SPEC) for _ in range(5)), return_exceptions=True):
                assert isinstance(found, DecoderUnavailable)
                assert reason in str(found)
        assert sum("can be started" in message and reason in message for message in caplog.messages) == 1  # not one each
        assert not pool.ended
        assert zombies() == []
        for server in fork_servers():  # those that cannot fork
            server.kill()
        monkeypatch.setattr(fork_server, "PAUSE_SECONDS", 0.0)
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000
    assert running() == []
    assert psutil.Process().num_fds() == before


async def test_a_fork_server_that_stands_still_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_server, "REPLY_SECONDS", 0.3)
    async with decoders() as pool:
        await pool.decode(SMALL, SPEC)
        (stuck,) = fork_servers()
        stuck.suspend()
        for process in at_work():
            process.kill()
        assert (await pool.decode(SMALL, SPEC))[1] == 60_000
        assert [server.pid for server in fork_servers()] != [stuck.pid]
        assert not stuck.is_running()


@pytest.mark.parametrize("phase", ["starting", "standing still"])
async def test_the_end_does_not_wait_for_a_fork_server(monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    async with decoders(2) as pool:
        if phase == "starting":
            monkeypatch.setattr(fork_server, "_program", lambda: program("import time; time.sleep(1000)"))
        else:
            await pool.start()
            fork_servers()[0].suspend()
            for process in at_work():
                process.kill()
        decoding = asyncio.create_task(pool.decode(SMALL, SPEC))
        await until(lambda: bool(pool._pool._source._turn.locked()))
        await until(lambda: bool(fork_servers()) or phase != "starting")
        async with asyncio.timeout(5):  # the other bounds are 60 and 10 seconds
            await pool.close()
        assert isinstance((await asyncio.gather(decoding, return_exceptions=True))[0], BaseException)
        assert running() == []
        assert zombies() == []


@pytest.mark.parametrize("exchange", ["fork", "wait"])
@pytest.mark.parametrize("how", ["cancelled", "too late"])
async def test_what_is_not_read_is_never_read_by_another(monkeypatch: pytest.MonkeyPatch, exchange: str, how: str) -> None:
    """A fork server whose reply nobody has waited for gets no command any more: its replies would be one behind."""
    before = psutil.Process().num_fds()
    server = await ForkServer.start()
    await server.ready()
    decoder = await server.fork()
    (process,) = fork_servers()
    process.suspend()
    monkeypatch.setattr(fork_server, "REPLY_SECONDS", 0.2 if how == "too late" else 60)
    decoder.kill()
    work = asyncio.create_task(server.fork() if exchange == "fork" else server.wait(decoder._pid, None))
    await until(lambda: server._turn.locked() or work.done())
    if how == "cancelled":
        work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    with suppress(psutil.NoSuchProcess):
        process.resume()
    with pytest.raises(Died):
        await server.fork()
    assert await decoder.end() is None
    await server.close()
    assert running() == []
    assert psutil.Process().num_fds() == before


async def test_failures_beside_are_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for the start of a decoder in advance."""
    caplog.set_level(logging.ERROR)
    async with decoders() as pool:
        await pool.start()
        with monkeypatch.context() as patch:
            patch.setattr(fork_server, "_handle", lambda pid: 1 // 0)
            for process in at_work():
                process.kill()
            await until(lambda: bool(caplog.records))
        assert "starting or ending a decoder failed" in caplog.text
        assert "ZeroDivisionError" in caplog.text


async def test_the_caller_is_told_to_come_back(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    picture = saved("L", 8, 8, "GIF")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        answer = await client.post("/encode", content=picture)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "decoder_unavailable"
    assert "No such file" in answer.json()["detail"]
    assert "Traceback" not in caplog.text
    monkeypatch.setattr(fork_server, "PAUSE_SECONDS", 0.0)
    assert (await client.post("/encode", content=picture)).status_code == 200
