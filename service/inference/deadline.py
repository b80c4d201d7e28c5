"""An end to waiting: work that is cancelled at its deadline. Knows nothing of what the work is."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from service.engine.errors import DeadlineExceeded

T = TypeVar("T")


async def in_time(work: Awaitable[T], deadline: float | None, late: str) -> T:
    """Return what `work` gives before the deadline, in the time of `time.monotonic`; None waits for ever.

    Cancels the work and raises DeadlineExceeded with the message `late` otherwise.
    """
    if deadline is None:
        return await work
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await work
    except TimeoutError:
        raise DeadlineExceeded(late) from None
