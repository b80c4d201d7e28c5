"""How fast a full queue says no. Knows nothing of queues or requests.

A refusal costs about as much as the answer to a small request. Clients that come back the moment they are refused would
leave no time for those who were admitted; a flood of them is therefore answered at a pace that does.
"""

import asyncio
import time

# of all refusals together; at about 200 us each, from the connection's wake-up to its last byte, they take a tenth of a core
REFUSALS_PER_SECOND = 500.0
# how long a refusal may be kept back; above so many a second times this, they are answered as they come
LONGEST_SECONDS = 2.0


class RefusalPace:
    """The pace of refusals: at once as long as they are few."""

    def __init__(self, per_second: float = REFUSALS_PER_SECOND) -> None:
        self._interval = 1 / per_second
        self._next = 0.0  # when the next one is due, in the time of `time.monotonic`

    async def turn(self) -> None:
        """Wait for the turn of one refusal."""
        now = time.monotonic()
        wait = min(max(0.0, self._next - now), LONGEST_SECONDS)
        self._next = max(now, min(self._next, now + LONGEST_SECONDS)) + self._interval
        if wait:
            await asyncio.sleep(wait)
