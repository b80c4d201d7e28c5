"""Families of numbers as Prometheus reads them, in its text format or as OpenMetrics; of one process, or of several together.

Several share a directory of files, in the format of prometheus-client's multiprocess mode: each process writes its own
numbers there now and then, and whichever is asked reads those of all. Imported where it is needed: prometheus-client takes
50 ms. Knows nothing of what is counted.
"""

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from service.observe.histogram import Counted
from service.observe.metrics import Family


class Families(Collector):
    """Families as prometheus-client collects them."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """One metric a family."""
        for family in self._families:
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            if family.kind == "histogram":
                yield _histogram(family)
                continue
            metric = kind(family.name, family.help, labels=family.labels)
            for labels, value in family.samples.items():
                assert not isinstance(value, Counted)  # noqa: S101
                metric.add_metric(labels, value)
            yield metric


def _histogram(family: Family) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, counted in family.samples.items():
        assert isinstance(counted, Counted)  # noqa: S101
        buckets, total = [], 0
        for bound, count in zip((*counted.bounds, float("inf")), counted.counts, strict=True):
            total += count
            buckets.append((floatToGoString(bound), float(total)))
        metric.add_metric(labels, buckets, counted.sum)
    return metric


def of_this_process(families: Sequence[Family], accept: str) -> tuple[bytes, str]:
    """(body, media type) with the numbers of the process and the interpreter."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(Families(families))
    return _encode(registry, accept)


def _process() -> Iterable[Family]:
    """Memory, processor time and descriptors of this process; of several their sums, and the youngest one's start."""
    for metric in ProcessCollector(registry=CollectorRegistry()).collect():
        sample = metric.samples[0]
        kind: Literal["counter", "gauge"] = "counter" if metric.type == "counter" else "gauge"
        of_workers: Literal["livemax", "livesum"] = "livemax" if "start" in metric.name else "livesum"
        yield Family(sample.name, kind, metric.documentation, (), {(): sample.value}, of_workers)


def _encode(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class SharedMetrics:
    """The numbers of several processes, in a directory that they share. For any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, MmapedDict] = {}
        self._keys: dict[Any, tuple[MmapedDict, str]] = {}
        self._written: dict[Any, float] = {}
        self._lock = threading.Lock()

    def publish(self, families: Sequence[Family]) -> None:
        """Write this process's numbers for the others, and those that the system has of it."""
        with self._lock:
            for family in (*families, *_process()):
                for labels, value in family.samples.items():
                    if isinstance(value, Counted):
                        self._write_histogram(family, labels, value)
                    else:
                        self._write(family, family.name, labels, value)

    def of_all(self, accept: str) -> tuple[bytes, str]:
        """(body, media type) of what all have published; gauges of those that live."""
        self._forget_the_dead()
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._directory))
        return _encode(registry, accept)

    def leave(self) -> None:
        """This process ends: what it has counted stays, its gauges go."""
        self.close()
        mark_process_dead(os.getpid(), str(self._directory))

    def close(self) -> None:
        """Close the files, and leave them as they are."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()
            self._keys.clear()

    def _forget_the_dead(self) -> None:
        for pid in {path.stem.rpartition("_")[2] for path in self._directory.glob("gauge_live*.db")}:
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                mark_process_dead(pid, str(self._directory))

    def _write_histogram(self, family: Family, labels: Sequence[str], counted: Counted) -> None:
        for bound, count in zip((*counted.bounds, float("inf")), counted.counts, strict=True):
            self._write(family, f"{family.name}_bucket", labels, count, floatToGoString(bound))
        if counted.bounds[0] >= 0:  # else the sum may fall, and is none that OpenMetrics knows
            self._write(family, f"{family.name}_sum", labels, counted.sum)

    def _write(self, family: Family, name: str, labels: Sequence[str], value: float, le: str = "") -> None:
        own = (name, *labels, le)
        if self._written.get(own) == value:
            return
        if own not in self._keys:
            names, values = (*family.labels, *(["le"] if le else [])), (*labels, *([le] if le else []))
            key = mmap_key(family.name.removesuffix("_total"), name, list(names), list(values), family.help)
            self._keys[own] = self._file(family), key
        file, key = self._keys[own]
        file.write_value(key, value, 0.0)
        self._written[own] = value

    def _file(self, family: Family) -> MmapedDict:
        kind = f"gauge_{family.of_workers}" if family.kind == "gauge" else family.kind
        if kind not in self._files:
            self._files[kind] = MmapedDict(str(self._directory / f"{kind}_{os.getpid()}.db"))
        return self._files[kind]
