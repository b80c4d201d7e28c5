"""Limits how many refusals are sent per second. Knows nothing about queues or requests.

A refusal costs about as much time as the answer to a small request. Clients that retry the moment they are refused would
leave no time for admitted requests, so a flood of refusals is slowed down.
"""

import asyncio
import time

# All refusals together. At about 400 us each, from reading the request to the last byte, they take a tenth of a core.
REFUSALS_PER_SECOND = 250.0
# The longest delay of one refusal. A flood too large for it is not slowed down any further.
LONGEST_SECONDS = 4.0


class RefusalPace:
    """Delays refusals, but only if there are many."""

    def __init__(self, per_second: float = REFUSALS_PER_SECOND) -> None:
        self._interval = 1 / per_second
        self._next = 0.0  # when the next one may be sent, on the clock of time.monotonic

    async def turn(self) -> None:
        """Wait until one more refusal may be sent."""
        now = time.monotonic()
        wait = min(max(0.0, self._next - now), LONGEST_SECONDS)
        self._next = max(now, min(self._next, now + LONGEST_SECONDS)) + self._interval
        if wait:
            await asyncio.sleep(wait)
