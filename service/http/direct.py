"""What the hot path needs of an operation whose answers take one pass through a queue.

Knows nothing of how requests are received, nor of what rows and results mean.
"""

from typing import Any, Protocol


class Queue(Protocol):
    """A queue of rows: a lane of the engine."""

    def enqueue(self, block: Any, request: Any, outcome: Any) -> Any:
        """Put rows into the queue and return a ticket, or None if the queue takes no more rows now."""

    def withdraw(self, ticket: Any) -> None:
        """Forget a ticket."""

    def join(self, parts: list[Any]) -> Any:
        """Return the results of all rows."""


class Served(Protocol):
    """What answers: a loaded model."""

    @property
    def name(self) -> str:
        """Its name."""


# A model, its queue, and rows for it.
Asked = tuple[Served, Queue, Any]


class Direct(Protocol):
    """Makes rows of bodies and answers of results, for all requests with the same method, headers and query."""

    def rows(self, service: Any, body: bytes) -> Asked | None:
        """Return the model, its queue and the rows that a body asks for. None: the request has to take the usual way."""

    def body(self, model: Any, rows: Any, results: Any) -> bytes:
        """Return the body of the answer, at most COUNTED_FROM bytes."""

    def lines(self, model: Any) -> bytes:
        """Return the header lines of the answer with places for milliseconds in the queue and of computing, id and length."""
