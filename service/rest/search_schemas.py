"""Parameters and schemas of searches in collections, for the OpenAPI page."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field

from service.rest.body_schemas import Point, Row, Sketch, WarningList
from service.rest.collection_schemas import (
    DID_YOU_MEAN,
    MAX_NEIGHBORS,
    MODEL,
    STATED_WEIGHT,
    UNKNOWN_KEYS,
    WEIGHT,
    MetricName,
    SigmaWeight,
)
from service.rest.data_keys import FILES, ONES
from service.rest.filter_schema import FILTER, STRICT, Filter
from service.rest.schemas import PictureParameters, split, words


class SearchParameters(PictureParameters):
    """Parameters of POST /collections/{name}/search."""

    payload: ClassVar[tuple[str, ...]] = (*ONES, "mu", "sigma", "id", "queries")
    files: ClassVar[tuple[str, ...]] = FILES

    model: str | None = MODEL
    k: int = Field(10, ge=1, le=MAX_NEIGHBORS, description="The number of neighbours.")
    metric: MetricName | None = Field(None, description="The metric of the distances. The default is that of the collection.")
    sigma_weight: SigmaWeight = Field(None, description=WEIGHT)
    filter: Filter = Field(default_factory=tuple, description=FILTER)
    strict: bool = Field(False, description=STRICT)
    include: Annotated[
        frozenset[Literal["mu", "sigma", "image", "row", "sketch", "text", "metadata"]],
        BeforeValidator(split, json_schema_input_type=words("mu", "sigma", "image", "row", "sketch", "text", "metadata")),
        Field(
            description="Additional fields, separated by commas: mu, sigma, image (the decoded mu as base64 PNG, not the "
            "original), and row, sketch or text (the decoded mu of a model of that kind). The metadata is always included."
        ),
    ] = frozenset()
    candidates: int | None = Field(
        None,
        ge=1,
        le=MAX_NEIGHBORS,
        description="The metric is computed only for so many items, at least k: the nearest by w2 (with the sigma_weight of a "
        "collection that has one). The answer is not exact then.",
    )
    exclude_self: bool = Field(False, description="true leaves the item of a query by id out of its own neighbours.")
    exact: bool | None = Field(None, description="true does not use the HNSW index, which only PostgreSQL has.")


class QueryBody(BaseModel):
    """A picture, the parameters of a posterior, or the id of an item. Parameters may be added."""

    image: str | None = Field(None, description="A picture as base64 or data URL.")
    row: Row | None = Field(None, description="A row of a table.")
    sketch: Sketch | None = Field(None, description="A drawing, or SVG.")
    text: str | None = Field(None, description="A text.")
    mu: list[float] | None = Field(None, description="The mean of a posterior, or any latent.")
    sigma: list[float] | None = Field(None, description="Its standard deviation, if known.")
    id: str | None = Field(None, description="The id of an item of the collection.")
    queries: list[dict[str, Any]] | None = Field(None, description="Several queries, each like the above.")


class NeighborInfo(BaseModel):
    """One neighbour."""

    id: str
    distance: float
    metadata: dict[str, Any]
    mu: list[float] | None = None
    sigma: list[float] | None = None
    image: str | None = Field(None, description="The decoded latent as base64 PNG.")
    row: Row | None = Field(None, description="The decoded latent of a model of tables.")
    sketch: list[Point] | None = Field(None, description="The decoded latent of a model of drawings.")
    text: str | None = Field(None, description="The decoded latent of a model of texts.")


class NeighborsAnswer(BaseModel):
    """The neighbours, nearest first. For several queries, `results` instead of `neighbors`."""

    neighbors: list[NeighborInfo] | None = None
    results: list[dict[str, list[NeighborInfo]]] | None = None
    metric: MetricName
    sigma_weight: float | None = STATED_WEIGHT
    exact: bool = Field(description="false if a nearer item may be missing.")
    seq: int = Field(description="The sequence number of the last change that the search has seen.")
    warnings: WarningList = None
    unknown_keys: list[str] | None = UNKNOWN_KEYS
    did_you_mean: dict[str, str] | None = DID_YOU_MEAN
