"""Limits of one connection and on the number of connections. Knows nothing of how they are enforced."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """Limits of one connection, in seconds, bytes, and bytes per second, and the largest number of connections."""

    header_seconds: float
    keep_alive_seconds: float
    slow_seconds: float
    min_bytes_per_second: int
    max_header_bytes: int
    max_headers: int
    max_connections: int
