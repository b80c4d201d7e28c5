"""An operation as a pure ASGI application: reads the body within its bound, calls (engine, call) -> answer, sends what it
gives or the problem body of what it raises, and notices when the caller leaves. And the way to it around the router.

Knows nothing of what an operation does, nor of FastAPI.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from service.asgi import ASGIApp, Receive, Scope, Send
from service.engine.errors import Closed, DeadlineExceeded, Overloaded
from service.http.body_memory import COUNTED_FROM, Share, stated_length
from service.http.call import Answer, Call, stated_deadline
from service.http.observer import count_refusal, seen_of
from service.http.request_id import request_id_of
from service.inference.pipeline import Engine
from service.rest.errors import BodyTooLarge, Starting, describe

Operation = Callable[[Engine, Call], Awaitable[Answer]]

# about a batch: only after so long is it worth noticing that a client leaves
PATIENCE_SECONDS = 0.05
NOT_MODIFIED = 304
# operations look at their deadlines themselves, and say more; whatever takes them too long in between ends so much later
BEHIND_SECONDS = 0.04
LATE = "the deadline passed before the answer was ready"
# chunks below this are put together as they come: objects of a few bytes each would take many times their bytes
SMALL_CHUNK, JOINED_CHUNK = 1 << 12, 1 << 16
# of a long answer the server holds so much beside us; the rest follows as the client reads
SENT_AT_ONCE = 1 << 18


class ClientGone(Exception):
    """The client hung up before its body was complete."""


class Endpoint:
    """Serves one operation. The application's state has the engine, once it is loaded, and the bounds on bodies."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        state = scope["app"].state
        request_id, watch, share = request_id_of(scope), _Watch(receive, state.patience), Share(state.bodies)
        try:
            answer = await self._answer(state, scope, receive, watch, share)
            body = answer.body
            if share.size or len(body) > COUNTED_FROM:
                share.release()
                share.hold(len(body))
            status, headers = answer.status, answer.headers
            if status != NOT_MODIFIED:
                headers = headers | {"content-type": answer.media_type}
        except ClientGone:
            share.release()
            return  # nobody reads an answer
        except asyncio.CancelledError:
            share.release()
            if watch.gone:
                return
            # else drained for as long as it was allowed
            error = DeadlineExceeded(LATE) if watch.late else Closed("the service is shutting down")
            status, headers, body = describe(error, request_id)
        except Exception as error:
            share.release()
            status, headers, body = describe(error, request_id, scope["state"].get("trace_id", ""))
            if isinstance(error, Closed):
                count_refusal(scope, state.sight, "draining")
        finally:
            watch.stop()
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        raw += [(b"x-request-id", request_id.encode("latin-1"))] if "x-request-id" not in headers else []
        if status != NOT_MODIFIED:  # which would have to say how long the body is that it does not bring
            raw.append((b"content-length", str(len(body)).encode()))
        try:
            await send({"type": "http.response.start", "status": status, "headers": raw})
            sent = 0
            while len(body) - sent > SENT_AT_ONCE:
                await send({"type": "http.response.body", "body": body[sent : sent + SENT_AT_ONCE], "more_body": True})
                sent += SENT_AT_ONCE
            await send({"type": "http.response.body", "body": body[sent:]})
        except asyncio.CancelledError:
            return  # the same, in the middle of the answer: the connection ends with it
        finally:
            share.release()

    async def _answer(self, state: Any, scope: Scope, receive: Receive, watch: "_Watch", share: Share) -> Answer:
        if state.engine is None:
            raise Starting
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _read(headers.get("content-length", ""), receive, state.max_body_bytes, share)
        watch.start()
        try:
            query = scope["query_string"].decode("latin-1")
            call = Call(headers, query, body, path=scope.get("path_params") or {}, method=scope["method"], limit=watch.limit)
            if "x-timeout-ms" in headers or "timeout_ms" in query:
                watch.limit(stated_deadline(call))
            if state.sight.tracing is not None and (seen := seen_of(scope)) is not None:
                seen.timings, seen.body_read = call.timings, call.started
                call.timings.passes = []
            return await self.operation(state.engine, call)
        except Overloaded:
            watch.stop_listening()  # it is not worth noticing who leaves now
            await state.engine.refusals.turn()
            raise


class Shortcut:
    """An application in front of another: takes requests of exact paths to their endpoints, and all others to that one.

    Its routing costs more than all else that is done for a small picture. Both ways lead to the same endpoint.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[tuple[str, str], ASGIApp]) -> None:
        """`endpoints`: by method and path, with what stands in front of them. `app` is what they find in their scope."""
        self._app, self._endpoints = app, endpoints

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """One connection's event."""
        endpoint = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            return self._app(scope, receive, send)
        scope["app"] = self._app
        return endpoint(scope, receive, send)


class Patience:
    """Tells requests that take longer than a moment to look after their clients: one timer for all, not one for each."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        # since the last look, and since the one before it
        self._young: dict[_Watch, None] = {}
        self._old: dict[_Watch, None] = {}

    def add(self, watch: "_Watch") -> None:
        """Tell it in a moment."""
        self._young[watch] = None
        if self._timer is None:
            self._rest()

    def discard(self, watch: "_Watch") -> None:
        """Its request is done with."""
        self._young.pop(watch, None)
        self._old.pop(watch, None)

    def _rest(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS / 2, self._look)

    def _look(self) -> None:
        long, self._old, self._young = self._old, self._young, {}
        for watch in long:
            watch.listen()
        self._timer = None
        if self._old:
            self._rest()


class _Watch:
    """Cancels the operation when the client hangs up before the answer is ready, or when its deadline has passed."""

    def __init__(self, receive: Receive, patience: Patience) -> None:
        self._receive, self._patience = receive, patience
        self._caller: asyncio.Task[Any] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.gone = self.late = False

    def limit(self, deadline: float | None) -> None:
        """Give up at a deadline, in the time of `time.monotonic`, should the operation not have done so itself."""
        if deadline is not None:
            if self._deadline is not None:
                self._deadline.cancel()
            delay = max(0.0, deadline - time.monotonic()) + BEHIND_SECONDS
            self._deadline = asyncio.get_running_loop().call_later(delay, self._give_up)

    def _give_up(self) -> None:
        self.late = True
        if self._caller is not None:
            self._caller.cancel()

    def start(self) -> None:
        self._caller = asyncio.current_task()
        self._patience.add(self)

    def listen(self) -> None:
        self._listener = asyncio.ensure_future(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._caller is not None:
            self._caller.cancel()

    def stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.stop_listening()

    def stop_listening(self) -> None:
        self._patience.discard(self)
        if self._listener is not None:
            self._listener.cancel()


async def _read(stated: str, receive: Receive, max_bytes: int, share: Share) -> bytes:
    """The whole body. `stated`: its Content-Length. Raises BodyTooLarge and MemoryFull as soon as it is known, ClientGone."""
    length = stated_length(stated)
    if length is not None:
        if length > max_bytes:
            raise BodyTooLarge(max_bytes)
        if length > COUNTED_FROM:
            share.check(length)
    chunks: list[bytes] = []
    small, size = bytearray(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(max_bytes)
        if size > COUNTED_FROM:
            share.hold(size)
        more = message.get("more_body", False)
        if not more and not small:
            return b"".join([*chunks, chunk]) if chunks else chunk
        small += chunk
        if not more or len(chunk) > SMALL_CHUNK or len(small) > JOINED_CHUNK:
            chunks.append(bytes(small))
            small.clear()
        if not more:
            return b"".join(chunks)
