"""Measure the CPU time that other processes take during a measurement, which disturbs it. Knows nothing of the load."""

import os
import time

import psutil

# The operating system alone takes about a tenth of a core.
DISTURBED_CORES = 0.2


class Bystanders:
    """Measures other processes from its creation on: all but a server's process tree, this process and its ended children."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._started, self._before = time.perf_counter(), self._cpu_of_others()

    def cores(self) -> float:
        """Return the CPU seconds of all others per second since the start."""
        return max(0.0, (self._cpu_of_others() - self._before) / (time.perf_counter() - self._started))

    def _cpu_of_others(self) -> float:
        everybody = psutil.cpu_times()
        own = os.times()
        ours = own.user + own.system + own.children_user + own.children_system
        try:
            root = psutil.Process(self._server)
            for process in (root, *root.children(recursive=True)):
                used = process.cpu_times()
                ours += used.user + used.system + used.children_user + used.children_system
        except psutil.NoSuchProcess:  # A child has just ended; its time is counted for its parent.
            pass
        # Linux counts processes with a lower priority apart.
        return everybody.user + everybody.system + getattr(everybody, "nice", 0.0) - ours


def remark(cores: list[float]) -> str:
    """Return a line to print below a table."""
    busiest, middle = max(cores), sorted(cores)[len(cores) // 2]
    warning = " These numbers are disturbed: measure again on a quiet machine." if busiest > DISTURBED_CORES else ""
    return f"Other processes took {middle:.2f} of a core in the median measurement, at most {busiest:.2f}.{warning}"
