"""W3C trace context: which trace a request belongs to, read from `traceparent` and written there.

https://www.w3.org/TR/trace-context-2/. Knows nothing of spans or of who collects them.
"""

import re
import secrets
from dataclasses import dataclass

HEADER = b"traceparent"
# version, trace, parent, flags; what a later version may have behind them is not ours to read
FIELDS = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
KNOWN_FLAGS = 0x03  # sampled, and that the trace id is random


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace: ids in lower-case hexadecimal, as they travel."""

    trace_id: str
    span_id: str
    flags: int = 0

    def header(self) -> bytes:
        """The value of `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}".encode()

    def child(self) -> "TraceContext":
        """Another place in the same trace."""
        return TraceContext(self.trace_id, secrets.token_hex(8), self.flags)


def new_trace() -> TraceContext:
    """A trace that begins here, not sampled, with a random id."""
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8), 0x02)


def parse(value: bytes) -> TraceContext | None:
    """What a `traceparent` says; None when it is malformed, by section 3.2 of the standard."""
    found = FIELDS.fullmatch(value.strip(b" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None) or not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return TraceContext(trace_id.decode(), span_id.decode(), int(flags, 16) & (KNOWN_FLAGS if version == b"00" else 1))


def incoming(values: list[bytes]) -> TraceContext | None:
    """The caller's place in a trace, from all its `traceparent` headers: there must be one, well-formed."""
    return parse(values[0]) if len(values) == 1 else None
