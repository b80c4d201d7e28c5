"""Metrics in the formats of Prometheus: its text format, or OpenMetrics.

Import it only where it is needed: importing prometheus-client takes 50 ms. Knows nothing of what is counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any, Literal

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from service.observe.histogram import Counted
from service.observe.metrics import Family

KINDS: Mapping[str, Any] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}


class _FamilyCollector(Collector):
    """Our families in the form in which prometheus-client collects metrics."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Yield one metric for each family."""
        for family in self._families:
            metric = KINDS[family.kind](family.name, family.help, labels=family.labels)
            for labels, value in family.samples.items():
                if isinstance(value, Counted):
                    metric.add_metric(labels, _buckets(value), value.sum)
                else:
                    metric.add_metric(labels, value)
            yield metric


def _buckets(counted: Counted) -> list[tuple[str, float]]:
    """Return (upper bound, number of values up to it) of each bucket."""
    bounds = map(floatToGoString, (*counted.bounds, inf))
    return list(zip(bounds, map(float, accumulate(counted.counts)), strict=True))


def of_this_process(families: Sequence[Family], accept: str) -> tuple[bytes, str]:
    """Return (body, media type) of the families and of the metrics of the process and the interpreter."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, GCCollector, PlatformCollector):
        collector(registry=registry)
    return render(families, accept, registry)


def process_families() -> Iterable[Family]:
    """Yield memory, processor time and file descriptors of this process. Workers: their sums, and the latest start."""
    for metric in ProcessCollector(registry=CollectorRegistry()).collect():
        sample = metric.samples[0]
        kind: Literal["counter", "gauge"] = "counter" if metric.type == "counter" else "gauge"
        of_workers: Literal["max", "sum"] = "max" if "start" in metric.name else "sum"
        yield Family(sample.name, kind, metric.documentation, (), {(): sample.value}, of_workers)


def render(families: Sequence[Family], accept: str, registry: CollectorRegistry | None = None) -> tuple[bytes, str]:
    """Return (body, media type) of the families, after what is in the registry. `accept`: the header of the request."""
    registry = registry or CollectorRegistry()
    registry.register(_FamilyCollector(families))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type
