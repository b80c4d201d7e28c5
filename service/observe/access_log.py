"""The access log: one line for each request.

Under load its lines would take a third of a small request's time if they went through all of `logging`. So, where nothing but
our own writer listens, that gets them directly. Knows nothing of HTTP beyond the names of what it logs.
"""

import logging
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from service.observe.log_writer import LogWriter
from service.observe.trace_context import TraceContext

# The logger of requests.
ACCESS = "service.access"
log = logging.getLogger(ACCESS)

# Longer paths and addresses are cut: the caches below would keep them.
LONGEST_PATH, LONGEST_ADDRESS = 200, 64
# An IPv4 address, an IPv6 address with an optional zone, or nothing.
ADDRESS = re.compile(r"[0-9A-Fa-f:.]{0,45}(%[0-9A-Za-z_.-]{1,16})?")


@dataclass(slots=True)
class Access:
    """One finished request. `finished`: in the time of `time.time`. `model`: the model that answered, or empty."""

    finished: float
    client: str
    method: str
    path: str
    status: int
    seconds: float
    request_id: str
    model: str = ""
    trace: TraceContext | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of the line by their names."""
        fields: dict[str, Any] = {
            "client": _address(self.client),
            "method": self.method,
            "path": _quoted(self.path),
            "status": self.status,
            "seconds": round(self.seconds, 6),
        }
        if self.model:
            fields["model"] = self.model
        fields["request_id"] = self.request_id
        if self.trace is not None:
            fields["trace_id"], fields["span_id"] = self.trace.trace_id, self.trace.span_id
        return fields

    def message(self) -> str:
        """Return the line in words."""
        model = f", {self.model}" if self.model else ""
        request = f'"{self.method} {_quoted(self.path)}" {self.status} in {1e3 * self.seconds:.1f} ms'
        return f"{_address(self.client)} - {request}{model}, {self.request_id}"


def write(
    client: object,
    method: str,
    path: str,
    status: int,
    seconds: float,
    request_id: str,
    model: str = "",
    trace: TraceContext | None = None,
) -> None:
    """Log a request that is finished now. `client`: (address, port), or None."""
    if not log.isEnabledFor(logging.INFO):
        return
    address = str(client[0])[:LONGEST_ADDRESS] if isinstance(client, tuple | list) and client else ""
    access = Access(time.time(), address, method, path[:LONGEST_PATH], status, seconds, request_id, model, trace)
    handlers = log.handlers
    if len(handlers) == 1 and isinstance(handlers[0], LogWriter) and not (log.propagate or log.filters):
        writer = handlers[0]
        writer.put(writer.formatter.format_access(access))  # type: ignore[union-attr]  # see `logs.log_config`
    else:
        log.info("%s", access.message(), extra=access.fields())


@lru_cache(maxsize=1000)
def _address(client: str) -> str:
    """Return the caller's address. It may come from a proxy's header, so it is checked."""
    return client if ADDRESS.fullmatch(client) else "unknown"


@lru_cache(maxsize=1000)
def _quoted(path: str) -> str:
    """Return a path that keeps the log entry on one line."""
    return quote(path, safe="/%:@!$&'()*+,;=~")
