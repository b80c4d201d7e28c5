"""Two sets of a collection's items compared as densities: where is which of them the more frequent? Knows nothing of HTTP.

Differential abundance, as in scvi-tools (Boyeau et al. 2024, MrVI, doi:10.1101/2022.10.04.510898): the log ratio of the
aggregate posteriors of two sets at each item, from which an item of a set is left out for its own.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import partial

import numpy as np

from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.latents.density import Components, Doubles, Floats, check_widths
from service.operations.density import (
    LONG,
    Bandwidth,
    Chosen,
    choose_bandwidth,
    evaluate,
    points_of,
    rows_of,
    stored_ids,
)
from service.operations.items import Entries, encode_entries
from service.operations.store_access import StoreAccess
from service.store.filters import Condition
from service.store.interface import Collection
from service.store.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two densities at Q points; the cursor leads to more items, if there are more."""

    ids: list[str | None]  # None for a point that is no stored item
    log_density: tuple[Doubles, Doubles]  # under a and under b, (Q,) nats
    in_set: tuple[list[bool], list[bool]]
    bandwidth: Chosen
    sets: tuple[Snapshot, Snapshot]
    cursor: str | None

    @property
    def log_ratio(self) -> Doubles:
        """log density under a less that under b, in nats; NaN where both are exp(-inf)."""
        with np.errstate(invalid="ignore"):
            ratio: Doubles = self.log_density[0] - self.log_density[1]
        return ratio


async def compare(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    filters: tuple[tuple[Condition, ...], tuple[Condition, ...]],
    queries: Entries | None = None,
    bandwidth: Bandwidth = "auto",
    after: str = "",
    limit: int = 100,
    strict: bool = False,
) -> Comparison:
    """Compare the densities of what two filters find: at queries, or at up to `limit` items of both, by id, after `after`.

    One bandwidth serves both: auto is found by the items of both together. Raises NoDensity, TooManyPairs, StoreError.
    """
    with store.searches.admit(1 if queries is None else len(queries)):
        if queries is not None:
            await encode_entries(pipeline, inference, collection, queries)
        async with store.snapshots.lent(collection.name, filters, inference.deadline, strict) as [a, b]:
            cursor = None
            ids: list[str | None]
            if queries is None:
                both = await pipeline.offload(LONG, lambda: sorted({*a.ids, *b.ids}))
                first = bisect_right(both, after)
                ids = [*both[first : first + limit]]
                cursor = ids[-1] if first + limit < len(both) else None
                points = _means(a, b, ids)
            else:
                ids = stored_ids(queries)
                points = await points_of(store, inference, a, queries)
            together = await pipeline.offload(LONG, partial(_together, a, b))
            chosen = await choose_bandwidth(pipeline, inference, bandwidth, together, a, ("together", b.wanted))
            values, in_set = list[Doubles](), list[list[bool]]()
            for one in (a, b):
                check_widths(one.sigma, one.has_sigma, chosen.value, chosen.name)
                own = rows_of(one, ids)
                components = Components(one.mu, one.sigma, chosen.value)
                values.append((await evaluate(pipeline, inference, points, components, own))[0])
                in_set.append([row >= 0 for row in own])
    return Comparison(ids, (values[0], values[1]), (in_set[0], in_set[1]), chosen, (a, b), cursor)


def _means(a: Snapshot, b: Snapshot, ids: list[str | None]) -> Floats:
    """Return the means of items that are in one of the snapshots or both, (n, D)."""
    rows = zip(rows_of(a, ids), rows_of(b, ids), strict=True)
    means = [a.mu[of_a] if of_a >= 0 else b.mu[of_b] for of_a, of_b in rows]
    return np.stack(means) if means else np.empty((0, a.mu.shape[1]), np.float32)


def _together(a: Snapshot, b: Snapshot) -> Floats:
    """Return the means of all items of both snapshots, each once, (n, D), ordered by id."""
    there = set(a.ids)
    extra = [row for row, id in enumerate(b.ids) if id not in there]
    ids = [*a.ids, *(b.ids[row] for row in extra)]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    together: Floats = np.concatenate([a.mu, b.mu[extra]])[order]
    return together
