"""Parameters of the operations on collections, and schemas of their bodies and answers for the OpenAPI page.

Knows nothing about how they are served.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from service.latents.distances import MAX_SIGMA_WEIGHT
from service.operations.items import DELETED_AT_ONCE, LISTED_IDS
from service.rest.body_schemas import Row, Sketch, WarningList
from service.rest.data_keys import FILES
from service.rest.filter_schema import FILTER, FILTER_SCHEMA, NO_NUL, STRICT, STRICT_DELETION, Filter
from service.rest.schemas import Parameters, PictureParameters, split, words
from service.store.interface import IfExists
from service.store.names import MAX_ID, NAME, TRAINING_PREFIX

Keep = Literal["nothing", "picture"]
MetricName = Literal["l2", "cosine", "w2", "jeffreys", "bhattacharyya", "hellinger", "fisher_rao"]
SigmaWeight = Annotated[float | None, Field(gt=0, le=MAX_SIGMA_WEIGHT, allow_inf_nan=False)]
WEIGHT = (
    "The weight w of sigma in the metric w2, which is then the distance of [mu, w sigma]. The default with a stated metric is "
    "1, the published distance; otherwise it is that of the collection, or for a new one that of the model."
)
STATED_WEIGHT: Any = Field(None, description="The weight of sigma; only with the metric w2.")
MAX_NEIGHBORS = 10_000
# A description may be in the query, where a character can take 12 bytes. This stays well below the limit of headers.
MAX_DESCRIPTION = 1000
NAME_SCHEMA = {
    "type": "string",
    "pattern": f"^{NAME.pattern}$",
    "description": "A name of up to 100 letters, digits, dots, underscores and hyphens.",
}
COLLECTION_SCHEMA = NAME_SCHEMA | {
    "pattern": f"^({TRAINING_PREFIX})?{NAME.pattern}$",
    "description": "A collection, or training:NAME, the training latents of a model.",
}
ID_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_ID, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"}
CURSOR_SCHEMA = {**ID_SCHEMA, "minLength": 0, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}


MODEL = Field(
    None,
    description="The model that the vectors are from, NAME or NAME@sha256:DIGEST. The default is that of the collection; "
    "another one is refused (409).",
)


class InCollection(Parameters):
    """Parameters of an operation on a collection that has no others."""

    model: str | None = MODEL


class AllCollections(Parameters):
    """Parameters of GET /collections."""

    model: str | None = Field(None, description="The name of a loaded model; only collections of that model are listed.")
    training: bool = Field(False, description="true also lists those of training latents, training:NAME.")


class CollectionParameters(Parameters):
    """Parameters of PUT /collections/{name}."""

    model: str | None = Field(
        None,
        description="The model that the vectors are from, NAME or NAME@sha256:DIGEST. The default is the default model for a "
        "new collection, and that of an existing one, for which another one is refused (409).",
    )
    metric: MetricName | None = Field(
        None,
        description="The metric of searches. The default for a new collection is the one that was chosen for its model: see "
        "search in /models. That of an existing one stays.",
    )
    sigma_weight: SigmaWeight = Field(None, description=WEIGHT)
    description: str | None = Field(
        None, max_length=MAX_DESCRIPTION, pattern=NO_NUL, description="Any text. By default, that of an existing one stays."
    )
    keep: Keep | None = Field(
        None,
        description="picture keeps the originals of the pictures that are added; only for models of pictures. The default is "
        "nothing for a new collection, and what it was for an existing one.",
    )


class ItemsParameters(PictureParameters):
    """Parameters of POST /collections/{name}/items."""

    payload: ClassVar[tuple[str, ...]] = ("items",)
    files: ClassVar[tuple[str, ...]] = (*FILES, "id", "metadata")

    model: str | None = MODEL
    id: Annotated[str, WithJsonSchema(ID_SCHEMA)] | None = Field(None, description="The id of the only item of the request.")
    id_column: str | None = Field(
        None, min_length=1, description="The column of a CSV body that has the ids. Without it, ids of rows are random."
    )
    metadata_columns: str | None = Field(
        None,
        min_length=1,
        description="Columns of a CSV body that become metadata, separated by commas; * for all that the model does not take.",
    )
    if_exists: IfExists = Field(
        "replace",
        description="What happens to items whose ids exist: replace, error (refuse the request with 409), or skip, "
        "which keeps the old ones.",
    )


class DeleteParameters(InCollection):
    """Parameters of POST /collections/{name}/delete."""

    payload: ClassVar[tuple[str, ...]] = ("ids", "filter")

    strict: bool = Field(False, description=STRICT_DELETION)


class ListParameters(InCollection):
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


# --- bodies and answers, for the OpenAPI page

UNKNOWN_KEYS = Field(None, description="The keys of the filter that no item of the collection has, if there are any.")
DID_YOU_MEAN = Field(None, description="For keys of unknown_keys, a similar key that some item has.")


SEQ = "The sequence number of the collection, which goes up by one for each item that is added, changed or deleted."


class CollectionInfo(BaseModel):
    """A collection."""

    name: str
    model: str = Field(description="The recorded name of the model whose vectors it holds.")
    digest: str = Field(description="The digest of the model whose vectors it holds.")
    loaded_as: str | None = Field(None, description="The name under which that model is loaded, if it is another name.")
    latent_dim: int
    metric: MetricName
    sigma_weight: float | None = STATED_WEIGHT
    description: str
    keep: Keep = Field(description="picture if the originals of pictures are kept.")
    read_only: bool = Field(description="true if no request can change it, as with training latents.")
    count: int = Field(description="The number of items.")
    seq: int = Field(description=SEQ)


class CollectionList(BaseModel):
    """All collections, in the order of their names."""

    collections: list[CollectionInfo]


class NewItem(BaseModel):
    """A picture as base64 or data URL, or the parameters of a posterior."""

    id: str | None = Field(None, description=f"1 to {MAX_ID} characters. It is random if it is missing.")
    image: str | None = Field(None, description="A picture as base64 or data URL.")
    row: Row | None = Field(None, description="A row of a table.")
    sketch: Sketch | None = Field(None, description="A drawing, or SVG.")
    text: str | None = Field(None, description="A text.")
    mu: list[float] | None = Field(None, description="The mean of a posterior.")
    sigma: list[float] | None = Field(None, description="Its standard deviation, if known.")
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
    seq: int = Field(description=SEQ)
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
    seq: int = Field(description=SEQ)


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
    seq: int = Field(description=SEQ)
    unknown_keys: list[str] | None = UNKNOWN_KEYS
    did_you_mean: dict[str, str] | None = DID_YOU_MEAN


class PatchedItem(BaseModel):
    """An item after a change of its metadata."""

    id: str
    metadata: dict[str, Any]
    seq: int = Field(description=SEQ)
