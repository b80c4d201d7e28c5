"""Divides the rows of the next batch fairly among the waiting requests. Knows nothing of limits, threads or results.

A request that waits with several blocks gets one turn like any other, so that small requests do not wait behind a huge one.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.engine.gate import Outcome

# A batch is shared by at most this many requests that do not fit into it as a whole: each slice costs about as much as
# computing one row.
MOST_SHARES = 8


class Block(Protocol):
    """A sequence of rows: anything with a length and slicing, such as an array."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Any: ...


class QueuedRequest(Protocol):
    """A request whose blocks wait in the queue."""

    tickets: "deque[Ticket]"  # blocks with rows that no batch has taken yet
    queue_seconds: float
    compute_seconds: float


@dataclass(slots=True, eq=False)
class Ticket:
    """One submitted block, and how much of it batches have taken and computed."""

    block: Block
    future: Outcome
    request: QueuedRequest
    deadline: float | None
    arrived: float
    taken: int = 0  # rows that batches have taken so far
    parts: list[Any] = field(default_factory=list)
    kept: Callable[[int], None] | None = None  # called with the number of rows that were computed, to keep them admitted

    @property
    def waiting(self) -> int:
        """The number of rows that no batch has taken yet."""
        return len(self.block) - self.taken

    def is_pointless(self, now: float) -> bool:
        """Return whether the caller is gone or the deadline has passed."""
        return self.future.done() or (self.deadline is not None and self.deadline <= now)


class FairQueue:
    """A queue of requests that take turns. It is not thread-safe."""

    def __init__(self) -> None:
        self._requests: deque[QueuedRequest] = deque()

    def put(self, ticket: Ticket) -> None:
        """Append a ticket to the tickets of its request."""
        if not ticket.request.tickets:
            self._requests.append(ticket.request)
        ticket.request.tickets.append(ticket)

    def remove(self, ticket: Ticket) -> bool:
        """Remove a ticket. Return False if it does not wait any more."""
        tickets = ticket.request.tickets
        if ticket not in tickets:
            return False
        tickets.remove(ticket)
        if not tickets:
            self._requests.remove(ticket.request)
        return True

    def clear(self) -> list[Ticket]:
        """Remove and return all tickets."""
        tickets = [ticket for request in self._requests for ticket in request.tickets]
        for request in self._requests:
            request.tickets.clear()
        self._requests.clear()
        return tickets

    def take_all(self, now: float) -> tuple[dict[Ticket, int], list[Ticket]]:
        """Take everything, as `take` does if it has room for all: the usual case, in less time."""
        shares: dict[Ticket, int] = {}
        pointless: list[Ticket] = []
        for ticket in self.clear():
            if ticket.is_pointless(now):
                pointless.append(ticket)
            else:
                shares[ticket] = ticket.waiting
        return shares, pointless

    def take(self, room: int, now: float) -> tuple[dict[Ticket, int], list[Ticket]]:
        """Take up to `room` rows for a batch. Return the rows of each ticket, and the tickets that have become pointless.

        All requests get equal shares; what is left goes to those that have more. If many requests wait, some of them get a
        share that is worth slicing, and the others get theirs in the next batch.
        """
        shares: dict[Ticket, int] = {}
        pointless: list[Ticket] = []
        least = max(1, room // MOST_SHARES)
        while room and self._requests:
            share = max(least, room // len(self._requests))
            for _ in range(len(self._requests)):
                if not room:
                    break
                request = self._requests.popleft()
                room -= _take(request, min(share, room), now, shares, pointless)
                if request.tickets:
                    self._requests.append(request)
        return shares, pointless


def _take(request: QueuedRequest, most: int, now: float, shares: dict[Ticket, int], pointless: list[Ticket]) -> int:
    """Move up to `most` rows of one request into the shares. Return how many."""
    room, tickets = most, request.tickets
    while room and tickets:
        ticket = tickets[0]
        given = shares.get(ticket, 0)
        if not given and ticket.is_pointless(now):
            pointless.append(tickets.popleft())
            continue
        waiting = ticket.waiting - given
        rows = min(room, waiting)
        shares[ticket] = given + rows
        room -= rows
        if rows == waiting:
            tickets.popleft()
    return most - room
