"""Decoders in a test, and their processes as the system shows them."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import psutil

from models.preprocess import Preprocessing
from service.formats.decoder_processes.dispatch import Decoders
from service.formats.decoder_processes.process import DecoderProcess
from tests.live.costly_pictures import noisy

SPEC = Preprocessing(3, 28, 20)
MAX_PIXELS = 50_000_000
SMALL = noisy(300, 200, "JPEG")
# far more than anything takes here
PATIENCE_SECONDS = 30.0


@asynccontextmanager
async def decoders(processes: int = 1, max_bytes: int = 256 << 20, seconds: float = 60.0) -> AsyncIterator[Decoders]:
    made = Decoders(MAX_PIXELS, max_bytes, seconds, processes)
    try:
        yield made
    finally:
        await made.close()


async def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "it has not come to that"
        await asyncio.sleep(0.005)


def asked(pool: Decoders) -> list[DecoderProcess]:
    """Those that have a picture in hand."""
    return [child for child in pool._pool._busy if not child.at_rest]


def fork_servers() -> list[psutil.Process]:
    """This process may have other children, whom tests leave alone."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # or a zombie
            if "service.formats.decoder_processes.child" in " ".join(process.cmdline()):
                found.append(process)
    return found


def zombies() -> list[psutil.Process]:
    """Children of this process, and theirs, that nobody has waited for."""
    return [one for one in psutil.Process().children(recursive=True) if one.status() == psutil.STATUS_ZOMBIE]


def running() -> list[psutil.Process]:
    """Fork servers and their decoders."""
    return [process for server in fork_servers() for process in (server, *server.children())]


def at_work() -> list[psutil.Process]:
    """The decoders themselves."""
    return [process for process in running() if process.ppid() != os.getpid()]


def stop_all() -> None:
    """Have every decoder stand still, as if its picture took for ever."""
    for process in at_work():
        process.send_signal(signal.SIGSTOP)
