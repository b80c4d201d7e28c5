"""A direction in the latent space of a collection, and how a store keeps it. Knows nothing of databases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.store.errors import StoreUnusable, UnknownDirection

# The most directions that a collection may have.
MAX_DIRECTIONS = 256
# The fields that are kept as JSON.
DETAILS = ("unit", "method", "auc", "seq", "positive", "negative", "orthogonal_to")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sets of vectors that a direction was made from."""

    source: str  # where they came from: filter, ids, images or latents
    found: int  # how many there were
    n: int  # how many the direction was made from: all, or a sample
    filter: dict[str, Any] | None = None  # as it was sent; only of a filter


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """A named direction. `unit * vector` is a step of one standard deviation, so an edit by 1.5 adds 1.5 of these steps."""

    name: str
    vector: NDArray[np.float32]  # (D,), of length 1
    unit: float  # the standard deviation of the projections of the vectors that it was made from
    method: str
    auc: float | None  # of projections of held-out vectors onto directions that were made without them, if there are such
    seq: int  # the sequence number of the collection when it was made
    positive: Side
    negative: Side
    orthogonal_to: tuple[str, ...] = ()

    @property
    def step(self) -> NDArray[np.float64]:
        """A step of one standard deviation, float64 (D,)."""
        return self.unit * self.vector.astype(np.float64)

    def record(self) -> tuple[bytes, str]:
        """Return what a store keeps beside the name: the vector as float32, little endian, and the rest as JSON."""
        details = {name: getattr(self, name) for name in DETAILS}
        return self.vector.astype("<f4").tobytes(), orjson.dumps(details).decode()


def from_record(name: str, vector: bytes, details: str, dim: int) -> Direction:
    """Return a direction from what a store keeps. Raises StoreUnusable."""
    if len(vector) != 4 * dim:
        raise StoreUnusable(f"the direction {name!r} does not have {dim} dimensions: the store is corrupt; restore a backup")
    values = orjson.loads(details)
    values["positive"], values["negative"] = Side(**values["positive"]), Side(**values["negative"])
    values["orthogonal_to"] = tuple(values["orthogonal_to"])
    return Direction(name, np.frombuffer(vector, "<f4").astype(np.float32), **values)


def chosen(name: str, found: dict[str, Direction], names: Sequence[str] | None) -> list[Direction]:
    """Return all directions of a collection, or those with these names, in this order. Raises UnknownDirection."""
    for one in names or ():
        if one not in found:
            raise UnknownDirection(name, one, found)
    return list(found.values()) if names is None else [found[one] for one in names]
