"""How the client sends calls: one with its retries, or many at once in order. Knows nothing of what the calls are."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
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
        self._http = httpx.Client(
            **http_arguments(base_url, api_key, timeout, retry_seconds, connections, headers), transport=transport
        )
        self._model, self._retry_seconds, self._connections = model, retry_seconds, connections
        self._closed = threading.Event()
        self._stops = {self._closed}  # They end the waits for other attempts.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. Requests that wait for another attempt fail."""
        self._http.close()
        for stop in tuple(self._stops):
            stop.set()

    def _options(
        self,
        model: str | None,
        timeout_ms: int | None,
        background: Background | None = None,
        invert: Invert | None = None,
        label: Label | None = None,
    ) -> Options:
        return Options(model or self._model, timeout_ms, background, invert, label)

    def _run(self, call: Call[T], retry_seconds: float | None = None, stop: threading.Event | None = None) -> T:
        """Send a call until it succeeds, fails for good, or `stop` is set. Raises VaeError."""
        attempts = Attempts(call.repeatable, self._retry_seconds if retry_seconds is None else retry_seconds)
        while True:
            if self._http.is_closed:
                raise NoAnswer("the client is closed", sent=False)
            try:
                response = self._http.request(**request_arguments(call))
            except (httpx.RequestError, httpx.InvalidURL) as error:
                failure: NoAnswer | ProblemError | None = no_answer(error)
            else:
                failure = problem_of(response, call.path)
            if failure is None:
                return call.answer(response)
            if (stop or self._closed).wait(attempts.pause_after(failure)):
                raise failure

    def _in_order(
        self, parts: Iterator[Batch], build: Callable[[Batch], Call[T]], concurrency: int, bar: Progress
    ) -> Iterator[T]:
        """Yield the answers for batches in their order, with `concurrency` requests at once. Raises BatchFailed.

        Twice as many batches are begun or done, so that one slow answer does not leave connections without work.
        A batch that is too large for the service is sent in halves, which have answers of their own.
        """
        stop, waiting, sizes = threading.Event(), deque[tuple[int, Future[list[T]]]](), Sizes()
        workers = max(1, min(concurrency, self._connections))
        self._stops.add(stop)

        def send(batch: Batch) -> list[T]:
            if stop.is_set() and not self._http.is_closed:  # A closed client says so.
                raise CancelledError
            if sizes.fits(batch):
                try:
                    return [self._run(build(batch), stop=stop)]
                except Exception as error:
                    if not sizes.shrink(batch, error):
                        raise BatchFailed(batch.items, batch.ids, error) from error
            return [answer for half in batch.halves() for answer in send(half)]

        with ThreadPoolExecutor(workers, "vae-client") as pool, bar:
            try:
                for batch in parts:
                    waiting.append((len(batch.items), pool.submit(send, batch)))
                    if len(waiting) == 2 * workers:
                        count, future = waiting.popleft()
                        yield from future.result()
                        bar.add(count)
                while waiting:
                    count, future = waiting.popleft()
                    yield from future.result()
                    bar.add(count)
            finally:
                stop.set()
                self._stops.discard(stop)
                for _, future in waiting:
                    future.cancel()
