"""How the asynchronous client sends calls: one with its retries, or many at once in order. The twin of sync_transport.py."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

import httpx

from vae_client.batches import Batch, Sizes
from vae_client.calls import Background, Call, Invert, Options
from vae_client.connection import http_arguments, request_arguments
from vae_client.errors import BatchFailed, NoAnswer, ProblemError, problem_of
from vae_client.labels import Label
from vae_client.progress import Progress
from vae_client.retrying import Attempts, no_answer

T = TypeVar("T")


class AsyncTransport:
    """The connections of an asynchronous client."""

    def __init__(
        self,
        base_url: str = "http://localhost:8000",
        *,
        api_key: str | None = None,
        model: str | None = None,
        timeout: float = 60.0,
        retry_seconds: float = 60.0,
        connections: int = 16,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            **http_arguments(base_url, api_key, timeout, retry_seconds, connections, headers), transport=transport
        )
        self._model, self._retry_seconds, self._connections = model, retry_seconds, connections
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Requests that wait for another attempt fail."""
        self._closed.set()
        await self._http.aclose()

    def _options(
        self,
        model: str | None,
        timeout_ms: int | None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
    ) -> Options:
        return Options(model or self._model, timeout_ms, background, invert, label)

    async def _built(self, build: Callable[..., Call[T]], *arguments: object) -> T:
        """Send a call that is built in a thread, because files are read and pictures encoded. Raises VaeError."""
        return await self._run(await asyncio.to_thread(build, *arguments))

    async def _run(self, call: Call[T], retry_seconds: float | None = None) -> T:
        """Send a call until it succeeds or fails for good. Raises VaeError."""
        attempts = Attempts(call.repeatable, self._retry_seconds if retry_seconds is None else retry_seconds)
        while True:
            if self._http.is_closed:
                raise NoAnswer("the client is closed", sent=False)
            try:
                response = await self._http.request(**request_arguments(call))
            except (httpx.RequestError, httpx.InvalidURL) as error:
                failure: NoAnswer | ProblemError | None = no_answer(error)
            else:
                failure = problem_of(response, call.path)
            if failure is None:
                return call.answer(response)
            pause = attempts.pause_after(failure)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), pause)
                raise failure

    async def _in_order(
        self, parts: Iterator[Batch], build: Callable[[Batch], Call[T]], concurrency: int, bar: Progress
    ) -> AsyncIterator[T]:
        """Yield the answers for batches in their order, with `concurrency` requests at once. Raises BatchFailed.

        Twice as many batches are begun or done, so that one slow answer does not leave connections without work.
        A batch that is too large for the service is sent in halves, which have answers of their own.
        """
        waiting, sizes = deque[tuple[int, asyncio.Task[list[T]]]](), Sizes()
        workers = max(1, min(concurrency, self._connections))
        turn = asyncio.Semaphore(workers)

        async def send(batch: Batch) -> list[T]:
            if sizes.fits(batch):
                try:
                    async with turn:
                        return [await self._built(build, batch)]
                except Exception as error:
                    if not sizes.shrink(batch, error):
                        raise BatchFailed(batch.items, batch.ids, error) from error
            return [answer for half in batch.halves() for answer in await send(half)]

        with bar:
            try:
                while (batch := await asyncio.to_thread(next, parts, None)) is not None:
                    waiting.append((len(batch.items), asyncio.create_task(send(batch))))
                    if len(waiting) == 2 * workers:
                        count, task = waiting.popleft()
                        for answer in await task:
                            yield answer
                        bar.add(count)
                while waiting:
                    count, task = waiting.popleft()
                    for answer in await task:
                        yield answer
                    bar.add(count)
            finally:
                for _, task in waiting:
                    task.cancel()
                await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
