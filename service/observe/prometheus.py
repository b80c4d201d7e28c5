"""Metrics in the formats of Prometheus: its text format, or OpenMetrics.

Import it only where it is needed: importing prometheus-client takes 50 ms. Knows nothing of what is counted.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from service.observe.histogram import Counted
from service.observe.metrics import Family


class _FamilyCollector(Collector):
    """_FamilyCollector in the form in which prometheus-client collects metrics."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Yield one metric for each family."""
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
    """Return (body, media type) of the families and of the metrics of the process and the interpreter."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    PlatformCollector(registry=registry)
    return _encode(registry, families, accept)


def process_families() -> Iterable[Family]:
    """Yield memory, processor time and file descriptors of this process. Workers: their sums, and the latest start."""
    for metric in ProcessCollector(registry=CollectorRegistry()).collect():
        sample = metric.samples[0]
        kind: Literal["counter", "gauge"] = "counter" if metric.type == "counter" else "gauge"
        of_workers: Literal["max", "sum"] = "max" if "start" in metric.name else "sum"
        yield Family(sample.name, kind, metric.documentation, (), {(): sample.value}, of_workers)


def render(families: Sequence[Family], accept: str) -> tuple[bytes, str]:
    """Return (body, media type) of the families alone. The format is chosen by `accept`, the header of the request."""
    return _encode(CollectorRegistry(), families, accept)


def _encode(registry: CollectorRegistry, families: Sequence[Family], accept: str) -> tuple[bytes, str]:
    registry.register(_FamilyCollector(families))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type
