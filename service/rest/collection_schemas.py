"""Parameters of the operations on collections, and schemas of their bodies and answers for the OpenAPI page.

Knows nothing about how they are served.
"""

from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, WithJsonSchema

from service.observe.printable import short
from service.operations.items import DELETED_AT_ONCE, LISTED_IDS
from service.rest.schemas import Parameters, PictureParameters, WarningList, split, words
from service.store.filters import MAX_KEY, MAX_KEYS, MAX_VALUES, ORDERED, BadFilter, Condition, parse_filter
from service.store.interface import COLLECTION_NAME, MAX_ID, IfExists

Keep = Literal["nothing", "picture"]
MetricName = Literal["l2", "cosine", "w2", "jeffreys", "bhattacharyya", "hellinger", "fisher_rao"]
MAX_NEIGHBORS = 10_000
# A description may be in the query, where a character can take 12 bytes. This stays well below the limit of headers.
MAX_DESCRIPTION = 1000
NAME_SCHEMA = {"type": "string", "pattern": f"^{COLLECTION_NAME.pattern}$"}
ID_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_ID, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"}
CURSOR_SCHEMA = {**ID_SCHEMA, "minLength": 0, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
NO_NUL = r"^[^\x00]*$"


def _conditions(value: object) -> tuple[Condition, ...]:
    """Parse a filter, which in a query is JSON text. Raises BadFilter even for a filter that another one overrides."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise BadFilter(f'filter must be a JSON object such as {{"label": 7}}, not {short(value)} ({error})') from None
    return () if value is None else parse_filter(value)


TEXT = {"type": "string", "pattern": NO_NUL}
NUMBER = {"type": "number"}
SCALAR = {"anyOf": [TEXT, NUMBER, {"type": "boolean"}, {"type": "null"}]}
TESTS = {
    "$id": "FilterTests",
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("eq", "ne", "contains"), SCALAR),
        **{name: {"anyOf": [TEXT, NUMBER]} for name in ORDERED},
        "in": {"type": "array", "maxItems": MAX_VALUES, "items": SCALAR},
        "exists": {"type": "boolean"},
    },
}
# "$id" names a part of the OpenAPI page, see components.py.
FILTER_SCHEMA = {
    "$id": "Filter",
    "type": ["object", "null"],
    "maxProperties": MAX_KEYS,
    "propertyNames": {"minLength": 1, "maxLength": MAX_KEY, "pattern": r'^[^\x00-\x1f\x7f-\x9f"\\]+$'},
    "additionalProperties": {"anyOf": [*SCALAR["anyOf"], TESTS]},
}
Filter = Annotated[tuple[Condition, ...], PlainValidator(_conditions), WithJsonSchema(FILTER_SCHEMA)]
FILTER = (
    'JSON conditions on the metadata, which must all hold: {"label": 7, "year": {"gte": 2020}, "city": {"in": ["a", "b"]}}. '
    "A list matches by its elements. unknown_keys in the answer names keys that no item has."
)
STRICT = "true refuses a filter with a key that no item of the collection has, unless the collection is empty."
STRICT_DELETION = (
    f'{STRICT} Even without it, a deletion is refused (409) if the key of a condition with ne or "exists": false is one that '
    "no item has, since it would match every item."
)


class CollectionParameters(Parameters):
    """Parameters of PUT /collections/{name}."""

    metric: MetricName | None = Field(
        None, description="The metric of searches. The default is l2 for a new collection; that of an existing one stays."
    )
    description: str | None = Field(
        None, max_length=MAX_DESCRIPTION, pattern=NO_NUL, description="Any text. By default, that of an existing one stays."
    )
    keep: Keep | None = Field(
        None,
        description="picture keeps the originals of the pictures that are added. The default is nothing for a new collection, "
        "and what it was for an existing one.",
    )


class ItemsParameters(PictureParameters):
    """Parameters of POST /collections/{name}/items."""

    payload: ClassVar[tuple[str, ...]] = ("items",)
    files: ClassVar[tuple[str, ...]] = ("image", "id", "metadata")

    id: Annotated[str, WithJsonSchema(ID_SCHEMA)] | None = Field(None, description="The id of the only item of the request.")
    if_exists: IfExists = Field(
        "replace",
        description="What happens to items whose ids exist: replace, error (refuse the request with 409), or skip, "
        "which keeps the old ones.",
    )


class DeleteParameters(Parameters):
    """Parameters of POST /collections/{name}/delete."""

    payload: ClassVar[tuple[str, ...]] = ("ids", "filter")
    strict: bool = Field(False, description=STRICT_DELETION)


class ListParameters(Parameters):
    """Parameters of GET /collections/{name}/items."""

    cursor: Annotated[str, WithJsonSchema(CURSOR_SCHEMA)] = Field("", description="The cursor of the previous page.")
    limit: int = Field(100, ge=1, le=1000, description="The number of items on a page.")
    filter: Filter = Field(default_factory=tuple, description=FILTER)
    strict: bool = Field(False, description=STRICT)
    include: Annotated[
        frozenset[Literal["mu", "sigma", "metadata"]],
        BeforeValidator(split, json_schema_input_type=words("mu", "sigma", "metadata")),
        Field(description="Additional fields, separated by commas: mu, sigma. The metadata is always included."),
    ] = frozenset()


class SearchParameters(PictureParameters):
    """Parameters of POST /collections/{name}/search."""

    payload: ClassVar[tuple[str, ...]] = ("image", "mu", "sigma", "id", "queries")
    files: ClassVar[tuple[str, ...]] = ("image",)

    k: int = Field(10, ge=1, le=MAX_NEIGHBORS, description="The number of neighbours.")
    metric: MetricName | None = Field(None, description="The metric of the distances. The default is that of the collection.")
    filter: Filter = Field(default_factory=tuple, description=FILTER)
    strict: bool = Field(False, description=STRICT)
    include: Annotated[
        frozenset[Literal["mu", "sigma", "image", "metadata"]],
        BeforeValidator(split, json_schema_input_type=words("mu", "sigma", "image", "metadata")),
        Field(
            description="Additional fields, separated by commas: mu, sigma, image (the decoded latent, as base64 PNG). "
            "The metadata is always included."
        ),
    ] = frozenset()
    active_only: bool = Field(False, description="true ignores dimensions whose KL is about zero on the model's card.")
    candidates: int | None = Field(
        None,
        ge=1,
        le=MAX_NEIGHBORS,
        description="The metric is computed only for so many items, the nearest by w2. The answer is not exact then.",
    )
    exclude_self: bool = Field(False, description="true leaves the item of a query by id out of its own neighbours.")
    exact: bool | None = Field(None, description="true does not use the approximate index, which only PostgreSQL has.")


# --- bodies and answers, for the OpenAPI page

UNKNOWN_KEYS = Field(None, description="The keys of the filter that no item of the collection has, if there are any.")
DID_YOU_MEAN = Field(None, description="For keys of unknown_keys, a similar key that some item has.")


class CollectionInfo(BaseModel):
    """A collection."""

    name: str
    model: str
    digest: str = Field(description="The digest of the model whose vectors it holds.")
    loaded_as: str | None = Field(None, description="The name under which that model is loaded, if it is another name.")
    latent_dim: int
    metric: MetricName
    description: str
    keep: Keep = Field(description="picture if the originals of pictures are kept.")
    count: int
    seq: int = Field(description="The sequence number of the last change.")


class CollectionList(BaseModel):
    """All collections, in the order of their names."""

    collections: list[CollectionInfo]


class NewItem(BaseModel):
    """A picture as base64 or data URL, or the parameters of a posterior."""

    id: str | None = Field(None, description=f"1 to {MAX_ID} characters. It is random if it is missing.")
    image: str | None = None
    mu: list[float] | None = None
    sigma: list[float] | None = None
    metadata: dict[str, Any] | None = Field(None, description="Without it, that of the item that it replaces stays.")


class NewItems(BaseModel):
    """Items to add."""

    items: list[NewItem] = Field(min_length=1)


class Added(BaseModel):
    """The items that were added. They are stored durably."""

    collection: str
    ids: list[str] = Field(description="The ids of all items, in the order of the request.")
    added: list[str]
    replaced: list[str]
    skipped: list[str] | None = Field(None, description="Only with if_exists=skip.")
    seq: int
    warnings: WarningList = None


class StoredItem(BaseModel):
    """An item of a collection."""

    id: str
    metadata: dict[str, Any]
    seq: int = Field(description="The sequence number of its last change.")
    mu: list[float] | None = None
    sigma: list[float] | None = Field(None, description="null if the item has none.")


class ItemPage(BaseModel):
    """One page of items, in the order of their ids."""

    items: list[StoredItem]
    cursor: str | None = Field(description="The cursor of the next page, null on the last page.")
    unknown_keys: list[str] | None = UNKNOWN_KEYS
    did_you_mean: dict[str, str] | None = DID_YOU_MEAN


class Deleted(BaseModel):
    """The item that was deleted."""

    id: str
    seq: int


class ToDelete(BaseModel):
    """The ids of items, or conditions on their metadata: exactly one of the two."""

    ids: list[Annotated[str, WithJsonSchema(ID_SCHEMA)]] | None = Field(None, max_length=DELETED_AT_ONCE)
    filter: Annotated[dict[str, Any] | None, WithJsonSchema(FILTER_SCHEMA)] = Field(None, description=FILTER)


class DeletedSeveral(BaseModel):
    """The items that were deleted."""

    collection: str
    count: int
    ids: list[str] = Field(description=f"The first {LISTED_IDS} of them.")
    missing: list[str] | None = Field(None, description="The ids in the request that no item has. Only with ids.")
    seq: int
    unknown_keys: list[str] | None = UNKNOWN_KEYS
    did_you_mean: dict[str, str] | None = DID_YOU_MEAN


class PatchedItem(BaseModel):
    """An item after a change of its metadata."""

    id: str
    metadata: dict[str, Any]
    seq: int


class QueryBody(BaseModel):
    """A picture, the parameters of a posterior, or the id of an item. Search parameters may be added."""

    image: str | None = None
    mu: list[float] | None = None
    sigma: list[float] | None = None
    id: str | None = None
    queries: list[dict[str, Any]] | None = Field(None, description="Several queries, each like the above.")


class NeighborInfo(BaseModel):
    """One neighbour."""

    id: str
    distance: float
    metadata: dict[str, Any]
    mu: list[float] | None = None
    sigma: list[float] | None = None
    image: str | None = None


class NeighborsAnswer(BaseModel):
    """The neighbours, nearest first. For several queries, `results` instead of `neighbors`."""

    neighbors: list[NeighborInfo] | None = None
    results: list[dict[str, list[NeighborInfo]]] | None = None
    metric: MetricName
    exact: bool
    seq: int = Field(description="The sequence number of the last change that the search has seen.")
    warnings: WarningList = None
    unknown_keys: list[str] | None = UNKNOWN_KEYS
    did_you_mean: dict[str, str] | None = DID_YOU_MEAN
