"""/v2/health: whether the process works, and whether it takes requests."""

from collections.abc import Callable
from typing import Any

import orjson

from service.asgi import Receive, Scope, Send
from service.http.endpoint import Describe, Starting
from service.http.request_id import request_id_of
from service.open_inference.answers import JSON
from service.operations.health import check_device, check_ready


class Probe:
    """An ASGI application that answers 200 unless a check of the application's state raises an exception."""

    def __init__(self, word: str, check: Callable[[Any], None], describe: Describe) -> None:
        """`word`: what the answer says is true."""
        self._check, self._describe = check, describe
        self._body = orjson.dumps({word: True})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id = request_id_of(scope)
        status, headers, body = 200, {"content-type": JSON, "cache-control": "no-store"}, self._body
        try:
            self._check(scope["app"].state)
        except Exception as error:  # Whatever it is, the caller wants a status.
            status, _, headers, body = self._describe(error, request_id, scope["state"].get("trace_id", ""))
        raw = [(name.encode(), value.encode("latin-1")) for name, value in {**headers, "x-request-id": request_id}.items()]
        raw.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


def check_live(state: Any) -> None:
    """Raise DeviceLost or DeviceStuck if a new process is needed. Before the models are loaded nothing is raised."""
    if state.service is not None:
        check_device(state.service, state.heartbeat_seconds)


def check_serving(state: Any) -> None:
    """Raise an exception unless requests are served."""
    if state.service is None:
        raise Starting
    check_ready(state.service, state.heartbeat_seconds, state.draining)
