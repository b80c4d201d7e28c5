"""`python -m benchmarks.in_process SETTING KIND ...`: run the service without sockets, and find what takes the CPU time.

Requests go to the real connection class in one process, and answers to a transport that sends the next request. For each kind
of request it writes the seconds of CPU time per request, in all and by function, as JSON to the file in BENCHMARK_RESULT.
benchmarks.cost has the settings and kinds, sets the variables of the service, and knows the stages.

While functions are counted, the loop also wastes random bits of time: the kernel sends signals at the ticks of its clock, and
batches that keep in step with it would be counted wrongly. Works on Linux only.
"""

import asyncio
import ctypes
import dis
import json
import os
import random
import signal
import sys
import time
from asyncio import runners
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from benchmarks.cost import LOOP, settings
from benchmarks.load import Request
from benchmarks.workload import ROOT
from service.__main__ import _options
from service.app import create_app
from service.server.forwarded_headers import ForwardedHeaders
from service.settings import Settings

CONNECTIONS, REQUESTS, TIMES, COUNTED_SECONDS = 64, 2048, 5, 8.0
# Directories with the functions that are recorded, and how their names begin.
PLACES = {
    str(ROOT / "service") + os.sep: "service/",
    str(ROOT / "models") + os.sep: "models/",
    str(ROOT / "benchmarks") + os.sep: "benchmarks/",
    str(Path(uvicorn.__file__).parent) + os.sep: "uvicorn/",
}
RESUME = dis.opmap["RESUME"]
# Nanoseconds of CPU time between two signals: a few ticks of the kernel's clock, and longer than most batches take. Python
# handles a signal after the call to a C library that it interrupts, and two signals during one call would count as one.
INTERVAL = 8_000_000
WASTED_SECONDS, WASTED_SHARE = 0.004, 0.3


def function_of(frame: FrameType | None) -> str:
    """Return the function of ours that is running, or that has called what is running, as `service/http/call.py:Call.body`."""
    # Python handles signals when it enters a function. The time before that was its caller's.
    if frame is not None and frame.f_code.co_code[frame.f_lasti] == RESUME:
        frame = frame.f_back
    while frame is not None and frame.f_code.co_filename != runners.__file__:
        code = frame.f_code
        for directory, name in PLACES.items():
            if code.co_filename.startswith(directory):
                return f"{name}{code.co_filename[len(directory) :]}:{code.co_qualname}"
        frame = frame.f_back
    return LOOP


class Sampler:
    """Counts signals by function; a signal comes after every 8 ms of CPU time of the thread that makes the sampler."""

    def __init__(self) -> None:
        """Start. Raises OSError."""
        self.counts = Counter[str]()
        signal.signal(signal.SIGALRM, self._count)
        signal.siginterrupt(signal.SIGALRM, False)
        # Python has timers for the CPU time of a process only, not for that of a thread.
        self._libc, self._timer = ctypes.CDLL(None), ctypes.c_void_p()
        if self._libc.timer_create(time.CLOCK_THREAD_CPUTIME_ID, None, ctypes.byref(self._timer)):  # it sends SIGALRM
            raise OSError("the system has no timer for the CPU time of a thread")
        self._set(INTERVAL)

    def stop(self) -> None:
        """Send no more signals."""
        self._set(0)

    def _set(self, interval: int) -> None:
        interval_and_first = (ctypes.c_long * 4)(0, interval, 0, interval)  # seconds and nanoseconds of each
        self._libc.timer_settime(self._timer, 0, interval_and_first, None)

    def _count(self, _number: int, frame: FrameType | None) -> None:
        self.counts[function_of(frame)] += 1


class Client(asyncio.Transport):
    """Sends a number of requests to one connection, each as soon as the one before it is answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, requests: list[bytes], number: int) -> None:
        super().__init__()
        self._loop, self._requests, self._left = loop, requests, number
        self.done = loop.create_future()

    def start(self, connection: Any) -> None:
        """Send the first request."""
        self._connection = connection
        connection.connection_made(self)
        self._send()

    def _send(self) -> None:
        self._loop.call_soon(self._connection.data_received, self._requests[self._left % len(self._requests)])

    def write(self, data: Any) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            raise AssertionError(data)
        self._left -= 1
        if self._left:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: Any, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 8000)}.get(name, default)

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        """Do nothing, as all that follow."""

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def bytes_of(request: Request) -> bytes:
    """Return a request as wrk sends it."""
    headers = {"Host": "127.0.0.1:8000", **request.headers}
    if request.body:
        headers["Content-Length"] = str(len(request.body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request.method} {request.path} HTTP/1.1\r\n{lines}\r\n".encode() + request.body


class Service:
    """The service in this process."""

    def __init__(self, app: Any, settings: Settings) -> None:
        options = _options(settings, app.state.cut_off, app.state.hot_path)
        self._make = options["http"]
        self._config = uvicorn.Config(app.middleware_stack, **options)
        self._config.load()
        self._config.loaded_app = ForwardedHeaders(app.middleware_stack, ())
        self._state = ServerState()
        self._state.default_headers = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"x-content-type-options", b"nosniff")]

    async def answer(self, requests: list[bytes], number: int) -> None:
        """Answer so many requests."""
        loop = asyncio.get_running_loop()
        clients = [Client(loop, requests[i:] + requests[:i], number // CONNECTIONS) for i in range(CONNECTIONS)]
        made = [self._make(config=self._config, server_state=self._state, app_state={}, _loop=loop) for _ in clients]
        for client, connection in zip(clients, made, strict=True):
            client.start(connection)
        await asyncio.gather(*(client.done for client in clients))
        for connection in made:
            connection.connection_lost(None)


def waste() -> None:
    """Take a random bit of CPU time now and then, again and again."""
    if random.random() < WASTED_SHARE:
        end = time.thread_time() + WASTED_SECONDS * random.random()
        while time.thread_time() < end:
            pass
    Wasting.handle = asyncio.get_running_loop().call_soon(waste)


class Wasting:
    """The next call of `waste`."""

    handle: asyncio.Handle


async def measure(service: Service, requests: list[bytes]) -> dict[str, Any]:
    """Return the seconds of CPU time per request: `total`, `threads` (but the main one), and `functions`."""
    await service.answer(requests, REQUESTS)
    totals, threads = [], []
    for _ in range(TIMES):
        own, all_threads = time.thread_time(), time.process_time()
        await service.answer(requests, REQUESTS)
        own, all_threads = time.thread_time() - own, time.process_time() - all_threads
        totals.append(own / REQUESTS)
        threads.append(max(0.0, all_threads - own) / REQUESTS)
    total = sorted(totals)[TIMES // 2]
    end, sampler = time.thread_time() + COUNTED_SECONDS, Sampler()
    waste()
    while time.thread_time() < end:
        await service.answer(requests, REQUESTS)
    Wasting.handle.cancel()
    sampler.stop()
    counts = {name: count for name, count in sampler.counts.items() if not name.startswith("benchmarks/")}
    functions = {name: total * count / sum(counts.values()) for name, count in counts.items()}
    return {"total": total, "threads": sorted(threads)[TIMES // 2], "functions": functions}


async def main(setting: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what `measure` does for each kind."""
    [known] = [{kind.name: kind for kind in one.kinds} for one in settings() if one.name == setting]
    read = Settings(_cli_parse_args=False)
    app = create_app(read, load_first=True)
    async with app.router.lifespan_context(app):
        service = Service(app, read)
        return {name: await measure(service, [*map(bytes_of, known[name].requests)]) for name in names}


if __name__ == "__main__":
    found = uvloop.run(main(sys.argv[1], sys.argv[2:]))
    Path(os.environ["BENCHMARK_RESULT"]).write_text(json.dumps(found))  # The log may be on the standard output, too.
