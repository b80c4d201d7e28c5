"""Both clients behind one face, so that each test asks both the same."""

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
