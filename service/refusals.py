"""How fast a full queue says no. Knows nothing of queues or requests.

A refusal costs about as much as the answer to a small request. Clients that come back the moment they are refused would
leave no time for those who were admitted; a flood of them is therefore answered at a pace that does.
"""

import asyncio
import time

# of all refusals together; at about 100 us each they take a tenth of the event loop
REFUSALS_PER_SECOND = 1000.0


class Refusals:
    """The pace of refusals: at once as long as they are few."""

    def __init__(self, per_second: float = REFUSALS_PER_SECOND) -> None:
        self._interval = 1 / per_second
        self._next = 0.0  # when the next one is due, in the time of `time.monotonic`

    async def turn(self, retry_after: float) -> None:
        """Wait for the turn of one refusal, but never longer than the client is asked to stay away anyway, in seconds."""
        now = time.monotonic()
        wait = min(max(0.0, self._next - now), retry_after)
        self._next = max(now, min(self._next, now + retry_after)) + self._interval
        if wait:
            await asyncio.sleep(wait)
