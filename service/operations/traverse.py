"""Points -> rows of pictures, each along one dimension or direction of the latent space. Knows nothing of HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from service.engine.errors import TooLarge
from service.formats.errors import Unusable
from service.formats.latent_rows import MAX_LATENT
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import Floats
from service.latents import traversal
from service.operations.manifold import NoSuchDimension
from service.operations.points import Located, Points, locate
from service.operations.store_access import StoreAccess
from service.operations.used_dimensions import most_used, recorded_kl
from service.store.interface import Collection

# Values of a row: percentiles of the prior; the point's own value and so much more and less, in standard deviations of the
# prior; or the same in sigmas of the point's posterior.
Over = Literal["prior", "point", "posterior"]
DEFAULT_ROWS = 8


class NoKl(Exception):
    """It is not known how much each dimension of a model is used."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"dims=top needs the KL of each dimension, but {name} has none in its metrics.json: list the dimensions, such as "
            "dims=0,1,2, take dims=local, or run python -m models.evaluate on the model and load it again"
        )


class TooManyFrames(TooLarge):
    """A traversal of more pictures than one request may have."""

    def __init__(self, points: int, rows: int, steps: int, most: int) -> None:
        super().__init__(points * rows * steps, most)
        self._parts = " x ".join(
            f"{count} {word}{'s' * (count > 1)}" for count, word in ((points, "point"), (rows, "row"), (steps, "step"))
        )

    def __str__(self) -> str:
        return (
            f"the traversal has {self._parts} = {self.rows} items, at most {self.max_rows} are allowed in one request; ask "
            "for fewer steps or dims, or send fewer points"
        )


class TooManyProbes(TooLarge):
    """Local directions of more points than one request may have."""

    def __str__(self) -> str:
        return (
            f"dims=local decodes two latents for each dimension of each point, here {self.rows}; at most {self.max_rows} are "
            "allowed in one request: send fewer points, or take dims=top"
        )


@dataclass(frozen=True, slots=True)
class Dims:
    """The rows of a traversal: the `top` dimensions by KL, the first `local` directions of each point, or those listed.

    None of them means the top ones, or the first ones of a model whose KL is not known.
    """

    kind: Literal["default", "top", "local", "listed"] = "default"
    count: int = DEFAULT_ROWS
    listed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a traversal: the index of its point, its dimension or direction, and the values of its frames there."""

    item: int
    values: Floats  # (S,)
    dim: int | None = None
    kl: float | None = None  # of the dimension, as the model's metrics have it
    direction: Floats | None = None  # (D,), a unit vector
    change: np.float32 | None = None  # of the picture, for one unit along the direction


@dataclass(frozen=True, slots=True)
class Traversal:
    """R rows of S frames for each of N points, in this order."""

    rows: list[Row]  # N R
    z: Floats  # (N R S, D)
    decoded: Floats  # (N R S, ...)


@dataclass(frozen=True, slots=True)
class _Axes:
    """The directions of the rows of one point."""

    vectors: traversal.Doubles  # (R, D)
    facts: Sequence[dict[str, Any]]  # what each row says of its direction


def rows_of(inference: Inference, dims: Dims) -> int:
    """Return the number of rows that each point gets."""
    return len(dims.listed) if dims.kind == "listed" else min(dims.count, inference.model.latent_dim)


async def traverse(
    pipeline: Pipeline,
    store: StoreAccess,
    inference: Inference,
    points: Points | None,
    dims: Dims,
    steps: int,
    over: Over = "prior",
    span: float = traversal.DEFAULT_SPAN,
    collection: Collection | None = None,
) -> Traversal:
    """Return for each point a row of pictures along each dimension or direction; all its other coordinates stay.

    Without points there is one: 0, the mean of N(0, I). Raises what `locate` does, NoSuchDimension, NoKl, TooManyFrames.
    """
    model, most = inference.model, pipeline.max_items
    count, rows = 1 if points is None else len(points), rows_of(inference, dims)
    if count * rows * steps > most:
        raise TooManyFrames(count, rows, steps, most)
    axes = None if dims.kind == "local" else _axes(pipeline, inference, dims)
    if axes is None and count * 2 * model.latent_dim > most:
        raise TooManyProbes(count * 2 * model.latent_dim, most)
    if points is None:
        origin = np.zeros((1, model.latent_dim), np.float32)
        found = Located(origin, origin, np.zeros(1, np.bool_))
    else:
        found = await locate(pipeline, store, inference, points, collection)
    if over == "posterior" and not found.has_sigma.all():
        raise Unusable(
            "this point has no sigma, which over=posterior needs; send a picture, or mu and sigma, or take over=point",
            None if points is None else int(found.has_sigma.argmin()),
            "point",
        )
    own = [axes] * count if axes is not None else await _local_axes(pipeline, inference, found.mu, rows)
    with model.kind.decoding(inference, count * rows * steps) as decode:
        size = 8 * count * rows * steps * model.latent_dim
        made, z = await pipeline.offload(size, partial(_walk, found, own, steps, over, span))
        decoded = await decode(z)
    decoded = await pipeline.data(decoded, inference)
    return Traversal(made, z, decoded)


def _axes(pipeline: Pipeline, inference: Inference, dims: Dims) -> _Axes:
    """Return the dimensions that are the same for all points."""
    model = inference.model
    kl = recorded_kl(pipeline, model)
    if dims.kind == "listed":
        chosen = list(dims.listed)
        for j in chosen:
            if j >= model.latent_dim:
                raise NoSuchDimension(model.name, model.latent_dim, j)
    elif kl is None and dims.kind == "top":
        raise NoKl(model.name)
    else:
        chosen = most_used(kl, model.latent_dim, dims.count)
    return _Axes(np.eye(model.latent_dim)[chosen], [{"dim": j, "kl": None if kl is None else kl[j]} for j in chosen])


async def _local_axes(pipeline: Pipeline, inference: Inference, mu: Floats, rows: int) -> list[_Axes]:
    """Return the directions along which the picture of each point changes most."""
    dim = mu.shape[1]
    z = np.concatenate([traversal.probes(point) for point in mu])  # (N 2 D, D)
    decoded = await pipeline.decode(z, inference)

    def work() -> list[_Axes]:
        found = []
        for i in range(len(mu)):
            block = slice(2 * dim * i, 2 * dim * (i + 1))
            vectors, changes = traversal.principal_directions(z[block], decoded[block])
            facts = [
                {"direction": vector.astype(np.float32), "change": np.float32(change)}
                for vector, change in zip(vectors[:rows], changes[:rows], strict=True)
            ]
            found.append(_Axes(vectors[:rows], facts))
        return found

    return await pipeline.offload(8 * decoded.nbytes, work)


def _walk(found: Located, axes: Sequence[_Axes], steps: int, over: Over, span: float) -> tuple[list[Row], Floats]:
    """Return the rows of all points and their latents (N R S, D)."""
    rows, z = [], []
    for item, (mu, sigma, own) in enumerate(zip(found.mu.astype(np.float64), found.sigma, axes, strict=True)):
        if over == "prior":
            values = np.tile(traversal.percentiles(steps, span), (len(own.vectors), 1))  # (R, S)
        else:
            units = np.sqrt((np.square(own.vectors) * np.square(sigma.astype(np.float64))).sum(1))  # of each direction
            away = traversal.even_steps(steps, span) * (units[:, None] if over == "posterior" else 1)
            values = (own.vectors * mu).sum(1)[:, None] + away
        z.append(traversal.along(mu, own.vectors, values).reshape(-1, len(mu)))
        rows += [Row(item, row, **facts) for row, facts in zip(values.astype(np.float32), own.facts, strict=True)]
    latents = np.concatenate(z)
    beyond = ~(np.abs(latents) <= MAX_LATENT).all(axis=1)
    if beyond.any():
        item = int(beyond.argmax()) * len(axes) // len(latents)
        raise Unusable(
            f"its row leaves the range of latents, -{MAX_LATENT:g} to {MAX_LATENT:g}; ask for a smaller span", item, "point"
        )
    return rows, latents
