"""What a store should hold and answer: a dictionary, and distances written from their definitions in long doubles.

Shares no code with `service`: both would be wrong in the same way.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Long = NDArray[np.longdouble]
SIGMA_METRICS = ("jeffreys", "bhattacharyya", "hellinger", "fisher_rao")
ALL_METRICS = ("l2", "cosine", "w2", *SIGMA_METRICS)
# of cosines here; long doubles are doubles on some machines
ROUNDING = 100 * float(np.finfo(np.longdouble).eps)


@dataclass
class Row:
    """An item."""

    mu: NDArray[np.float32]
    sigma: NDArray[np.float32] | None
    metadata: dict[str, Any]
    seq: int
    picture: bytes | None = None

    def bits(self) -> bytes:
        return self.mu.tobytes() + (b"" if self.sigma is None else self.sigma.tobytes())


@dataclass
class Group:
    """A collection."""

    digest: str
    dim: int
    metric: str
    rows: dict[str, Row] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    seq: int = 0
    keep: str | None = None
    sigma_weight: float = 1.0
    directions: dict[str, Any] = field(default_factory=dict)  # as they are kept

    def upsert(self, id: str, mu: Any, sigma: Any, metadata: dict[str, Any] | None, picture: bytes | None) -> None:
        """`metadata`: None leaves that of the item that is replaced."""
        self.seq += 1
        if metadata is None:
            metadata = self.rows[id].metadata if id in self.rows else {}
        self.rows[id] = Row(mu, sigma, metadata, self.seq, picture if self.keep == "picture" else None)
        self.keys |= metadata.keys()

    def patch(self, id: str, patch: dict[str, Any]) -> None:
        self.seq += 1
        row = self.rows[id]
        row.metadata, row.seq = merged(row.metadata, patch), self.seq
        self.keys |= row.metadata.keys()

    def delete(self, id: str) -> None:
        del self.rows[id]
        self.seq += 1

    def matching(self, filter: dict[str, Any]) -> dict[str, Row]:
        return {id: row for id, row in self.rows.items() if all(holds(row.metadata, *test) for test in filter.items())}

    def unknown(self, filter: dict[str, Any]) -> list[str]:
        """The keys of a filter that no item has, or had at its top level."""
        nested = any("t" in row.metadata.get("o", {}) for row in self.rows.values())
        return [key for key in filter if key not in self.keys and not (key == "o.t" and nested)]

    def unknown_negation(self, filter: dict[str, Any]) -> bool:
        """Whether a condition that items without the key meet has an unknown key."""
        return any("ne" in filter[key] or filter[key].get("exists") is False for key in self.unknown(filter))

    def orders(self, metric: str, query: tuple[Any, Any], filter: dict[str, Any], sigma_weight: float) -> dict[str, float]:
        """What orders the items that may be found, by id."""
        able = {id: row for id, row in self.matching(filter).items() if row.sigma is not None or metric not in SIGMA_METRICS}
        if not able:
            return {}
        rows = list(able.values())
        zero = np.zeros(self.dim, np.float32)
        mu = np.stack([row.mu for row in rows]).astype(np.longdouble)
        sigma = np.stack([zero if row.sigma is None else row.sigma for row in rows]).astype(np.longdouble)
        own_mu, own_sigma = (np.asarray(value, np.longdouble) for value in query)
        return dict(zip(able, order(metric, own_mu, own_sigma, mu, sigma, sigma_weight), strict=True))


def merged(value: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396, as its section 2 explains it in words."""
    kept = {key: one for key, one in value.items() if key not in patch} if isinstance(value, dict) else {}
    old = value if isinstance(value, dict) else {}
    new = {key: merged(old.get(key), one) if isinstance(one, dict) else one for key, one in patch.items() if one is not None}
    return kept | new


def holds(metadata: dict[str, Any], key: str, test: dict[str, Any]) -> bool:
    """Filters of the kinds that the operations have: numbers under `n`, texts under `t` and `o.t`, lists under `l`."""
    value = metadata.get("o", {}).get("t") if key == "o.t" else metadata.get(key)
    values = value if isinstance(value, list) else [value]
    for operator, wanted in test.items():
        match operator:
            case "eq":
                good = wanted in values
            case "ne":
                good = wanted not in values
            case "gte":
                good = value is not None and value >= wanted
            case "lt":
                good = value is not None and value < wanted
            case "in":
                good = any(one in wanted for one in values)
            case "contains":
                good = value is not None and wanted in value
            case _:
                good = (value is not None) is wanted
        if not good:
            return False
    return True


def order(metric: str, m: Long, s: Long, mu: Long, sigma: Long, sigma_weight: float) -> list[Any]:
    """(D,) and (N, D) -> what orders as the distance does, but does not round to equal numbers where it does."""
    d2 = (mu - m) ** 2
    match metric:
        case "l2":
            return list(np.sqrt(d2.sum(1)))
        case "w2":
            return list(np.sqrt(d2.sum(1) + ((sigma_weight * (sigma - s)) ** 2).sum(1)))
        case "cosine":
            return [half_tangent(m, row) for row in mu]
        case "jeffreys":
            u, v = s**2, sigma**2
            return list((((u - v) ** 2 + d2 * (u + v)) / (2 * u * v)).sum(1))
        case "fisher_rao":
            t = (d2 / 2 + (sigma - s) ** 2) / (2 * s * sigma)
            return list(np.sqrt((2 * np.arcsinh(np.sqrt(t * (t + 2))) ** 2).sum(1)))
    unlike = np.log1p((s - sigma) ** 2 / (2 * s * sigma)) / 2
    return list((d2 / (4 * (s**2 + sigma**2)) + unlike).sum(1))


def half_tangent(a: Long, b: Long) -> Any:
    """tan of half the angle between two vectors (Kahan): |u - v| / |u + v| of unit vectors; 1 without a direction."""
    lengths = np.sqrt((a**2).sum()), np.sqrt((b**2).sum())
    if 0 in lengths:
        return np.longdouble(1)
    u, v = a / lengths[0], b / lengths[1]
    minus, plus = np.sqrt(((u - v) ** 2).sum()), np.sqrt(((u + v) ** 2).sum())
    return minus / plus if plus else np.longdouble(np.inf)


def distance(metric: str, order: Any) -> float:
    """The distance that belongs to an order."""
    if metric == "hellinger":
        return float(np.sqrt(-np.expm1(-order)))
    if metric == "cosine":
        return float(2 / (1 + 1 / order**2)) if order else 0.0
    return float(order)


def check_nearest(metric: str, group: Group, orders: dict[str, Any], k: int, ids: list[str], distances: list[float]) -> None:
    """An answer is the k nearest, in order, ties by id. Rows that rounding cannot tell apart may change places."""
    assert len(ids) == len(set(ids)) == min(k, len(orders)), (k, len(orders), ids)
    assert not set(ids) - set(orders), f"{set(ids) - set(orders)} should not be found"
    for id, found in zip(ids, distances, strict=True):
        wanted = distance(metric, orders[id])
        tolerance = 1e-12 * wanted + (ROUNDING * (wanted**0.5 + ROUNDING) if metric == "cosine" else 0)
        assert abs(found - wanted) <= tolerance, (id, found, wanted)
    assert distances == sorted(distances)
    exact = sorted(orders, key=lambda id: (orders[id], id))
    for found_id, id in zip(ids, exact, strict=False):
        here, there = orders[found_id], orders[id]
        if min(here, there) > 1 and metric == "cosine":  # near the opposite direction it is the inverse that is precise
            here, there = 1 / here, 1 / there
        tolerance = 1e-12 * min(here, there) + (ROUNDING if metric == "cosine" else 0)
        assert here == there or abs(here - there) <= tolerance, f"{found_id} stands where {id} should: {here}, {there}"
    place = {id: i for i, id in enumerate(ids)}
    for a, b in itertools.pairwise(exact):
        if b in place and orders[a] == orders[b] and group.rows[a].bits() == group.rows[b].bits():
            assert a in place, f"{b} is found, {a} is not, which is the same"
            assert place[a] < place[b], f"{b} stands before {a}, which is the same"
