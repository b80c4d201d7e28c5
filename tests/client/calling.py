"""Both clients behind one face, so that each test asks both the same; and transports whose answers are made up or lost."""

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
from vae_client import AsyncClient, Client

WAYS = ("sync", "async")


class _Blocking:
    """An asynchronous client whose methods wait; what it iterates over comes as a list."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client, self._runner = client, runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            async def wait() -> Any:
                found = method(*arguments, **options)
                return await found if inspect.isawaitable(found) else [one async for one in found]

            return self._runner.run(wait())

        return call


@contextmanager
def calling(way: str, url: str, **options: Any) -> Iterator[Client]:
    """A client of either kind."""
    if way == "sync":
        with Client(url, **options) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        waiting = AsyncClient(url, **options)
        try:
            yield cast(Client, _Blocking(waiting, runner))
        finally:
            runner.run(waiting.aclose())


class Losing(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Passes requests on, and loses every third answer after the service has done its work."""

    def __init__(self) -> None:
        self._sync, self._async = httpx.HTTPTransport(), httpx.AsyncHTTPTransport()
        self.sent = self.lost = 0

    def _lose(self, request: httpx.Request) -> None:
        self.sent += 1
        if self.sent % 3 == 0:
            self.lost += 1
            raise httpx.ReadError("lost", request=request)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._sync.handle_request(request)
        response.read()
        self._lose(request)
        return response

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._async.handle_async_request(request)
        await response.aread()
        self._lose(request)
        return response

    def close(self) -> None:
        self._sync.close()

    async def aclose(self) -> None:
        await self._async.aclose()


def problem(status: int, code: str, after: str | None = "0", **others: object) -> httpx.Response:
    headers = {"x-request-id": "abc"} | ({} if after is None else {"retry-after": after})
    return httpx.Response(status, json={"code": code, "detail": "because", **others}, headers=headers)


class Script:
    """Answers requests in turn: with responses, or by raising."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)


ITEM = {"id": "a", "metadata": {}, "seq": 1, "mu": None, "of a later version": 1}
ADDED = {
    "ids": ["a"],
    "seq": 1,
    "added": ["a"],
    "replaced": [],
    "warnings": [{"item": 0, "code": "blank", "detail": "d"}],
    "of a later version": 1,
}
