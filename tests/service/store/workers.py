"""Workers that share one store: in this process, or each in its own, where it can be killed."""

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol

from service.store import make_store
from service.store.interface import LatentStore
from service.store.sqlite import deletes as sqlite_deletes
from service.store.vectors import chunk, index

MAX_BYTES = 1 << 24
# numbers so small that a small collection has several chunks, uses the bounds, and forgets deletions
SMALL = ((chunk, "CHUNK", 16), (chunk, "SMALLEST", 4), (index, "CHUNK", 16), (index, "SMALLEST", 4), (index, "FEW", 8),
         (index, "SLICE", 7), (sqlite_deletes, "MAX_TRACES", 12))  # fmt: skip


class Refused(Exception):
    """What a store has raised; `kind` is the name of its class."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind = kind


class Worker(Protocol):
    """Calls methods of a store."""

    async def start(self) -> None: ...

    async def call(self, method: str, **arguments: Any) -> Any:
        """What the method returns. Raises Refused."""

    async def stop(self) -> None:
        """Close the store."""

    async def kill(self, method: str, arguments: dict[str, Any], seconds: float) -> Any:
        """Begin a call and end without a word; what it returned, if it was in time, else None."""


class Here:
    """A store of this process; `kill` closes it instead, after the call."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._store: LatentStore

    async def start(self) -> None:
        self._store = make_store(self._address, MAX_BYTES)
        await self._store.open()

    async def call(self, method: str, **arguments: Any) -> Any:
        try:
            return await getattr(self._store, method)(**arguments)
        except Exception as error:
            raise Refused(type(error).__name__, str(error)) from error

    async def stop(self) -> None:
        await self._store.close()

    async def kill(self, method: str, arguments: dict[str, Any], seconds: float) -> Any:
        try:
            return await self.call(method, **arguments)
        finally:
            await self.stop()


class Apart:
    """A store in a process of its own."""

    # processes are forked from one that has imported everything, and has no threads
    _context = multiprocessing.get_context("forkserver")
    _context.set_forkserver_preload([__name__])

    def __init__(self, address: str) -> None:
        self._address = address

    async def start(self) -> None:
        self._pipe, other = self._context.Pipe()
        self._process = self._context.Process(target=serve, args=(self._address, other), daemon=True)
        self._process.start()
        other.close()

    async def call(self, method: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(self._ask, method, arguments)

    def _ask(self, method: str, arguments: dict[str, Any]) -> Any:
        try:
            self._pipe.send((method, arguments))
            return self._answer()
        except (EOFError, ConnectionError) as error:
            raise Refused("Ended", f"the process ended by itself: {error}") from error

    def _answer(self) -> Any:
        result, refused = self._pipe.recv()
        if refused is not None:
            raise Refused(*refused)
        return result

    async def stop(self) -> None:
        if self._pipe.closed:  # it was killed, and a failure kept it from its next start
            return
        with suppress(BrokenPipeError):  # it has ended by itself, which its last caller has seen
            self._pipe.send(None)
        self._process.join()
        self._pipe.close()

    async def kill(self, method: str, arguments: dict[str, Any], seconds: float) -> Any:
        await self.call("collections")  # it has started
        self._pipe.send((method, arguments))
        time.sleep(seconds)  # noqa: ASYNC251 - asyncio's would be longer
        self._process.kill()
        self._process.join()
        try:
            return self._answer()
        except (EOFError, ConnectionResetError):
            return None
        finally:
            self._pipe.close()


def make_small(set_value: Callable[[Any, str, Any], None] = setattr) -> None:
    """In a process that shall use small numbers."""
    for module, name, value in SMALL:
        set_value(module, name, value)


def serve(address: str, pipe: Connection) -> None:
    """Answer calls until there are no more."""
    make_small()
    asyncio.run(_serve(address, pipe))


async def _serve(address: str, pipe: Connection) -> None:
    store = make_store(address, MAX_BYTES)
    await store.open()
    while (request := await asyncio.to_thread(pipe.recv)) is not None:
        method, arguments = request
        answer: tuple[Any, tuple[str, str] | None]
        try:
            answer = await getattr(store, method)(**arguments), None
        except Exception as error:
            answer = None, (type(error).__name__, str(error))
        pipe.send(answer)
    await store.close()
