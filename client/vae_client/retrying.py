"""When a request is sent again: after 429 and 503 by Retry-After, after broken connections with growing pauses.

Knows nothing of how to wait, so that the client and the asynchronous one share it.
"""

import logging
import random
import ssl
import time
from collections.abc import Callable

import httpx

from vae_client.errors import NoAnswer, Overloaded, ProblemError, Unavailable, VaeError

log = logging.getLogger("vae_client")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
JITTER = 0.1  # Pauses are up to a tenth longer, so that callers do not come back all at once.
# With these errors of httpx the request has never reached the service.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL)
# With these it never will.
HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)


def no_answer(error: httpx.RequestError | httpx.InvalidURL) -> NoAnswer:
    """Return the exception of the client for one of httpx."""
    place = ""
    if isinstance(error, httpx.RequestError):
        url = error.request.url
        place = f" from {url.scheme}://{url.netloc.decode('ascii')}"
    reason = f"no answer{place}: {str(error) or type(error).__name__}"
    failure = NoAnswer(reason, sent=not isinstance(error, NEVER_SENT))
    failure.__cause__ = error
    return failure


def is_hopeless(error: BaseException | None) -> bool:
    """Return whether the same request will fail again: a wrong URL, or a certificate that is not trusted."""
    while error is not None:
        if isinstance(error, (*HOPELESS, ssl.SSLCertVerificationError)):
            return True
        error = error.__cause__ or error.__context__
    return False


class Attempts:
    """The attempts of one request. After the first failure, new ones begin for `seconds` more, if they can do no harm."""

    def __init__(self, repeatable: bool, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._repeatable, self._seconds, self._clock = repeatable, seconds, clock
        self._give_up: float | None = None
        self._pause = FIRST_PAUSE

    def pause_after(self, failure: VaeError) -> float:
        """Return the seconds to wait before the next attempt. Raises the failure if there is to be none."""
        now, is_first = self._clock(), self._give_up is None
        self._give_up = now + self._seconds if self._give_up is None else self._give_up
        pause = self._pause_after(failure)
        if pause is None or now + pause >= self._give_up:
            raise failure
        pause *= 1 + JITTER * random.random()  # noqa: S311 - not a secret
        # Whoever waits for a service that is not there should see why; a full queue is nothing unusual.
        level = logging.WARNING if is_first and not isinstance(failure, Overloaded) else logging.INFO
        log.log(level, "%s; trying again in %.1f s", failure, pause)
        return pause

    def _pause_after(self, failure: VaeError) -> float | None:
        if not self._is_safe(failure) or is_hopeless(failure.__cause__):
            return None
        stated = failure.retry_after if isinstance(failure, ProblemError) else None
        if stated is not None:
            return max(stated, FIRST_PAUSE)
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause

    def _is_safe(self, failure: VaeError) -> bool:
        """Return whether another attempt may help and cannot change anything twice."""
        if isinstance(failure, Overloaded):  # The service has refused it before doing anything.
            return True
        if isinstance(failure, NoAnswer):
            return self._repeatable or not failure.sent
        return self._repeatable and isinstance(failure, Unavailable)
