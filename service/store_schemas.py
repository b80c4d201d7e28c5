"""Parameters of the operations on collections, and the shapes of their bodies and answers for the OpenAPI page.

Knows nothing of how they are served.
"""

from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, Field

from service.schemas import Parameters, split

MetricName = Literal["l2", "cosine", "w2", "jeffreys", "bhattacharyya", "hellinger", "fisher_rao"]
MAX_NEIGHBORS = 10_000
# base64 of an id of 512 characters, four bytes each
MAX_CURSOR = 2732


def _object(value: object) -> object:
    """In a query a filter is JSON text."""
    if isinstance(value, str):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"a filter must be JSON: {error}") from None
    return value


Filter = Annotated[Any, BeforeValidator(_object, json_schema_input_type=str)]
FILTER = 'JSON: all that is said of the metadata must hold, {"label": 7, "year": {"gte": 2020}, "tag": {"in": ["a", "b"]}}'


class CollectionParameters(Parameters):
    """PUT /collections/{name}"""

    metric: MetricName = Field("l2", description="of searches that name none")
    description: str = Field("", max_length=10_000, description="whatever helps people")


class ItemsParameters(Parameters):
    """POST /collections/{name}/items"""

    payload: ClassVar[tuple[str, ...]] = ("items",)
    files: ClassVar[tuple[str, ...]] = ("image",)


class ListParameters(Parameters):
    """GET /collections/{name}/items"""

    cursor: str = Field("", max_length=MAX_CURSOR, description="of the page before")
    limit: int = Field(100, ge=1, le=1000, description="items on a page")
    filter: Filter = Field(None, description=FILTER)
    include: Annotated[
        frozenset[Literal["mu", "sigma", "metadata"]],
        BeforeValidator(split, json_schema_input_type=str),
        Field(description="more fields, separated by commas: mu, sigma; metadata is always there"),
    ] = frozenset()


class SearchParameters(Parameters):
    """POST /collections/{name}/search"""

    payload: ClassVar[tuple[str, ...]] = ("image", "mu", "sigma", "id", "queries")
    files: ClassVar[tuple[str, ...]] = ("image",)

    k: int = Field(10, ge=1, le=MAX_NEIGHBORS, description="how many neighbours")
    metric: MetricName | None = Field(None, description="the collection's when missing")
    filter: Filter = Field(None, description=FILTER)
    include: Annotated[
        frozenset[Literal["mu", "sigma", "image", "metadata"]],
        BeforeValidator(split, json_schema_input_type=str),
        Field(
            description="more fields, separated by commas: mu, sigma, image (the decoded latent, base64 PNG); metadata is "
            "always there"
        ),
    ] = frozenset()
    active_only: bool = Field(False, description="leave out dimensions whose KL on the model's card is about zero")
    candidates: int | None = Field(
        None, ge=1, le=MAX_NEIGHBORS, description="measure only that many nearest by w2; the answer is then not exact"
    )
    exact: bool | None = Field(None, description="true: without an approximate index, which only PostgreSQL has")


# --- bodies and answers, for the OpenAPI page


class CollectionInfo(BaseModel):
    """A collection."""

    name: str
    model: str
    digest: str = Field(description="of the model whose vectors it holds")
    latent_dim: int
    metric: MetricName
    description: str
    count: int
    seq: int = Field(description="number of the last change")


class NewItem(BaseModel):
    """A picture as base64 or data URL, or the parameters of a posterior."""

    id: str | None = Field(None, description="1 to 512 characters; drawn when missing")
    image: str | None = None
    mu: list[float] | None = None
    sigma: list[float] | None = None
    metadata: dict[str, Any] | None = None


class NewItems(BaseModel):
    """Items to add, or to replace where an id is there."""

    items: list[NewItem] = Field(min_length=1)


class Added(BaseModel):
    """What was added; it is durable."""

    collection: str
    ids: list[str]
    seq: int


class StoredItem(BaseModel):
    """An item."""

    id: str
    metadata: dict[str, Any]
    seq: int = Field(description="number of its last change")
    mu: list[float] | None = None
    sigma: list[float] | None = Field(None, description="null when it has none")


class ItemPage(BaseModel):
    """Items in the order of their ids."""

    items: list[StoredItem]
    cursor: str | None = Field(description="for the next page; null at the end")


class Deleted(BaseModel):
    """What is gone."""

    id: str
    seq: int


class QueryBody(BaseModel):
    """A picture, the parameters of a posterior, or the id of an item; options stand beside it."""

    image: str | None = None
    mu: list[float] | None = None
    sigma: list[float] | None = None
    id: str | None = None
    queries: list[dict[str, Any]] | None = Field(None, description="several of the above")


class NeighborInfo(BaseModel):
    """One that was found."""

    id: str
    distance: float
    metadata: dict[str, Any]
    mu: list[float] | None = None
    sigma: list[float] | None = None
    image: str | None = None


class NeighborsAnswer(BaseModel):
    """The nearest, nearest first; `results` instead of `neighbors` for several queries."""

    neighbors: list[NeighborInfo] | None = None
    results: list[dict[str, list[NeighborInfo]]] | None = None
    metric: MetricName
    exact: bool
    seq: int = Field(description="the collection's last change that was seen")
