"""Answers about scores, directions and densities as small dataclasses, like those in results.py.

Arrays are those of numpy. Without numpy they are nested lists of the same shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vae_client import npy
from vae_client.errors import ModelChanged
from vae_client.results import PictureWarning, all_warnings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Score:
    """One score of N pictures: `value` and `p_value`, float32 (N,) each. Without a calibration, `p_value` is None.

    `unit` is that of the values, such as nats. Only iwae has `ess` (N,), the effective number of samples, and `kind`, "bound"
    or "likelihood" for each picture; only elbo and iwae have `samples`, and only scores with noise the `seed`. Only surprise,
    of rows of a table, has `columns`, what each column adds to the value of each row, and `largest`, the one that adds most.
    """

    value: "NDArray[np.float32]"
    p_value: "NDArray[np.float32] | None"
    unit: str
    ess: "NDArray[np.float32] | None" = None
    kind: tuple[str, ...] | None = None
    samples: int | None = None
    seed: int | None = None
    columns: tuple[Mapping[str, float], ...] | None = None
    largest: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """How unusual N pictures are. `scores["knn"]` is one Score, `p_value`, float32 (N,), that of the default scores together.

    A small p-value is unusual. `p_value` is None unless the model is `calibrated` and all default scores were asked for.
    """

    scores: Mapping[str, Score]
    p_value: "NDArray[np.float32] | None"
    calibrated: bool
    model: str = ""
    digest: str = ""
    warnings: tuple[PictureWarning, ...] = ()

    def __len__(self) -> int:
        return next((len(one.value) for one in self.scores.values()), 0)

    @classmethod
    def join(cls, parts: Sequence["Scores"]) -> "Scores":
        """Return scores of one model in one object. Raises ModelChanged if they are of several."""
        if not parts:
            return cls({}, None, False)
        first = parts[0]
        if any((part.model, part.digest) != (first.model, first.digest) for part in parts):
            raise ModelChanged(f"the model {first.model} was replaced meanwhile; score all pictures again")
        scores = {name: _joined([part.scores[name] for part in parts]) for name in first.scores}
        return replace(first, scores=scores, p_value=_rows(parts, "p_value"), warnings=all_warnings(parts))


def _joined(parts: Sequence[Score]) -> Score:
    arrays = {name: _rows(parts, name) for name in ("value", "p_value", "ess")}
    return replace(parts[0], **arrays, **{name: _all(parts, name) for name in ("kind", "columns", "largest")})


def _all(parts: Sequence[Score], name: str) -> Any:
    if getattr(parts[0], name) is None:
        return None
    return tuple(one for part in parts for one in getattr(part, name) or ())


def _rows(parts: Sequence[Any], name: str) -> Any:
    rows = [getattr(part, name) for part in parts]
    return None if any(one is None for one in rows) else npy.join(rows)


@dataclass(frozen=True, eq=False)
class ModelMap:
    """The M training latents of a calibration in a plane: `points` (M, 2) = (mu - origin) @ axes.T, float32.

    `plane` has its `kind`, "pca" or "dims", `origin` (D,) and `axes` (2, D), and `explained` or `dims`. `labels` has the
    label of each point, if there are any; `record` how the calibration was made.
    """

    points: "NDArray[np.float32]"
    plane: Mapping[str, Any]
    model: str
    labels: tuple[str, ...] | None = None
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction of a collection: `vector`, float32 (D,) of length 1; 1 of an edit is `unit` times it.

    `auc` is the share of held-out pairs that it ranks rightly, None where those that are left have no direction. `positive`
    and `negative` say what the sides were made from. `vector` is None in lists of directions.
    """

    name: str
    collection: str
    method: str
    auc: float | None
    unit: float
    seq: int
    positive: Mapping[str, Any]
    negative: Mapping[str, Any]
    orthogonal_to: tuple[str, ...] = ()
    vector: "NDArray[np.float32] | None" = None
    warnings: tuple[PictureWarning, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class _OfFilter:
    """What every answer about a filter has, as Neighbors does: `unknown_keys` are those that no item has."""

    seq: int
    unknown_keys: tuple[str, ...] = ()
    did_you_mean: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class _OfDensity(_OfFilter):
    """The h of the density; `bandwidth_sample` is the number of items that found it, None if it was stated."""

    bandwidth: float
    bandwidth_sample: int | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Densities(_OfDensity):
    """The density of a collection at N points: `log_density` in nats, and `percentile` among the items; float64 (N,) each.

    A density of 0 has the log density -inf; the percentile is NaN if there are not two items. `ids` names the nearest items of
    each point, nearest first. The density is made of `count` items.
    """

    log_density: "NDArray[np.float64]"
    percentile: "NDArray[np.float64]"
    ids: tuple[tuple[str, ...], ...]
    percentile_sample: int
    count: int
    without_sigma: int
    warnings: tuple[PictureWarning, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison(_OfDensity):
    """Two sets of items compared at N items or points: `log_ratio` = `log_density_a` - `log_density_b`, in nats, float64 (N,).

    A density of 0 has the log density -inf, and its ratio is NaN. `in_a` and `in_b`, bool (N,), say of which sets it
    is an item. `a` and `b` have the counts of the sets. `cursor` leads to the next items; it is None at the end.
    """

    ids: tuple[str | None, ...]
    log_ratio: "NDArray[np.float64]"
    log_density_a: "NDArray[np.float64]"
    log_density_b: "NDArray[np.float64]"
    in_a: "NDArray[np.bool_]"
    in_b: "NDArray[np.bool_]"
    a: Mapping[str, int]
    b: Mapping[str, int]
    cursor: str | None = None
    warnings: tuple[PictureWarning, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class ItemMap(_OfFilter):
    """Items on a plane: `points`, float32 (N, 2), in the order of `ids`: the coordinates `axes` (z - `origin`).

    `origin` is (D,), `axes` (2, D), both float64; `plane` has these and more. `metadata` has the values of each of the `keys`.
    """

    plane: Mapping[str, Any]
    count: int
    ids: tuple[str, ...]
    points: "NDArray[np.float32]"
    metadata: Mapping[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class DensityMap(_OfDensity):
    """The density of items over a plane of n x n cells, the lowest y first: `density` and `prior_density`, float64 (n, n).

    They are per unit of area. `holes`, bool (n, n), are cells where the prior is high and the data are low. The map goes over
    `x_range` and `y_range`; `items` is the number of posteriors that made it.
    """

    plane: Mapping[str, Any]
    count: int
    density: "NDArray[np.float64]"
    prior_density: "NDArray[np.float64]"
    holes: "NDArray[np.bool_]"
    hole_rule: str
    prior: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    items: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Coverage(_OfDensity):
    """`coverage` is the share of draws from a prior, 0 to 1, whose log density under the items is at least `threshold` (nats).

    The share `alpha` of the draws from the stored posteriors reaches it. `coverage`, `standard_error` and `threshold` are None
    if there are not two items, `standard_error` also if all draws agree, so that `coverage` is 0 or 1.
    """

    coverage: float | None
    standard_error: float | None
    threshold: float | None
    alpha: float
    prior: str
    draws: int
    seed: int
    reference: int
    count: int
    without_sigma: int
