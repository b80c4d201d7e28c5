"""What is counted, beside what lanes count by themselves, and all of it as families of numbers by their labels.

The names are those of Prometheus, but nothing here knows its formats, nor HTTP. Requests are counted on the event loop,
batches where they run.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.engine.lane import BatchReport, LaneStats
from service.inference.catalog import Catalog
from service.inference.served_model import Floats, Runtime
from service.observe.drift import Drift
from service.observe.histogram import Counted, Histogram

log = logging.getLogger(__name__)

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1.0, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 2048, 4096)

STORE_OPERATIONS = ("upsert", "get", "delete", "search")
# both take pictures and answer posteriors
LANES = {"encode": "encode", "encode_float": "encode", "decode": "decode"}

Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Family:
    """Numbers of one name, by the values of its labels. Counters have `_total` in their names."""

    name: str
    kind: Kind
    help: str
    labels: Labels
    samples: Mapping[Any, float | Counted]  # by the values of the labels, a tuple
    of_workers: Literal["sum", "max", "min"] = "sum"  # how the gauges of several workers become one number


@dataclass
class _OperationCounts:
    """Requests of one operation."""

    codes: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))


@dataclass
class _LaneCounts:
    """Of one lane of one model, through all its reloads."""

    stats: list[LaneStats] = field(default_factory=list)
    queue: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    compute: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    rows: Histogram = field(default_factory=lambda: Histogram(ROWS))
    bucket: Histogram = field(default_factory=lambda: Histogram(ROWS))

    def count(self, batch: BatchReport) -> None:
        """A batch that has run."""
        self.rows.observe(batch.rows)
        self.bucket.observe(batch.rows + batch.padded_rows)
        self.compute.observe(batch.seconds)
        self.queue.observe_all(batch.waits)

    def sum(self, name: str) -> int:
        """A count of `LaneStats`."""
        return sum(getattr(stats, name) for stats in self.stats)


class Metrics:
    """Of one process. `watch` it every model that starts, `answered` and `in_flight` every request."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.ended_decoders: Counter[str] = Counter()  # the decoders' own, by reason
        self.cut_off: Counter[str] = Counter()  # connections that were ended before an answer, by reason
        self.refused: Counter[str] = Counter()  # requests that were not even looked at, by reason
        self.store_seconds = {operation: Histogram(SECONDS) for operation in STORE_OPERATIONS}  # see TimedStore
        self._requests: defaultdict[str, _OperationCounts] = defaultdict(_OperationCounts)
        self._lanes: defaultdict[tuple[str, str], _LaneCounts] = defaultdict(_LaneCounts)
        self._drifts: dict[str, Drift] = {}

    def answered(self, label: str, status: int, seconds: float) -> None:
        """Count a request that is done with, under the label of its operation."""
        requests = self._requests[label]
        requests.codes[status] += 1
        requests.seconds.observe(seconds)

    def watch(self, runtime: Runtime) -> None:
        """From now on count the batches of a model."""
        drift = self._drifts.setdefault(runtime.name, Drift(runtime.is_density))
        for name, lane in runtime.lanes.items():
            batches = self._lanes[runtime.name, LANES[name]]
            batches.stats.append(lane.stats)
            lane.watch = _watch_encode(batches, drift) if LANES[name] == "encode" else batches.count

    def reconstructed(self, runtime: Runtime, means: Floats, originals: list[NDArray[Any]]) -> None:
        """Weigh pictures, blocks (n, C, H, W), against what was made of them, (N, H, W, C)."""
        if runtime.score is None or runtime.name not in self._drifts:
            return
        try:
            self._drifts[runtime.name].reconstructed(runtime.score, means, np.concatenate(originals))
        except Exception:  # whatever it is, the answer is good
            log.exception("a reconstruction was not weighed")

    def families(self, catalog: Catalog | None, ready: bool) -> list[Family]:
        """All numbers as they are now. `catalog`: once it is loaded."""
        return [*self._of_requests(), *self._of_lanes(), *self._of_models(catalog), *_of_now(catalog, ready)]

    def _of_requests(self) -> list[Family]:
        codes = {(name, str(code)): n for name, one in self._requests.items() for code, n in one.codes.items()}
        seconds = {(name,): one.seconds.read() for name, one in self._requests.items() if one.codes}
        stored = {(name,): histogram.read() for name, histogram in self.store_seconds.items()}
        ended = {(reason,): n for reason, n in self.ended_decoders.items()}
        refused = {(reason,): n for reason, n in self.refused.items()}
        cut_off = {(reason,): n for reason, n in self.cut_off.items()}
        return [
            Family("vae_requests_total", "counter", "Requests; 499: the caller hung up.", ("operation", "code"), codes),
            Family("vae_request_seconds", "histogram", "From its head to its whole answer.", ("operation",), seconds),
            Family("vae_requests_in_flight", "gauge", "Requests that are not answered yet.", (), {(): self.in_flight}),
            Family("vae_refused_requests_total", "counter", "Requests refused unread.", ("reason",), refused),
            Family("vae_cut_off_connections_total", "counter", "Connections ended unanswered.", ("reason",), cut_off),
            Family("vae_store_seconds", "histogram", "The latent store's work.", ("operation",), stored),
            Family("vae_ended_decoders_total", "counter", "Decoders that a picture has cost.", ("reason",), ended),
        ]

    def _of_lanes(self) -> list[Family]:
        lanes, labels = self._lanes.items(), ("model", "lane")

        def total(name: str, help: str, field: str) -> Family:
            return Family(f"vae_{name}_total", "counter", help, labels, {key: one.sum(field) for key, one in lanes})

        def spread(name: str, help: str, field: str) -> Family:
            return Family(f"vae_{name}", "histogram", help, labels, {key: getattr(one, field).read() for key, one in lanes})

        dropped = {key: one.sum("dropped_rows") - one.sum("expired_rows") for key, one in lanes}
        rejected: dict[Labels, float] = {}
        for key, one in lanes:
            rejected[*key, "queue_full"] = one.sum("queue_full_rows")
            rejected[*key, "too_large"] = one.sum("rejected_rows") - one.sum("queue_full_rows")
            rejected[*key, "deadline"] = one.sum("expired_rows")
        return [
            total("rows", "Rows computed that callers wanted.", "rows"),
            total("padded_rows", "Rows computed for nothing, to fill up batches.", "padded_rows"),
            total("batches", "Batches that have run.", "batches"),
            Family("vae_dropped_rows_total", "counter", "Rows of callers who hung up.", labels, dropped),
            Family("vae_rejected_rows_total", "counter", "Rows that were not computed.", (*labels, "reason"), rejected),
            spread("batch_rows", "Rows that callers wanted, of a batch.", "rows"),
            spread("bucket_rows", "Rows that ran, padding included, of a batch.", "bucket"),
            spread("queue_seconds", "How long a request's rows waited for their first batch.", "queue"),
            spread("compute_seconds", "How long a batch took.", "compute"),
        ]

    def _of_models(self, catalog: Catalog | None) -> list[Family]:
        kl = {(name,): drift.kl.read() for name, drift in self._drifts.items()}
        nats = {(name,): drift.nats.read() for name, drift in self._drifts.items()}
        info: dict[Labels, float] = {}
        loads: dict[Labels, float] = {}
        if catalog is not None:
            loads = {key: count for key, count in catalog.loads.items()}  # noqa: C416  a wider type of key
            where = str(catalog.device.torch_device), str(catalog.device.engine)
            info = {(name, runtime.digest, *where): 1 for name, runtime in catalog.runtimes.items()}
        return [
            Family("vae_model_loads_total", "counter", "Loads and reloads.", ("model", "result"), loads),
            Family("vae_model_info", "gauge", "What is loaded.", ("model", "digest", "device", "engine"), info, "max"),
            Family("vae_encoded_kl_nats", "histogram", "KL(q || N(0, I)) of a picture.", ("model",), kl),
            Family("vae_reconstruction_nats", "histogram", "-log p(x | z) of a reconstructed picture.", ("model",), nats),
        ]


def _watch_encode(batches: _LaneCounts, drift: Drift) -> Callable[[BatchReport], None]:
    def count(batch: BatchReport) -> None:
        batches.count(batch)
        drift.encoded([rows for rows in batch.results if not isinstance(rows, Exception)], batch.rows)

    return count


def _of_now(catalog: Catalog | None, ready: bool) -> list[Family]:
    queued: defaultdict[Labels, float] = defaultdict(float)
    memory: dict[Labels, float] = {}
    if catalog is not None:
        for name, runtime in catalog.runtimes.items():
            for lane_name, lane in runtime.lanes.items():
                queued[name, LANES[lane_name]] += lane.queued_rows
        found = catalog.device.memory_bytes
        memory = {} if found is None else {(str(catalog.device.torch_device),): found}
    return [
        Family("vae_ready", "gauge", "Whether /health/ready says so.", (), {(): int(ready)}, "min"),
        Family("vae_queued_rows", "gauge", "Rows that wait.", ("model", "lane"), queued),
        Family("vae_device_memory_bytes", "gauge", "What torch holds of a GPU's memory.", ("device",), memory),
    ]
