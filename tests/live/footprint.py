"""Measures what a running service uses: memory, file descriptors, threads. Knows nothing of the requests."""

import statistics
import time
from dataclasses import dataclass

import psutil

from .server import Server

MIB = 1 << 20
LOOKS, PAUSE_SECONDS = 5, 0.4


@dataclass(frozen=True)
class Footprint:
    """The footprint of the process while it is idle."""

    resident: float  # bytes
    descriptors: int
    threads: int

    def __str__(self) -> str:
        return f"{self.resident / MIB:.1f} MiB, {self.descriptors} descriptors, {self.threads} threads"


def footprint(server: Server) -> Footprint:
    """Once the connections of those who are gone are closed; memory is the median of some looks."""
    process = psutil.Process(server.process.pid)
    server.poll(
        lambda: not process.net_connections("tcp") or all(one.status == "LISTEN" for one in process.net_connections("tcp"))
    )
    resident = []
    for _ in range(LOOKS):
        resident.append(process.memory_info().rss)
        time.sleep(PAUSE_SECONDS)
    return Footprint(statistics.median(resident), process.num_fds(), process.num_threads())
