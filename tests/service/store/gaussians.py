"""Items for tests, and the brute force that searches are compared with. Knows nothing of stores' insides."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from service.latents.distances import METRICS
from service.store.filters import Condition
from service.store.interface import Collection, Items, Neighbors

DIM = 5
DIGEST = "ab" * 32
DIGITS = Collection("digits", "mnist", DIGEST, DIM, "l2", "all of them")


def items(
    rng: np.random.Generator, ids: Sequence[str], dim: int = DIM, metadata: Sequence[dict[str, Any]] = (), sigmas: float = 1.0
) -> Items:
    """Random ones; a share of `sigmas` has a sigma."""
    rows = list(metadata) or [{} for _ in ids]
    has_sigma = rng.random(len(ids)) < sigmas
    return Items(
        list(ids),
        rng.standard_normal((len(ids), dim)).astype(np.float32),
        np.where(has_sigma[:, None], rng.uniform(0.1, 1, (len(ids), dim)), 0).astype(np.float32),
        has_sigma,
        [orjson.dumps(row) for row in rows],
        frozenset(key for row in rows for key in row),
    )


class Twin:
    """What a collection holds, in a dictionary, and what is nearest in it, by a sort."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Any, Any, bool, dict[str, Any]]] = {}

    def upsert(self, block: Items) -> None:
        for i, id in enumerate(block.ids):
            self.rows[id] = (block.mu[i], block.sigma[i], bool(block.has_sigma[i]), orjson.loads(block.metadata[i]))

    def nearest(
        self,
        metric: str,
        mu: Any,
        sigma: Any,
        k: int,
        filter: tuple[Condition, ...] = (),
        sigma_weight: float = 1.0,
    ) -> list[tuple[str, float]]:
        able = [id for id, row in self.rows.items() if row[2] or not METRICS[metric].needs_sigma]
        able = [id for id in able if all(matches(self.rows[id][3], condition) for condition in filter)]
        if not able:
            return []
        rows: list[Any] = [self.rows[id] for id in able]
        # This is what the weight means, not how it is computed.
        weight = sigma_weight if metric == "w2" else 1.0
        others = [factor * np.stack([row[i] for row in rows]).astype(np.float64) for i, factor in ((0, 1.0), (1, weight))]
        own = [factor * np.asarray(v, np.float64) for v, factor in ((mu, 1.0), (sigma, weight))]
        distances = METRICS[metric].of_rank(METRICS[metric].rank(*own, *others))
        return sorted(zip(able, distances.tolist(), strict=True), key=lambda p: (p[1], p[0]))[:k]


def same(found: Neighbors, expected: list[tuple[str, float]]) -> None:
    """Equal, but that distances nearer to each other than 1e-9 may come in any order."""
    np.testing.assert_allclose(found.distances, [distance for _, distance in expected], rtol=1e-9, atol=1e-9)
    assert sorted(found.distances) == list(found.distances)
    if found.items.ids != [id for id, _ in expected]:
        wanted = dict(expected)
        for id, distance in zip(found.items.ids, found.distances, strict=True):
            assert id in wanted or abs(distance - expected[-1][1]) < 1e-9, (found.items.ids, expected)


def matches(metadata: dict[str, Any], condition: Condition) -> bool:
    """The language of filters, once more and slowly."""
    wanted, operator = condition.value, condition.operator
    there, value = reached(metadata, condition.key)
    if operator == "exists":
        return there is wanted
    if not there:
        return operator == "ne"
    match operator:
        case "eq" | "ne":
            return (equal(value, wanted) or has(value, wanted)) is (operator == "eq")
        case "in":
            return any(equal(value, one) or has(value, one) for one in wanted)
        case "contains":
            return has(value, wanted) or (isinstance(value, str) and isinstance(wanted, str) and wanted in value)
    if isinstance(wanted, str) != isinstance(value, str) or isinstance(value, bool | list | dict) or value is None:
        return False
    left, right = (value.encode(), wanted.encode()) if isinstance(value, str) else (rounded(value), wanted)
    return bool({"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[operator])


def reached(metadata: dict[str, Any], key: str) -> tuple[bool, Any]:
    """Whether an item has a key or a path, and the value there."""
    if key in metadata or "." not in key or "" in key.split("."):
        return key in metadata, metadata.get(key)
    value: Any = metadata
    for one in key.split("."):
        if not isinstance(value, dict) or one not in value:
            return False, None
        value = value[one]
    return True, value


def has(value: Any, wanted: Any) -> bool:
    """Whether it is a list with this element."""
    return isinstance(value, list) and any(equal(one, wanted) for one in value)


def rounded(value: Any) -> Any:
    is_long = isinstance(value, int) and not -(1 << 63) <= value < 1 << 63
    return float(value) if is_long else value


def equal(a: Any, b: Any) -> bool:
    def kind(value: Any) -> str:
        return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__

    return kind(a) == kind(b) and bool(rounded(a) == rounded(b))
