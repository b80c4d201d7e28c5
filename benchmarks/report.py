"""Print the machine and Markdown tables. Knows nothing of what is measured."""

import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """Return processor, cores and versions in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores; Python {platform.python_version()}, torch {version('torch')}, {platform.system()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # Not on Linux.
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def heading(module: str) -> str:
    """Return the heading of a report: the machine and the command line."""
    return f"{machine()}\n\n`{' '.join(['python -m', module, *sys.argv[1:]])}`\n"


def progress(text: str) -> None:
    """Print progress to stderr."""
    print(text, file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are right-aligned."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None) -> str:
    """Format a number with at least three digits; None becomes a dash."""
    if value is None:
        return "–"
    if value and abs(value) < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 99.95 else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """Format a share as a percentage; None becomes a dash."""
    return "–" if share is None else f"{100 * share:.0f} %"


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of all values that are not None."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def spread(values: Sequence[float]) -> float | None:
    """Return (largest - smallest) / median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle and len(values) > 1 else None


def errors(counts: Iterable[tuple[str, int]]) -> str:
    """Format counts of errors by kind; "0" if there are none."""
    sums: dict[str, int] = {}
    for kind, count in counts:
        sums[kind] = sums.get(kind, 0) + count
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(sums.items()) if count) or "0"
