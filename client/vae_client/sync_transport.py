"""How the client sends calls: one with its retries, or many at once in order. Knows nothing of what the calls are."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import httpx

from vae_client.batches import Batch
from vae_client.calls import Background, Call, Invert, Options
from vae_client.connection import http_arguments, request_arguments
from vae_client.errors import BatchFailed, NoAnswer, ProblemError, problem_of
from vae_client.progress import Progress
from vae_client.retrying import Attempts, no_answer

T = TypeVar("T")


class Transport:
    """The connections of a client."""

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(**http_arguments(base_url, api_key, timeout, connections, headers), transport=transport)
        self._model, self._retry_seconds, self._connections = model, retry_seconds, connections
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. Requests that wait for another attempt fail."""
        self._closed.set()
        self._http.close()

    def _options(
        self,
        model: str | None,
        timeout_ms: int | None,
        background: Background | None = None,
        invert: Invert | None = None,
    ) -> Options:
        return Options(model or self._model, timeout_ms, background, invert)

    def _run(self, call: Call[T], retry_seconds: float | None = None, stop: threading.Event | None = None) -> T:
        """Send a call until it succeeds, fails for good, or `stop` is set. Raises VaeError."""
        attempts = Attempts(call.repeatable, self._retry_seconds if retry_seconds is None else retry_seconds)
        while True:
            try:
                response = self._http.request(**request_arguments(call))
            except httpx.RequestError as error:
                failure: NoAnswer | ProblemError | None = no_answer(error)
            else:
                failure = problem_of(response)
            if failure is None:
                return call.read(response)
            if (stop or self._closed).wait(attempts.pause_after(failure)):
                raise failure

    def _in_order(
        self, parts: Iterator[Batch], build: Callable[[Batch], Call[T]], concurrency: int, bar: Progress
    ) -> Iterator[T]:
        """Yield the answers for batches in their order, with `concurrency` requests at once. Raises BatchFailed.

        Twice as many batches are begun or done, so that one slow answer does not leave connections without work.
        """
        stop, waiting = threading.Event(), deque[Future[T]]()
        workers = max(1, min(concurrency, self._connections))

        def send(batch: Batch) -> T:
            try:
                return self._run(build(batch), stop=stop)
            except Exception as error:
                raise BatchFailed(batch.items, batch.ids, error) from error

        with ThreadPoolExecutor(workers, "vae-client") as pool, bar:
            sizes = deque[int]()
            try:
                for batch in parts:
                    waiting.append(pool.submit(send, batch))
                    sizes.append(len(batch.items))
                    if len(waiting) == 2 * workers:
                        yield waiting.popleft().result()
                        bar.add(sizes.popleft())
                while waiting:
                    yield waiting.popleft().result()
                    bar.add(sizes.popleft())
            finally:
                stop.set()
                for future in waiting:
                    future.cancel()
