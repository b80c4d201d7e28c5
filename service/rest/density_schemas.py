"""Parameters of the operations that take a collection as a density, and schemas of their bodies and answers.

Knows nothing about how they are served.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema

from service.latents.noise import MAX_SEED
from service.operations.collection_map import MOST_POINTS
from service.rest.bandwidth_schema import Bandwidth
from service.rest.body_schemas import PlaneInfo, WarningList
from service.rest.collection_schemas import CURSOR_SCHEMA, DID_YOU_MEAN, MODEL, SEQ, UNKNOWN_KEYS, InCollection
from service.rest.data_keys import FILES, ONES
from service.rest.filter_schema import FILTER, FILTER_SCHEMA, NO_NUL, STRICT, Filter
from service.rest.schemas import MAX_SCALE, PictureParameters, TwoDims
from service.store.filters import MAX_KEY

MAX_NEAREST = 100
MAX_KEYS = 8
MAX_CELLS = 512


def _keys(value: object) -> tuple[str, ...]:
    """Return keys of metadata, each once. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("must be a text")
    keys = tuple(dict.fromkeys(key.strip(" ") for key in value.split(",") if key.strip(" ")))
    if len(keys) > MAX_KEYS or any(len(key) > MAX_KEY for key in keys):
        raise ValueError(f"must be at most {MAX_KEYS} keys of up to {MAX_KEY} characters")
    return keys


BANDWIDTH: Any = Field(
    "auto",
    description="The h in N(mu, sigma^2 + h^2), the density of each item. auto is the median distance of the items to their "
    "nearest neighbour, divided by the root of the number of dimensions. 0 takes the posteriors as they are.",
)
Prior = Literal["standard", "vamp", "aggregate"]
PRIOR: Any = Field(
    None,
    description="The prior: standard is N(0, I), aggregate the fitted one, vamp a learnt one. The default is the one that the "
    "model was trained with; of models of diffusers it is aggregate, the Gaussian that their configuration states.",
)


class DensityParameters(PictureParameters):
    """Parameters of POST /collections/{name}/density."""

    payload: ClassVar[tuple[str, ...]] = (*ONES, "mu", "sigma", "id", "queries")
    files: ClassVar[tuple[str, ...]] = FILES

    model: str | None = MODEL
    bandwidth: Bandwidth = BANDWIDTH
    k: int = Field(
        5, ge=0, le=MAX_NEAREST, description="The number of nearest items that are named, by the distance of the means."
    )
    filter: Filter = Field(default_factory=tuple, description=FILTER)
    strict: bool = Field(False, description=STRICT)


class CompareParameters(PictureParameters):
    """Parameters of POST /collections/{name}/compare."""

    payload: ClassVar[tuple[str, ...]] = ("a", "b", "queries")

    model: str | None = MODEL
    bandwidth: Bandwidth = BANDWIDTH
    cursor: Annotated[str, WithJsonSchema(CURSOR_SCHEMA)] = Field("", description="The cursor of the previous page.")
    limit: int = Field(100, ge=1, le=1000, description="The number of items on a page. It has no effect on queries.")
    strict: bool = Field(False, description=STRICT)


class MapParameters(InCollection):
    """Parameters of GET /collections/{name}/map."""

    plane: Literal["pca", "dims"] | None = Field(
        None,
        description="pca is the plane of the first two principal components of all items of the collection, whatever the "
        "filter; dims that of two dimensions. The default is dims if dims are stated, else pca.",
    )
    dims: TwoDims | None = Field(None, description="The two dimensions of plane=dims, such as 0,3.", examples=["0,1"])
    filter: Filter = Field(default_factory=tuple, description=FILTER)
    strict: bool = Field(False, description=STRICT)
    keys: Annotated[Any, PlainValidator(_keys), WithJsonSchema({"type": "string", "pattern": NO_NUL})] = Field(
        (), description=f"Keys of the metadata, separated by commas, whose values JSON answers have; at most {MAX_KEYS}."
    )
    limit: int = Field(
        MOST_POINTS,
        ge=1,
        le=MOST_POINTS,
        description="The most points. Of more items, a sample evenly spread over the order of the ids is shown.",
    )
    density: int | None = Field(
        None,
        ge=2,
        le=MAX_CELLS,
        description="Instead of points: the density over so many cells on each side, with the holes of the prior.",
        examples=[128],
    )
    bandwidth: Bandwidth = BANDWIDTH
    prior: Prior | None = PRIOR
    format: Literal["json", "npy", "png"] | None = Field(
        None,
        description="The format of the answer. It overrides the header Accept. PNG needs density.",
        examples=["json"],
    )
    scale: int | None = Field(
        None, ge=1, le=MAX_SCALE, description="The factor by which a PNG is enlarged. The default is 1, and more for browsers."
    )


class CoverageParameters(InCollection):
    """Parameters of GET /collections/{name}/coverage."""

    filter: Filter = Field(default_factory=tuple, description=FILTER)
    strict: bool = Field(False, description=STRICT)
    bandwidth: Bandwidth = BANDWIDTH
    prior: Prior | None = PRIOR
    draws: int = Field(500, ge=1, le=10_000, description="The number of draws from the prior.")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="The seed of the draws: the same one gives the same answer.")


# --- bodies and answers, for the OpenAPI page


class BandwidthInfo(BaseModel):
    """Fields of every answer that a density is in."""

    bandwidth: float = Field(description="The h of the density.")
    bandwidth_sample: int | None = Field(description="The items that auto was found by; null if the bandwidth was stated.")
    seq: int = Field(description=SEQ)
    unknown_keys: list[str] | None = UNKNOWN_KEYS
    did_you_mean: dict[str, str] | None = DID_YOU_MEAN


class DensityAnswer(BandwidthInfo):
    """The densities of the queries, in their order."""

    log_density: list[float | None] = Field(description="Nats. null is a density of 0: no item, or all too far away.")
    percentile: list[float | None] = Field(
        description="The percentage (0 to 100) of stored items whose own density is at most this; each is left out of its "
        "own. null if there are not two items."
    )
    percentile_sample: int = Field(description="The stored items that the percentiles are among.")
    ids: list[list[str]] = Field(description="The ids of the nearest items, nearest first.")
    count: int = Field(description="The number of items that make the density.")
    without_sigma: int = Field(description="The number of those without a sigma, which count as points: N(mu, h^2).")
    warnings: WarningList = None


class TwoFilters(BaseModel):
    """Two filters, and perhaps queries. Parameters may be added."""

    a: Annotated[dict[str, Any], WithJsonSchema(FILTER_SCHEMA)] = Field(description="A filter, which finds the first set.")
    b: Annotated[dict[str, Any], WithJsonSchema(FILTER_SCHEMA)] = Field(description="A filter, which finds the second set.")
    queries: list[dict[str, Any]] | None = Field(None, description="Points to compare at, as in a search; not the items.")


class SetInfo(BaseModel):
    """One of two sets."""

    count: int = Field(description="The number of items that the filter finds.")
    without_sigma: int = Field(description="The number of those without a sigma, which count as points.")


class CompareAnswer(BandwidthInfo):
    """Two densities at items, in the order of their ids, or at queries, in their order."""

    ids: list[str | None] = Field(description="null for a query that is no stored item.")
    log_ratio: list[float | None] = Field(
        description="log_density_a - log_density_b in nats: above 0 where a is the more frequent. null if a density is 0."
    )
    log_density_a: list[float | None] = Field(description="The log density of the first set, nats. null is a density of 0.")
    log_density_b: list[float | None] = Field(description="The log density of the second set, nats. null is a density of 0.")
    in_a: list[bool] = Field(description="Whether it is an item of a; it is left out of that density then.")
    in_b: list[bool] = Field(description="Whether it is an item of b; it is left out of that density then.")
    a: SetInfo
    b: SetInfo
    cursor: str | None = Field(description="The cursor of the next page, null on the last page and for queries.")
    warnings: WarningList = None


class MapAnswer(BaseModel):
    """Points on a plane, in the order of their ids, or with `density` the density over it."""

    plane: PlaneInfo
    count: int = Field(description="The number of items that the filter finds.")
    seq: int = Field(description=SEQ)
    ids: list[str] | None = None
    points: list[list[float]] | None = Field(None, description="(x, y) of each id.")
    metadata: dict[str, list[Any]] | None = Field(None, description="Values of the chosen keys, null where there is none.")
    density: list[list[float]] | None = Field(None, description="Per unit of area, the mean of a cell; row 0 is the lowest y.")
    prior_density: list[list[float]] | None = Field(None, description="The density of the prior in each cell, as in density.")
    holes: list[list[bool]] | None = Field(None, description="Cells where the prior is high and the data are low.")
    hole_rule: str | None = Field(None, description="When a cell is a hole, in words.")
    prior: str | None = Field(None, description="The prior of prior_density and holes.")
    x_range: list[float] | None = Field(None, description="The smallest and the largest x of the cells.")
    y_range: list[float] | None = Field(None, description="The smallest and the largest y of the cells.")
    items: int | None = Field(None, description="The items whose posteriors make the density: all, or a sample.")
    bandwidth: float | None = Field(None, description="The h of the density.")
    bandwidth_sample: int | None = Field(
        None, description="The items that auto was found by; null if the bandwidth was stated."
    )
    unknown_keys: list[str] | None = UNKNOWN_KEYS
    did_you_mean: dict[str, str] | None = DID_YOU_MEAN


class CoverageAnswer(BandwidthInfo):
    """How much of a prior's mass the posteriors cover."""

    coverage: float | None = Field(description="A share from 0 to 1; null if there are not two items.")
    standard_error: float | None = Field(
        description="The standard error of coverage, by resampling both sets of draws. null if there are not two items, or if "
        "all draws agree (coverage is 0 or 1): resampling sees no error then."
    )
    threshold: float | None = Field(description="The log density, in nats, from which on a draw is covered.")
    alpha: float = Field(description="The share of draws from the posteriors that are above the threshold.")
    prior: str = Field(description="The prior that was drawn from.")
    draws: int = Field(description="The number of draws from the prior.")
    seed: int = Field(description="The seed of the draws.")
    reference: int = Field(description="The draws from the posteriors that the threshold was found by.")
    count: int = Field(description="The number of items that the filter finds.")
    without_sigma: int = Field(description="The number of those without a sigma, which count as points.")
