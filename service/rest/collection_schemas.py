"""Parameters of the operations on collections, and the shapes of their bodies and answers for the OpenAPI page.

Knows nothing of how they are served.
"""

from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, WithJsonSchema

from service.rest.schemas import Parameters, split, words
from service.store.filters import MAX_KEY, MAX_KEYS, MAX_VALUES, ORDERED, Condition, parse_filter

MetricName = Literal["l2", "cosine", "w2", "jeffreys", "bhattacharyya", "hellinger", "fisher_rao"]
MAX_NEIGHBORS = 10_000
# of text in an address, where a character may take twelve bytes: well within a head's bound
MAX_DESCRIPTION = 1000
NAME_SCHEMA = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"}
ID_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 512, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"}
CURSOR_SCHEMA = {**ID_SCHEMA, "minLength": 0, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
NO_NUL = r"^[^\x00]*$"


def _conditions(value: object) -> tuple[Condition, ...]:
    """In a query a filter is JSON text. Raises BadFilter here already: one that does not count must be right too."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"a filter must be JSON: {error}") from None
    return () if value is None else parse_filter(value)


TEXT = {"type": "string", "pattern": NO_NUL}
NUMBER = {"type": "number"}
SCALAR = {"anyOf": [TEXT, NUMBER, {"type": "boolean"}, {"type": "null"}]}
TESTS = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("eq", "ne"), SCALAR),
        **{name: {"anyOf": [TEXT, NUMBER]} for name in ORDERED},
        "in": {"type": "array", "maxItems": MAX_VALUES, "items": SCALAR},
        "exists": {"type": "boolean"},
    },
}
FILTER_SCHEMA = {
    "type": ["object", "null"],
    "maxProperties": MAX_KEYS,
    "propertyNames": {"minLength": 1, "maxLength": MAX_KEY, "pattern": r'^[^\x00-\x1f\x7f-\x9f"\\]+$'},
    "additionalProperties": {"anyOf": [*SCALAR["anyOf"], TESTS]},
}
Filter = Annotated[tuple[Condition, ...], PlainValidator(_conditions), WithJsonSchema(FILTER_SCHEMA)]
FILTER = 'JSON: all that is said of the metadata must hold, {"label": 7, "year": {"gte": 2020}, "tag": {"in": ["a", "b"]}}'


class CollectionParameters(Parameters):
    """PUT /collections/{name}"""

    metric: MetricName = Field("l2", description="of searches that name none")
    description: str = Field("", max_length=MAX_DESCRIPTION, pattern=NO_NUL, description="whatever helps people")


class ItemsParameters(Parameters):
    """POST /collections/{name}/items"""

    payload: ClassVar[tuple[str, ...]] = ("items",)
    files: ClassVar[tuple[str, ...]] = ("image",)


class ListParameters(Parameters):
    """GET /collections/{name}/items"""

    cursor: Annotated[str, WithJsonSchema(CURSOR_SCHEMA)] = Field("", description="of the page before")
    limit: int = Field(100, ge=1, le=1000, description="items on a page")
    filter: Filter = Field(default_factory=tuple, description=FILTER)
    include: Annotated[
        frozenset[Literal["mu", "sigma", "metadata"]],
        BeforeValidator(split, json_schema_input_type=words("mu", "sigma", "metadata")),
        Field(description="more fields, separated by commas: mu, sigma; metadata is always there"),
    ] = frozenset()


class SearchParameters(Parameters):
    """POST /collections/{name}/search"""

    payload: ClassVar[tuple[str, ...]] = ("image", "mu", "sigma", "id", "queries")
    files: ClassVar[tuple[str, ...]] = ("image",)

    k: int = Field(10, ge=1, le=MAX_NEIGHBORS, description="how many neighbours")
    metric: MetricName | None = Field(None, description="the collection's when missing")
    filter: Filter = Field(default_factory=tuple, description=FILTER)
    include: Annotated[
        frozenset[Literal["mu", "sigma", "image", "metadata"]],
        BeforeValidator(split, json_schema_input_type=words("mu", "sigma", "image", "metadata")),
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
