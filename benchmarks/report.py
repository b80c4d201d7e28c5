"""What is printed: the machine, and tables in Markdown. Knows nothing of what is measured."""

import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """Processor, cores and versions in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores; Python {platform.python_version()}, torch {version('torch')}, {platform.system()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def heading(module: str) -> str:
    """The machine and the command line, above every report."""
    return f"{machine()}\n\n`{' '.join(['python -m', module, *sys.argv[1:]])}`\n"


def progress(text: str) -> None:
    """Tell how far it is, beside the report."""
    print(text, file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; every column but the first to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None) -> str:
    """Three digits or more; a dash for what was not measured."""
    if value is None:
        return "–"
    if value and abs(value) < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 99.95 else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share as %."""
    return "–" if share is None else f"{100 * share:.0f} %"


def median(values: Iterable[float | None]) -> float | None:
    """Of those that were measured."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def spread(values: Sequence[float]) -> float | None:
    """Largest minus smallest, as a share of the median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle and len(values) > 1 else None


def errors(counts: Iterable[tuple[str, int]]) -> str:
    """How many of which kind; 0 when there were none."""
    sums: dict[str, int] = {}
    for kind, count in counts:
        sums[kind] = sums.get(kind, 0) + count
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(sums.items()) if count) or "0"
