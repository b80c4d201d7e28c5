"""A request and its answer as plain values, for every protocol. Knows nothing about frameworks, models or devices."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from service.timings import Timings

# The key in a scope's state of what an operation has returned or raised on the hot path.
OUTCOME = "outcome"
MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(slots=True)
class Call:
    """One request. Header names are in lower case; the query string is not decoded."""

    headers: Mapping[str, str]
    query: str
    body: bytes
    started: float = field(default_factory=time.monotonic)
    path: Mapping[str, str] = field(default_factory=dict)  # values of the parameters in the route's path
    method: str = "POST"
    timings: Timings = field(default_factory=Timings)
    limit: Callable[[float | None], object] = lambda deadline: None  # called with the deadline, or None, once it is known
    need: Callable[[str], None] = lambda scope: None  # raises MissingScope if the caller's key lacks one more scope

    @property
    def content_type(self) -> str:
        """The media type of the Content-Type header, in lower case and without parameters; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def stated_deadline(call: Call) -> float | None:
    """Return the deadline from the query or the header, which are known before the body is parsed; None if they state none."""
    stated = call.headers.get("x-timeout-ms", "")
    if "timeout_ms" in call.query:
        stated = dict(parse_qsl(call.query)).get("timeout_ms", stated)
    return call.started + int(stated) / 1000 if MILLISECONDS.fullmatch(stated) else None


def header_timeout(call: Call, refused: Callable[[str], Exception]) -> int | None:
    """Return the milliseconds that the header X-Timeout-Ms states, or None. Raises `refused` with a message."""
    header = call.headers.get("x-timeout-ms")
    if header is None:
        return None
    if not MILLISECONDS.fullmatch(header):
        raise refused(f"X-Timeout-Ms must be a whole number from 1 to 999999999, not {header[:80]!r}")
    return int(header)


@dataclass(slots=True)
class Answer:
    """One response."""

    body: bytes
    media_type: str
    headers: dict[str, str]
    status: int = 200
