"""Metrics of several worker processes: each writes its own to a file, and the one that is asked adds all of them up.

A file is JSON and is replaced atomically, so a reader sees one moment of each worker. What a worker has counted stays in the
sums after its end; its gauges do not. Knows nothing of Prometheus or HTTP.
"""

import json
import logging
import os
import secrets
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from service.observe.histogram import Counted
from service.observe.metrics import Family

log = logging.getLogger(__name__)

COMBINE: Mapping[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


class SharedMetrics:
    """The metrics of all workers that share a directory. Any thread may call the methods."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # The random part tells this process from an earlier one that had the same id.
        self._path = directory / f"{os.getpid()}-{secrets.token_hex(8)}.json"
        self._lock = threading.Lock()
        self._has_failed = False

    def publish(self, families: Sequence[Family]) -> None:
        """Write the file of this worker anew. An error, such as a full disk, is logged and not raised."""
        with self._lock:
            try:
                _write(self._path, families)
                self._has_failed = False
            except OSError as error:
                if not self._has_failed:
                    log.warning("the metrics of this worker could not be shared with the other workers: %s", error)
                self._has_failed = True

    def of_all(self) -> list[Family]:
        """Return the metrics of all workers together: totals of all that ever ran, gauges of those that live."""
        paths = sorted(self._directory.glob("*.json"))
        return combine([_drop_gauges(path) if _is_dead(path) else _load(path) for path in paths])

    def leave(self) -> None:
        """Remove the gauges of this worker, which is about to end, and keep its totals."""
        with self._lock, suppress(FileNotFoundError):  # nothing was published
            _drop_gauges(self._path)


def combine(workers: Iterable[Sequence[Family]]) -> list[Family]:
    """Add up counters and histograms, and combine gauges as their families say."""
    families: dict[str, Family] = {}
    values: defaultdict[str, defaultdict[Any, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for family in (family for worker in workers for family in worker):
        families.setdefault(family.name, family)
        for labels, value in family.samples.items():
            values[family.name][labels].append(value)
    combined = []
    for name, family in families.items():
        one: Callable[[Any], Any] = _add_histograms if family.kind == "histogram" else COMBINE[family.of_workers]
        combined.append(replace(family, samples={labels: one(some) for labels, some in values[name].items()}))
    return combined


def _add_histograms(some: Sequence[Counted]) -> Counted:
    # By bound: after a reload the histograms of a dead worker and of a living one may have other bounds.
    counts: Counter[float] = Counter()
    for one in some:
        for bound, count in zip((*one.bounds, inf), one.counts, strict=True):
            counts[bound] += count
    bounds = sorted(counts)
    return Counted(tuple(bounds[:-1]), tuple(counts[bound] for bound in bounds), sum(one.sum for one in some))


def _is_dead(path: Path) -> bool:
    try:
        os.kill(int(path.name.partition("-")[0]), 0)
    except (ProcessLookupError, PermissionError):  # no such process, or one of another user, hence no worker
        return True
    return False


def _drop_gauges(path: Path) -> list[Family]:
    """Rewrite the file of a worker that has ended, so that its gauges do not return when another process gets its id."""
    families = _load(path)
    totals = [family for family in families if family.kind != "gauge"]
    if len(totals) < len(families):
        with suppress(OSError):  # the disk is full
            _write(path, totals)
    return totals


def _write(path: Path, families: Sequence[Family]) -> None:
    fields = [{**vars(one), "samples": list(one.samples.items())} for one in families]
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")  # several processes may rewrite the file of a dead one
    try:
        part.write_text(json.dumps(fields, default=vars))  # `vars` writes a histogram as an object
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _load(path: Path) -> list[Family]:
    families = []
    for fields in json.loads(path.read_bytes()):
        samples = {tuple(labels): _value(value) for labels, value in fields["samples"]}
        families.append(Family(**{**fields, "labels": tuple(fields["labels"]), "samples": samples}))
    return families


def _value(plain: Any) -> float | Counted:
    return Counted(tuple(plain["bounds"]), tuple(plain["counts"]), plain["sum"]) if isinstance(plain, dict) else float(plain)
