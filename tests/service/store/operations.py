"""Random operations on a store: plain values, each of which means something whatever came before it.

So any part of a sequence is a sequence, which shrinking needs.
"""

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.service.store.reference import ALL_METRICS

Floats = NDArray[np.float32]
Operation = dict[str, Any]

# two models that collections may be of: digest and dimensions
MODELS = (("aa" * 32, 3), ("bb" * 32, 6))
COLLECTIONS = ("one", "two")
IDS = [f"i{number:02d}" for number in range(40)]
# what may be under way when a worker is killed
CHANGES = ("upsert", "upsert", "delete", "patch", "delete_ids", "delete_matching", "put_direction", "delete_direction")
# (what, how often)
WEIGHTS = {
    "upsert": 24,
    "patch": 8,
    "delete": 16,
    "delete_ids": 3,
    "delete_matching": 3,
    "picture": 6,
    "search": 30,
    "get": 4,
    "list": 4,
    "create": 4,
    "put_direction": 3,
    "delete_direction": 2,
    "directions": 2,
    "drop": 1,
    "collections": 1,
    "together": 3,
    "restart": 1,
    "kill": 2,
}


def operations(seed: int, count: int, workers: int) -> list[Operation]:
    """A sequence of them."""
    chance = random.Random(seed)
    first = [{"do": "create", "worker": 0, "name": name, "model": 0, "metric": "l2"} for name in COLLECTIONS]
    first[0]["keep"] = "picture"
    kinds = chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count - len(first))
    return first + [_operation(kind, chance, workers) for kind in kinds]


def _operation(kind: str, chance: random.Random, workers: int) -> Operation:
    one: Operation = {
        "do": kind,
        "worker": chance.randrange(workers),
        "name": chance.choice((*COLLECTIONS, *COLLECTIONS, "one")),
    }
    match kind:
        case "upsert":
            one |= _upsert(chance, IDS)
        case "delete":
            one |= {"id": chance.choice(IDS)}
        case "patch":
            patches: list[dict[str, Any]] = [
                {"n": 1},
                {"n": None},
                {"t": "y", "n": 2},
                {"o": {"a": {"b": None}}},
                {"o": {"c": [None]}},
                {},
            ]
            one |= {"id": chance.choice(IDS), "patch": chance.choice(patches)}
        case "delete_ids":
            one |= {"ids": chance.sample(IDS, chance.choice((1, 3, 6)))}
        case "delete_matching":
            one |= {
                "filter": _filter(chance) or {"n": {"eq": 3}},
                "after": chance.choice(("", "i20")),
                "limit": chance.choice((2, 100)),
            }
        case "put_direction" | "delete_direction":
            one |= {"direction": chance.choice("abc"), "seed": chance.randrange(1 << 30)}
        case "picture":
            one |= {"id": chance.choice(IDS)}
        case "get":
            one |= {"ids": chance.sample(IDS, 5)}
        case "list":
            one |= {"limit": chance.choice((1, 3, 100)), "filter": _filter(chance), "strict": chance.random() < 0.2}
        case "create":
            one |= {"model": int(chance.random() < 0.1), **_distance(chance)}
            one |= {"keep": chance.choice((None, "picture", "nothing"))}
        case "search":
            one |= _search(chance)
        case "together":
            parts = [IDS[number::workers] for number in range(workers)]
            modes = ("replace", "skip")
            one |= {"parts": [_upsert(chance, ids) | {"if_exists": chance.choice(modes)} for ids in parts]}
        case "kill":
            during = _operation(chance.choice(CHANGES), chance, workers) | {"worker": one["worker"]}
            one |= {"during": during, "after": chance.random()}
    return one


def _upsert(chance: random.Random, ids: list[str]) -> Operation:
    few = chance.sample(ids, min(len(ids), chance.choice((1, 1, 1, 2, 3, 10))))
    metadata = [_metadata(chance) for _ in few]
    return {
        "ids": few,
        "seed": chance.randrange(1 << 30),
        "metadata": metadata,
        "unstated": [i for i, row in enumerate(metadata) if not row and chance.random() < 0.7],
        "pictures": chance.choice(([], [chance.choice((None, 1, 5000)) for _ in few])),
        "if_exists": chance.choice(("replace", "replace", "replace", "error", "skip")),
    }


def _metadata(chance: random.Random) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {},
        {"n": chance.randrange(4)},
        {"t": chance.choice("xyz"), "n": 1},
        {"l": chance.sample("xyz", chance.randrange(3)), "o": {"t": chance.choice("xyz")}},
    ]
    return chance.choice(rows)


def _filter(chance: random.Random) -> dict[str, Any]:
    tests: list[dict[str, Any]] = [
        {"n": {"eq": 1}},
        {"n": {"ne": 2}},
        {"n": {"gte": 1, "lt": 3}},
        {"t": {"in": ["x", "y"]}},
        {"t": {"exists": False}},
        {"t": {"eq": "z"}, "n": {"exists": True}},
        {"l": {"eq": "x"}},
        {"l": {"contains": "y"}, "o.t": {"in": ["x", "z"]}},
        {"o.t": {"ne": "x"}},
    ]
    return chance.choice([{}, {}, *tests])


def _distance(chance: random.Random) -> Operation:
    metric = chance.choice(ALL_METRICS)
    return {"metric": metric, "sigma_weight": chance.choice((1.0, 0.25, 3.0)) if metric == "w2" else 1.0}


def _search(chance: random.Random) -> Operation:
    return {
        "queries": [chance.choice(IDS) if chance.random() < 0.3 else None for _ in range(chance.choice((1, 1, 2)))],
        "seed": chance.randrange(1 << 30),
        "k": chance.choice((1, 2, 5, 100)),
        **_distance(chance),
        "filter": _filter(chance),
        "candidates": chance.choice((None, None, None, 3, 1000)),
        "with_vectors": chance.random() < 0.3,
        "strict": chance.random() < 0.2,
        "exclude_self": chance.random() < 0.3,
    }


def gaussians(seed: int, count: int, dim: int, always: bool = False) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """mu, sigma (count, dim) and which have a sigma: of all magnitudes, and often the same."""
    rng = np.random.default_rng(seed)
    palette = np.vander(np.arange(1, 6) / 4, dim)
    mu = np.where(rng.random((count, 1)) < 0.5, rng.standard_normal((count, dim)), palette[rng.integers(0, 5, count)])
    mu = mu * rng.choice([1, 1, 1, 1, 2, -1, 0, 1e-40, 1e-25, 3e3], (count, 1))
    sigma = np.where(rng.random((count, 1)) < 0.5, rng.uniform(0.05, 1, (count, dim)), 0.5)
    sigma = sigma * rng.choice([1, 1, 1, 1, 1, 1e-3, 1e-40, 1e4], (count, 1))
    has_sigma = (rng.random(count) < 0.85) | always
    return mu.astype(np.float32), np.where(has_sigma[:, None], sigma, 0).astype(np.float32), has_sigma
