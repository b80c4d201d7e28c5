"""Who gets how many rows of the next batch: the requests that wait, in turn. Knows nothing of limits, threads or results.

A request may wait with several blocks; it has one turn all the same, so that a small request does not stand behind a huge one.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

# Parts into which a batch is cut for requests that do not fit: each costs about as much as computing a row.
MOST_SHARES = 8


class Block(Protocol):
    """Rows: anything with a length and slices, such as an array."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Any: ...


class Request(Protocol):
    """Whoever waits for rows."""

    tickets: "deque[Ticket]"  # blocks with rows that no batch has taken yet
    queue_seconds: float
    compute_seconds: float


@dataclass(slots=True, eq=False)
class Ticket:
    """One submitted block on its way through the batches."""

    block: Block
    future: "asyncio.Future[list[Any]]"
    request: Request
    deadline: float | None
    arrived: float
    taken: int = 0  # rows that batches have taken so far
    parts: list[Any] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """Rows that no batch has taken yet."""
        return len(self.block) - self.taken

    def is_pointless(self, now: float) -> bool:
        """Whether its caller is gone, or its time is up."""
        return self.future.done() or (self.deadline is not None and self.deadline <= now)


class FairQueue:
    """Requests with tickets, in turn. Not safe for threads."""

    def __init__(self) -> None:
        self._requests: deque[Request] = deque()

    def put(self, ticket: Ticket) -> None:
        """Append a ticket to those of its request."""
        if not ticket.request.tickets:
            self._requests.append(ticket.request)
        ticket.request.tickets.append(ticket)

    def remove(self, ticket: Ticket) -> bool:
        """Take a ticket out; False when it does not wait any more."""
        tickets = ticket.request.tickets
        if ticket not in tickets:
            return False
        tickets.remove(ticket)
        if not tickets:
            self._requests.remove(ticket.request)
        return True

    def clear(self) -> list[Ticket]:
        """Take all tickets out."""
        tickets = [ticket for request in self._requests for ticket in request.tickets]
        for request in self._requests:
            request.tickets.clear()
        self._requests.clear()
        return tickets

    def take(self, room: int, now: float) -> tuple[dict[Ticket, int], list[Ticket]]:
        """Rows of each ticket for a batch with `room` rows, and the tickets that were pointless; all of them leave the queue.

        All requests get equal shares in turn, and those who have more what is left. Where many wait, some of them get a
        share worth slicing and the others one of the next batch's.
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


def _take(request: Request, most: int, now: float, shares: dict[Ticket, int], pointless: list[Ticket]) -> int:
    """Up to `most` rows of one request into the shares; how many."""
    room = most
    while room and request.tickets:
        ticket = request.tickets[0]
        given = shares.get(ticket, 0)
        if not given and ticket.is_pointless(now):
            pointless.append(request.tickets.popleft())
            continue
        rows = min(room, ticket.waiting - given)
        shares[ticket] = given + rows
        room -= rows
        if given + rows == ticket.waiting:
            request.tickets.popleft()
    return most - room
