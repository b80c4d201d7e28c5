"""Counts the inference requests that fail, wherever they do: also those whose body is never read to its end.

Knows nothing of tensors.
"""

import time

from service.asgi import ASGIApp, Message, Receive, Scope, Send
from service.open_inference import names
from service.open_inference.errors import NoSuchModel
from service.open_inference.statistics import Statistics

OK = 200


class Counted:
    """Wraps the endpoint for inference. Requests that succeed are counted there, with the times of their parts."""

    def __init__(self, endpoint: ASGIApp, statistics: Statistics) -> None:
        self._endpoint, self._statistics = endpoint, statistics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started, status = time.monotonic(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._endpoint(scope, receive, sent)
        finally:
            if status != OK:  # It stays 0 if the client has left.
                self._count(scope, time.monotonic() - started)

    def _count(self, scope: Scope, seconds: float) -> None:
        """Count a failure of the model that was asked for, unless there is none."""
        service = scope["app"].state.service
        if service is None:
            return
        try:
            _, model, operation = names.find(service.pipeline.catalog, scope["path_params"])
        except NoSuchModel:
            return
        self._statistics.of(model, operation).failed(seconds)
