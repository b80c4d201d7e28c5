"""Counts of the requests of each model of the protocol, and of the batches of its queue, since the model was loaded.

Requests are those of this door; batches are those of all callers, with whom it shares them. Knows nothing of bodies.
"""

import time
import weakref
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from service.engine.lane import Lane, SizeStats
from service.inference.kinds.served_kind import ServedKind
from service.inference.served_model import ServedModel
from service.open_inference.answers import VERSION
from service.open_inference.operations.operation import Operation


@dataclass(slots=True)
class Duration:
    """How often something was done, and how long it took in all."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.count += 1
        self.seconds += seconds

    def json(self) -> dict[str, int]:
        """Return the object of an answer."""
        return {"count": self.count, "ns": round(self.seconds * 1e9)}


@dataclass(slots=True)
class RequestCounts:
    """Requests to one model of the protocol. `rows`: items of those that succeeded."""

    rows: int = 0
    last: float = 0.0  # Unix time of the last request
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)

    def succeeded(self, rows: int, read: float, queue: float, compute: float, written: float, whole: float) -> None:
        """Count a request and its seconds: reading its inputs, in the queue, in batches, writing its outputs, in all."""
        self.rows += rows
        self.last = time.time()
        self.queue.add(queue)
        self.compute_input.add(read)
        self.compute_infer.add(compute)
        self.compute_output.add(written)
        self.success.add(whole)

    def failed(self, seconds: float) -> None:
        """Count a request that got an error, or whose caller left."""
        self.last = time.time()
        self.fail.add(seconds)


class Statistics:
    """Counts by model and operation. A model that is loaded again starts from zero."""

    def __init__(self) -> None:
        self._counts: weakref.WeakKeyDictionary[ServedKind, dict[str, RequestCounts]] = weakref.WeakKeyDictionary()

    def of(self, model: ServedModel, operation: Operation) -> RequestCounts:
        """Return the counts of a model of the protocol."""
        own = self._counts.get(model.kind)
        if own is None:
            own = self._counts[model.kind] = {}
        return own.setdefault(operation.name, RequestCounts())

    def json(self, name: str, model: ServedModel, operation: Operation) -> dict[str, Any]:
        """Return the object of an answer about a model of the protocol."""
        counts, sizes = self.of(model, operation), _sizes(_lanes(model, operation.lane))
        return {
            "name": name,
            "version": VERSION,
            "last_inference": round(counts.last * 1e3),
            "inference_count": counts.rows,
            "execution_count": sum(one.batches for one in sizes.values()),
            "inference_stats": {
                "success": counts.success.json(),
                "fail": counts.fail.json(),
                "queue": counts.queue.json(),
                "compute_input": counts.compute_input.json(),
                "compute_infer": counts.compute_infer.json(),
                "compute_output": counts.compute_output.json(),
                "cache_hit": Duration().json(),
                "cache_miss": Duration().json(),
            },
            "response_stats": {},
            "batch_stats": [
                {
                    "batch_size": size,
                    # Copying the rows is part of a batch.
                    "compute_input": Duration(one.batches).json(),
                    "compute_infer": Duration(one.batches, one.seconds).json(),
                    "compute_output": Duration(one.batches).json(),
                }
                for size, one in sorted(sizes.items())
            ],
            "memory_usage": [],
        }


def _lanes(model: ServedModel, direction: str) -> list[Lane]:
    """Return the queues of a model that encode, or that decode: there are several, such as that of pictures as floats."""
    return [lane for name, lane in model.kind.lanes.items() if name == direction or name.startswith(f"{direction}_")]


def _sizes(lanes: list[Lane]) -> dict[int, SizeStats]:
    """Return the batches of all lanes by their rows."""
    found: defaultdict[int, SizeStats] = defaultdict(SizeStats)
    for lane in lanes:
        for rows, one in lane.sizes.copy().items():  # A thread counts while this runs.
            found[rows].batches += one.batches
            found[rows].seconds += one.seconds
    return found
