"""Runs the operation of one request on the hot path, without a task as long as it waits for nothing but batches.

The coroutine is run up to the point where it waits for a batch, and continued by the engine as soon as that is done: no
iteration of the event loop passes before the answer is written. Knows nothing of what an operation does, nor of parsing.
"""

import asyncio
import logging
import types
from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from service.http.body_memory import COUNTED_FROM
from service.http.call import Answer
from service.http.endpoint import ShuttingDown
from service.http.hot_cycle import OK, Connection, HotCycle
from service.http.request_id import new_request_id

if TYPE_CHECKING:
    from service.http.hot_path import Head, HotPath

log = logging.getLogger(__name__)


class UsualWay(Exception):
    """This request cannot be served on the hot path."""


class HotRequest(HotCycle):
    """A request on the hot path whose operation is a coroutine."""

    __slots__ = ("_operation", "_task")

    def __init__(self, path: "HotPath", head: "Head", data: bytes, connection: Connection) -> None:
        super().__init__(path, head, data, connection)
        self._task: asyncio.Task[Answer] | None = None

    def run(self, operation: Generator[Any, None, Answer]) -> None:
        """Run the operation until it waits for a batch."""
        self._operation = operation
        self._step()

    def _step(self) -> None:
        """Run the operation until it waits again, or answer."""
        if self.disconnected:
            return
        try:
            waited = self._operation.send(None)
        except StopIteration as end:
            self._answer(end.value)
        except UsualWay:
            self._fall_back()
        except Exception as error:  # the usual way answers it
            self._fall_back(error)
        else:
            if hasattr(waited, "then"):
                waited.then = self._go_on
            else:  # it waits for a thread, a process or another task, which takes longer than making one
                self._task = asyncio.ensure_future(_resumed(self._operation, waited))
                self._task.add_done_callback(self._ended)
                self._connection.tasks.add(self._task)

    def _go_on(self) -> None:
        """Go on after a batch. An error must not get into the engine, which calls this."""
        try:
            self._step()
        except Exception:
            log.exception("an answer on the hot path could not be sent")
            self._connection.transport.abort()

    def _ended(self, task: "asyncio.Task[Answer]") -> None:
        """Answer, because the task that has run the rest of the operation is done."""
        self._connection.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if self.disconnected:
            return
        if task.cancelled():
            self._fall_back(ShuttingDown())
        elif error is None:
            self._answer(task.result())
        else:
            self._fall_back(error if isinstance(error, Exception) and not isinstance(error, UsualWay) else None)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            with suppress(asyncio.CancelledError, Exception):
                self._operation.throw(asyncio.CancelledError())

    def _answer(self, answer: Answer) -> None:
        path, head, connection = self._path, self._head, self._connection
        if len(answer.body) > COUNTED_FROM or answer.status != OK:
            self._fall_back(answer)  # which sends it piece by piece
            return
        request_id = new_request_id()
        model = answer.headers.get("x-model", "").partition("@")[0]
        path.finish(head, self.started, answer.status, model, request_id, connection.client)
        self._send(path.lines_of(head, answer, request_id), answer.body)


@types.coroutine
def _resumed(operation: Generator[Any, Any, Answer], waited: object) -> Generator[Any, Any, Answer]:
    """Run the rest of an operation that has begun already and waits for something."""
    while True:
        try:
            try:
                result = yield waited
            except BaseException as error:
                waited = operation.throw(error)
            else:
                waited = operation.send(result)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
