"""Turn an operation (service, call) -> answer into an ASGI application.

It reads the request body up to the size limit, calls the operation, and sends the answer, or a problem body if the operation
raises. It cancels the operation if the client disconnects. It knows nothing about FastAPI or what an operation does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from service.asgi import Headers, Receive, Scope, Send
from service.http.access.guard import Access
from service.http.access.refusal_pace import RefusalPace
from service.http.body_memory import COUNTED_FROM, BodyMemory, BodyShare
from service.http.call import OUTCOME, Answer, Call, stated_deadline
from service.http.content_coding import expanded, stated_coding
from service.http.header_values import by_name
from service.http.observer import count_refusal, record_of
from service.http.problems import HttpError, Malformed, Problem
from service.http.receive import ClientGone, ClientWatch, DisconnectTimer, read_body
from service.http.request_id import request_id_of
from service.observe.request_record import RecordSinks

Operation = Callable[[Any, Call], Awaitable[Answer]]
Describe = Callable[[Exception, str, str], Problem]

NOT_MODIFIED = 304
CHUNKED = b"chunked"
# A longer answer is sent in pieces of this size, so that the server buffers no more than one at a time.
SENT_AT_ONCE = 1 << 18


class Serving(Protocol):
    """The part of the application state that endpoints use. `service` is passed to operations; it is None during loading."""

    service: Any
    sinks: RecordSinks
    bodies: BodyMemory
    max_body_bytes: int
    disconnects: DisconnectTimer
    refusal_pace: RefusalPace
    access: Access | None


class Starting(HttpError):
    """The models are not loaded yet."""

    status, code, detail = 503, "starting", "the models are still loading; try again in a moment"


class ShuttingDown(HttpError):
    """The service shuts down before the request has been answered."""

    status, code, detail = 503, "draining", "the service is shutting down"


class TooLate(HttpError):
    """The deadline has passed, and the operation has not noticed it itself."""

    status, code, detail = 504, "deadline_exceeded", "the deadline passed before the answer was ready"


class Endpoint:
    """Serves one operation."""

    def __init__(
        self,
        operation: Operation,
        describe: Describe,
        paced: tuple[type[Exception], ...] = (),
        takes_compressed: bool = False,
    ) -> None:
        """`describe`: (error, request id, trace id) -> problem body. `paced`: errors that RefusalPace delays.

        `takes_compressed`: bodies may have a content coding, which is undone before the operation gets them.
        """
        self.operation, self._describe, self._paced, self._takes_compressed = operation, describe, paced, takes_compressed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        state: Serving = scope["app"].state
        request_id, share = request_id_of(scope), BodyShare(state.bodies)
        watch = ClientWatch(receive, state.disconnects)
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
            return  # Nobody would read the answer.
        except asyncio.CancelledError:
            share.release()
            if watch.gone:
                return
            # If no deadline has passed, the server is shutting down and waits no longer.
            status, _, headers, body = self._describe(TooLate() if watch.late else ShuttingDown(), request_id, "")
        except Exception as error:
            share.release()
            status, code, headers, body = self._describe(error, request_id, scope["state"].get("trace_id", ""))
            if code == ShuttingDown.code:
                count_refusal(scope, state.sinks, "draining")
        finally:
            watch.stop()
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        raw += [(b"x-request-id", request_id.encode("latin-1"))] if "x-request-id" not in headers else []
        if status != NOT_MODIFIED:  # For a 304 it would be the length of the body that is left out.
            raw.append((b"content-length", str(len(body)).encode()))
        try:
            await send({"type": "http.response.start", "status": status, "headers": raw})
            sent = 0
            while len(body) - sent > SENT_AT_ONCE:
                await send({"type": "http.response.body", "body": body[sent : sent + SENT_AT_ONCE], "more_body": True})
                sent += SENT_AT_ONCE
            await send({"type": "http.response.body", "body": body[sent:]})
        except asyncio.CancelledError:
            return  # The connection was closed in the middle of the answer.
        finally:
            share.release()

    async def _answer(self, state: Serving, scope: Scope, receive: Receive, watch: ClientWatch, share: BodyShare) -> Answer:
        if state.service is None:
            raise Starting
        headers = by_name(scope["headers"])
        if "transfer-encoding" in headers and codings(scope["headers"]) != [CHUNKED]:
            raise Malformed("chunked is the only transfer encoding that is supported")
        coding = stated_coding(headers["content-encoding"], self._takes_compressed) if "content-encoding" in headers else ""
        body = await read_body(headers.get("content-length", ""), receive, state.max_body_bytes, share)
        if coding:
            body = await expanded(body, coding, state.max_body_bytes, share)
        watch.start()
        try:
            query = scope["query_string"].decode("latin-1")
            call = Call(headers, query, body, path=scope.get("path_params") or {}, method=scope["method"], limit=watch.limit)
            if state.access is not None:
                call.need = partial(state.access.need, scope["headers"])
            if "x-timeout-ms" in headers or "timeout_ms" in query:
                watch.limit(stated_deadline(call))
            if state.sinks.tracing is not None and (record := record_of(scope)) is not None:
                record.timings, record.body_read = call.timings, call.started
                call.timings.passes = []
            outcome: Answer | Exception | None = scope["state"].get(OUTCOME)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome or await self.operation(state.service, call)
        except self._paced:
            watch.stop_listening()  # A refusal costs little, even if the client has gone.
            await state.refusal_pace.turn()
            raise


def codings(headers: Headers) -> list[bytes]:
    """Return the transfer codings of a request, in lower case."""
    values = b",".join(value for name, value in headers if name == b"transfer-encoding")
    return [coding.strip().lower() for coding in values.split(b",")]
