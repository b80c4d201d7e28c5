"""W3C trace context: reads and writes the header `traceparent`, which says to which trace a request belongs.

https://www.w3.org/TR/trace-context-2/. Knows nothing of spans or of who collects them.
"""

import re
import secrets
from dataclasses import dataclass

HEADER = b"traceparent"
# Version, trace, parent, flags. A later version may append fields, which are ignored.
FIELDS = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
KNOWN_FLAGS = 0x03  # sampled, random trace id


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The ids of a trace and of one of its spans, in lower-case hexadecimal, as `traceparent` has them."""

    trace_id: str
    span_id: str
    flags: int = 0

    def header(self) -> bytes:
        """Return the value of `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}".encode()

    def child(self) -> "TraceContext":
        """Return the context of a new span in the same trace."""
        return TraceContext(self.trace_id, secrets.token_hex(8), self.flags)


def new_trace() -> TraceContext:
    """Return the context of a new trace with a random id, not sampled."""
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8), 0x02)


def parse(value: bytes) -> TraceContext | None:
    """Parse a `traceparent`. Return None if it is malformed by section 3.2 of the standard."""
    found = FIELDS.fullmatch(value.strip(b" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None) or not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return TraceContext(trace_id.decode(), span_id.decode(), int(flags, 16) & (KNOWN_FLAGS if version == b"00" else 1))


def incoming(values: list[bytes]) -> TraceContext | None:
    """Return the caller's context if there is exactly one `traceparent` header and it is well-formed, else None."""
    return parse(values[0]) if len(values) == 1 else None
