"""A collection on a plane: points, and the density of the posteriors with the holes of the prior. Knows nothing of HTTP."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson

from service.engine.errors import TooLarge
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.latents.density import Components, Doubles, Numbers, sample_of
from service.latents.mixture import Mixture
from service.latents.plane import (
    Marginals,
    Plane,
    cell_masses,
    holes,
    marginals_of,
    marginals_of_prior,
    plane_of_dims,
    principal_plane,
)
from service.operations.coverage import prior_of
from service.operations.density import LONG, Bandwidth, Chosen, components_of, in_turns, keep
from service.operations.store_access import StoreAccess
from service.store.filters import Condition, Unknown
from service.store.interface import Collection
from service.store.snapshot import Snapshot

# The most points of one answer; of more items, a sample is shown.
MOST_POINTS = 100_000
# The most items whose posteriors make a density, times the cells of a side: 50,000 items and 128 x 128 cells. Of more items, a
# sample does.
MOST_SPREAD = 6_400_000
# Numbers of a block of Gaussians and grid lines, which take about 20 milliseconds.
TURN = 1 << 16
# Maps of up to so many cells on a side are kept for later requests.
MOST_KEPT_CELLS = 128
# The most bytes of chosen metadata in an answer.
MOST_METADATA = 32 << 20


class NoPlane(Exception):
    """The dimensions of a plane that the latent space does not have."""


class TooMuchMetadata(TooLarge):
    """More bytes of chosen metadata than an answer may have."""

    def __str__(self) -> str:
        return (
            f"the chosen metadata take more than {self.max_rows} bytes; choose fewer keys, lower limit, or narrow the filter"
        )


@dataclass(frozen=True, slots=True)
class Points:
    """Some of the items on a plane, sorted by id."""

    snapshot: Snapshot  # all that the filter finds
    plane: Plane
    rows: Numbers  # those that are shown
    coordinates: Doubles  # (n, 2)
    metadata: dict[str, list[Any]]  # of each chosen key, the value of each point, None if it has none


@dataclass(frozen=True, slots=True)
class DensityMap:
    """A density over a grid on a plane; row 0 is the lowest y."""

    count: int  # items that the filter finds
    seq: int
    unknown: tuple[Unknown, ...]
    plane: Plane
    bandwidth: Chosen
    prior: str
    x: Doubles  # edges of the cells, (G + 1,)
    y: Doubles
    density: Doubles  # (G, G), 1 / unit^2: the mean over each cell
    prior_density: Doubles  # (G, G)
    holes: Any  # (G, G)
    items: int  # whose posteriors make the density


def check_plane(dims: tuple[int, int] | None, dim: int) -> None:
    """Raise NoPlane unless the latent space has this plane; None is that of the principal components."""
    if dim < 2:
        raise NoPlane(f"a map needs two dimensions; the latents of this collection have {dim}")
    if dims is not None and max(dims) >= dim:
        raise NoPlane(f"dims is {dims[0]},{dims[1]}; the dimensions of this collection are 0 to {dim - 1}")


async def points(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    dims: tuple[int, int] | None = None,
    filter: tuple[Condition, ...] = (),
    keys: tuple[str, ...] = (),
    limit: int = MOST_POINTS,
    strict: bool = False,
) -> Points:
    """Return the items that the filter finds on a plane: two dimensions, or the principal components of all items.

    Raises NoPlane, TooMuchMetadata, StoreError.
    """
    check_plane(dims, collection.dim)
    with store.searches.admit(1):
        filters = [filter, ()] if filter and dims is None else [filter]
        lent = store.snapshots.lent(collection.name, filters, inference.deadline, strict, with_metadata=bool(keys))
        async with lent as snapshots:
            found = snapshots[0]
            plane = await _plane(pipeline, inference, dims, snapshots[-1])
            rows = sample_of(len(found), limit)
            parts = partial(_shown, found, plane, rows, keys)
            [(coordinates, metadata)] = await in_turns(pipeline, inference, [parts])
            return Points(found, plane, rows, coordinates, metadata)


async def density_map(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    collection: Collection,
    size: int,
    dims: tuple[int, int] | None = None,
    filter: tuple[Condition, ...] = (),
    bandwidth: Bandwidth = "auto",
    prior: str | None = None,
    strict: bool = False,
) -> DensityMap:
    """Return the marginal of the stored posteriors' density on a plane over `size` x `size` cells, and the prior's.

    Raises NoPlane, NoDensity, StoreError, ModelNotLoaded, NoSuchPrior.
    """
    check_plane(dims, collection.dim)
    name, mixture, digest = prior_of(pipeline, collection, prior)
    with store.searches.admit(1):
        filters = [filter, ()] if filter and dims is None else [filter]
        async with store.snapshots.lent(collection.name, filters, inference.deadline, strict) as snapshots:
            found = snapshots[0]
            key = ("map", size, dims, bandwidth, name, digest)
            if key in found.results:
                known: DensityMap = found.results[key]
                return known
            plane = await _plane(pipeline, inference, dims, snapshots[-1])
            components, chosen = await components_of(pipeline, inference, found, bandwidth)
            rows = sample_of(len(found), MOST_SPREAD // size)
            some = Components(components.mu[rows], components.sigma[rows], chosen.value)
            data = await pipeline.offload(LONG, partial(marginals_of, some, plane))
            expected = await pipeline.offload(LONG, partial(_prior_marginals, mixture, plane))
            ranges = expected.range()
            if len(rows):
                own = data.range()
                ranges = np.stack([np.minimum(ranges[:, 0], own[:, 0]), np.maximum(ranges[:, 1], own[:, 1])], axis=1)
            x, y = (np.linspace(low, high, size + 1) for low, high in ranges)
            masses = await _masses(pipeline, inference, data, x, y)
            prior_masses = await _masses(pipeline, inference, expected, x, y)
            area = (x[1] - x[0]) * (y[1] - y[0])
            low = holes(masses, prior_masses)
            made = DensityMap(
                len(found),
                found.seq,
                found.unknown,
                plane,
                chosen,
                name,
                x,
                y,
                masses / area,
                prior_masses / area,
                low,
                len(rows),
            )
            return keep(found, key, made) if size <= MOST_KEPT_CELLS else made


async def _plane(pipeline: Pipeline, inference: Inference, dims: tuple[int, int] | None, whole: Snapshot) -> Plane:
    if dims is not None:
        return plane_of_dims(*dims, whole.collection.dim)
    if "plane" in whole.results:
        known: Plane = whole.results["plane"]
        return known
    [plane] = await in_turns(pipeline, inference, [partial(principal_plane, whole.mu)])
    return keep(whole, "plane", plane)


def _shown(snapshot: Snapshot, plane: Plane, rows: Numbers, keys: tuple[str, ...]) -> tuple[Doubles, dict[str, list[Any]]]:
    coordinates = plane.coordinates(snapshot.mu[rows])
    chosen: dict[str, list[Any]] = {key: [] for key in keys}
    size = 0
    for row in rows.tolist() if keys else ():
        values = orjson.loads(snapshot.metadata[row])
        for key, column in chosen.items():
            value = values.get(key)
            size += len(orjson.dumps(value)) if isinstance(value, str | dict | list) else 8
            column.append(value)
        if size > MOST_METADATA:
            raise TooMuchMetadata(size, MOST_METADATA)
    return coordinates, chosen


def _prior_marginals(mixture: Mixture | None, plane: Plane) -> Marginals:
    if mixture is None:
        dim = len(plane.origin)
        mixture = Mixture(np.ones(1), np.zeros((1, dim)), np.ones((1, dim)))
    return marginals_of_prior(mixture.weights, mixture.means, mixture.scale, plane)


async def _masses(pipeline: Pipeline, inference: Inference, marginals: Marginals, x: Doubles, y: Doubles) -> Doubles:
    """Return the mass in each cell, summed over parts of the Gaussians in their order."""
    size = max(1, TURN // len(x))
    total = np.zeros((len(y) - 1, len(x) - 1))

    def add(start: int) -> None:
        np.add(total, cell_masses(marginals[start : start + size], x, y), out=total)

    await in_turns(pipeline, inference, [partial(add, start) for start in range(0, len(marginals.weights), size)])
    return total
