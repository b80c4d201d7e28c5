"""The metrics of one process: it counts requests and batches, reads the lanes' own counts, and returns all as families.

Requests are counted on the event loop, batches on the thread that runs them. Knows nothing of the formats of Prometheus,
nor of HTTP.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.engine.lane import BatchReport, Lane, LaneStats
from service.inference.catalog import Catalog
from service.inference.served_model import Floats, ServedModel
from service.observe.drift import Drift
from service.observe.histogram import Counted, Histogram

log = logging.getLogger(__name__)

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1.0, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 2048, 4096)

STORE_OPERATIONS = ("upsert", "patch", "get", "delete", "search")
# Lanes with the same beginning of their names have the same answers, such as `encode` and `encode_float`, and share a label.
# The first states of sequences are part of their decoding.
LABELS = {"begin": "decode"}


def label_of(lane: str) -> str:
    """Return the label of a lane in the metrics."""
    first = lane.partition("_")[0]
    return LABELS.get(first, first)


Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Family:
    """A metric with a number, or a histogram, for each combination of label values. Names of counters end with `_total`."""

    name: str
    kind: Kind
    help: str
    labels: Labels
    samples: Mapping[Any, float | Counted]  # a tuple of label values -> number
    of_workers: Literal["sum", "max", "min"] = "sum"  # how the gauges of several workers become one number


@dataclass
class _OperationCounts:
    """Requests to one operation."""

    codes: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))


@dataclass
class _LaneCounts:
    """Batches of one lane of one model, kept through all its reloads."""

    stats: list[LaneStats] = field(default_factory=list)
    queue: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    compute: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    rows: Histogram = field(default_factory=lambda: Histogram(ROWS))
    bucket: Histogram = field(default_factory=lambda: Histogram(ROWS))

    def count(self, batch: BatchReport) -> None:
        """Count a batch that has run."""
        self.rows.observe(batch.rows)
        self.bucket.observe(batch.rows + batch.padded_rows)
        self.compute.observe(batch.seconds)
        self.queue.observe_all(batch.waits)

    def sum(self, name: str) -> int:
        """Return the sum of one field of `LaneStats`."""
        return sum(getattr(stats, name) for stats in self.stats)


class Metrics:
    """The metrics of one process. Call `watch` for every model that starts, and `answered` for every request."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.ended_decoders: Counter[str] = Counter()  # by reason; replaced by the counter of the decoder pool
        self.cut_off: Counter[str] = Counter()  # connections closed before an answer, by reason
        self.refused: Counter[str] = Counter()  # requests refused before their bodies were read, by reason
        self.store_seconds = {operation: Histogram(SECONDS) for operation in STORE_OPERATIONS}  # see TimedStore
        self.replicated_reads: Counter[str] = Counter()  # reads of items in a store with a replica, by who answered
        self._requests: defaultdict[str, _OperationCounts] = defaultdict(_OperationCounts)
        self._lanes: defaultdict[tuple[str, str], _LaneCounts] = defaultdict(_LaneCounts)
        self._drifts: dict[str, Drift] = {}

    def answered(self, label: str, status: int, seconds: float) -> None:
        """Count a finished request under the label of its operation."""
        requests = self._requests[label]
        requests.codes[status] += 1
        requests.seconds.observe(seconds)

    def watch(self, model: ServedModel) -> None:
        """Count the batches of a model from now on."""
        drift = self._drifts.setdefault(model.name, Drift(model.kind.is_density))
        for name, lane in model.lanes.items():
            batches = self._lanes[model.name, label_of(name)]
            batches.stats.append(lane.stats)
            lane.watch = _watch_encode(batches, drift) if label_of(name) == "encode" else batches.count
        model.regret.tell_of = partial(self._watch_later, model.name, "regret")
        model.kind.tell_of = partial(self._watch_later, model.name)

    def _watch_later(self, model: str, name: str, lane: Lane) -> None:
        """Count the batches of a lane that is made when it is first needed."""
        batches = self._lanes[model, label_of(name)]
        batches.stats.append(lane.stats)
        lane.watch = batches.count

    def reconstructed(self, model: ServedModel, decoded: Floats, originals: list[NDArray[Any]]) -> None:
        """Add the errors of what was decoded, (N, ...), of items, blocks of rows (n, ...), to the drift."""
        if model.kind.steps or model.name not in self._drifts:  # How likely a sequence is takes more than what was decoded.
            return
        try:
            self._drifts[model.name].reconstructed(model.kind.nats, decoded, np.concatenate(originals))
        except Exception:  # the answer is good, whatever the metrics make of it
            log.exception("the error of a reconstruction could not be measured for the metrics")

    def families(self, catalog: Catalog | None, ready: bool) -> list[Family]:
        """Return all metrics as they are now. `catalog` is None until the models are loaded."""
        return [*self._of_requests(), *self._of_lanes(), *self._of_models(catalog), *_of_now(catalog, ready)]

    def _of_requests(self) -> list[Family]:
        codes = {(name, str(code)): n for name, one in self._requests.items() for code, n in one.codes.items()}
        seconds = {(name,): one.seconds.read() for name, one in self._requests.items() if one.codes}
        stored = {(name,): histogram.read() for name, histogram in self.store_seconds.items()}
        reads = {(answered,): n for answered, n in self.replicated_reads.items()}
        ended = {(reason,): n for reason, n in self.ended_decoders.items()}
        refused = {(reason,): n for reason, n in self.refused.items()}
        cut_off = {(reason,): n for reason, n in self.cut_off.items()}
        return [
            Family("vae_requests_total", "counter", "Requests. 499: the caller disconnected.", ("operation", "code"), codes),
            Family("vae_request_seconds", "histogram", "From request head to end of answer.", ("operation",), seconds),
            Family("vae_requests_in_flight", "gauge", "Requests in flight.", (), {(): self.in_flight}),
            Family("vae_refused_requests_total", "counter", "Requests refused, bodies unread.", ("reason",), refused),
            Family("vae_cut_off_connections_total", "counter", "Connections closed without an answer.", ("reason",), cut_off),
            Family("vae_store_seconds", "histogram", "Time of an operation of the latent store.", ("operation",), stored),
            Family("vae_store_reads_total", "counter", "Reads with VAE_STORE_READS, by who answered.", ("answered",), reads),
            Family("vae_ended_decoders_total", "counter", "Decoder processes lost to a picture.", ("reason",), ended),
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
            total("rows", "Rows computed for callers.", "rows"),
            total("padded_rows", "Padding rows computed to fill up batches.", "padded_rows"),
            total("batches", "Batches run.", "batches"),
            Family("vae_dropped_rows_total", "counter", "Rows whose callers had disconnected.", labels, dropped),
            Family("vae_rejected_rows_total", "counter", "Rows refused or expired.", (*labels, "reason"), rejected),
            spread("batch_rows", "Rows of a batch without padding.", "rows"),
            spread("bucket_rows", "Rows of a batch with padding.", "bucket"),
            spread("queue_seconds", "Time that the rows of a request waited for their first batch.", "queue"),
            spread("compute_seconds", "Time that a batch took.", "compute"),
        ]

    def _of_models(self, catalog: Catalog | None) -> list[Family]:
        kl = {(name,): drift.kl.read() for name, drift in self._drifts.items()}
        nats = {(name,): drift.nats.read() for name, drift in self._drifts.items()}
        info: dict[Labels, float] = {}
        loads: dict[Labels, float] = {}
        if catalog is not None:
            loads = {key: count for key, count in catalog.loads.items()}  # noqa: C416  a wider type of key
            device = str(catalog.device.torch_device)
            info = {(name, model.digest, device, model.engine): 1 for name, model in catalog.models.items()}
        return [
            Family("vae_model_loads_total", "counter", "Loads and reloads of models.", ("model", "result"), loads),
            Family("vae_model_info", "gauge", "Models; always 1.", ("model", "digest", "device", "engine"), info, "max"),
            Family("vae_encoded_kl_nats", "histogram", "KL(q || N(0, I)) of a picture.", ("model",), kl),
            Family("vae_reconstruction_nats", "histogram", "-log p(x given z) of a reconstructed picture.", ("model",), nats),
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
        for name, model in catalog.models.items():
            for lane_name, lane in model.lanes.items():
                queued[name, label_of(lane_name)] += lane.queued_rows
        found = catalog.device.memory_bytes
        memory = {} if found is None else {(str(catalog.device.torch_device),): found}
    return [
        Family("vae_ready", "gauge", "1 if /health/ready answers 200, else 0.", (), {(): int(ready)}, "min"),
        Family("vae_queued_rows", "gauge", "Rows waiting to be computed.", ("model", "lane"), queued),
        Family("vae_device_memory_bytes", "gauge", "GPU memory that torch holds.", ("device",), memory),
    ]
