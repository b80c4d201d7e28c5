"""Parameters of directions, and schemas of their bodies and answers for the OpenAPI page.

Knows nothing about how they are served.
"""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from service.latents.directions import FOLDS, Method
from service.operations.directions import MOST
from service.rest.body_schemas import Number, Row, Sketch, WarningList
from service.rest.collection_schemas import ID_SCHEMA, MODEL, NAME_SCHEMA
from service.rest.filter_schema import FILTER_SCHEMA
from service.rest.schemas import PictureParameters, split
from service.store.directions import MAX_DIRECTIONS

NAME = {"type": "string", "pattern": NAME_SCHEMA["pattern"]}
NAMES = {"anyOf": [{"type": "string"}, {"type": "array", "items": NAME, "maxItems": MAX_DIRECTIONS}]}
Names = Annotated[frozenset[str], Field(max_length=MAX_DIRECTIONS), BeforeValidator(split), WithJsonSchema(NAMES)]


class DirectionParameters(PictureParameters):
    """Parameters of PUT /collections/{name}/directions/{direction}."""

    payload: ClassVar[tuple[str, ...]] = ("positive", "negative")

    model: str | None = MODEL
    method: Method = Field(
        "mean_difference",
        description="mean_difference is the mean of the positive side less that of the negative one. logistic_regression is "
        "the normal of the plane that separates them best.",
    )
    orthogonal_to: Names = Field(
        frozenset(),
        examples=[""],
        description="The names of other directions of the collection, separated by commas: the part along them is removed.",
    )


# --- bodies and answers, for the OpenAPI page


class Ids(BaseModel):
    """Items of the collection."""

    ids: list[Annotated[str, WithJsonSchema(ID_SCHEMA)]] = Field(min_length=1, max_length=MOST)


class SideImages(BaseModel):
    """Pictures as base64 or data URLs, which are not stored."""

    images: list[str] = Field(min_length=1)


class SideRows(BaseModel):
    """Rows of a table, which are not stored."""

    rows: list[Row] = Field(min_length=1)


class SideStrokes(BaseModel):
    """Drawings, which are not stored."""

    strokes: list[Sketch] = Field(min_length=1)


class SideTexts(BaseModel):
    """Texts, which are not stored."""

    texts: list[str] = Field(min_length=1)


class SideLatents(BaseModel):
    """Latents, which are not stored."""

    mu: list[list[Number]] = Field(min_length=1)


class SideFilter(BaseModel):
    """The items that a filter matches, written out."""

    filter: Annotated[dict[str, Any], WithJsonSchema(FILTER_SCHEMA)]


SideData = SideImages | SideRows | SideStrokes | SideTexts
Given = Ids | SideData | SideLatents | SideFilter | Annotated[dict[str, Any], WithJsonSchema(FILTER_SCHEMA)]
SIDE = 'a filter, such as {"label": 7} or {"filter": {"label": 7}}; or {"ids": [...]}, {"images": [...]} or {"mu": [[...]]}.'


class Sides(BaseModel):
    """The two sides of a direction, which points from the negative to the positive one."""

    positive: Given = Field(description=f"What the direction leads to: {SIDE}")
    negative: Given = Field(description=f"What it leads away from: {SIDE}")


class SideInfo(BaseModel):
    """What one side of a direction was made from."""

    source: str = Field(description="filter, ids, latents, or the key of data, such as images.")
    filter: dict[str, Any] | None = Field(None, description="Only with the source filter.")
    found: int = Field(description="The number of items that there were.")
    n: int = Field(description=f"The number of those that were used: at most {MOST}, a sample by the hashes of their ids.")


class DirectionInfo(BaseModel):
    """A direction in the latent space of a collection."""

    name: str = Field(description="The name of the direction.")
    collection: str = Field(description="The collection that it belongs to.")
    method: Method = Field(description="How it was made.")
    orthogonal_to: list[str] = Field(description="The directions whose part was removed from it.")
    positive: SideInfo = Field(description="The side that the direction leads to.")
    negative: SideInfo = Field(description="The side that it leads away from.")
    auc: float | None = Field(
        description="The share of pairs of a positive and a negative item of which the positive one lies further along the "
        f"direction; both held out of the direction that ranks them, in {FOLDS} turns. 0.5 is chance, 1 is perfect. "
        "null if the items that are left in one of the turns have no direction, since both sides have the same mean then, or "
        "nothing is left of it without those of orthogonal_to: too few items make the difference."
    )
    unit: float = Field(description="The standard deviation of the items along the direction: what 1 means in an edit.")
    seq: int = Field(description="The sequence number of the state of the collection that the direction was made from.")
    vector: list[float] | None = Field(None, description="The direction itself, of length 1. Lists of directions lack it.")
    warnings: WarningList = None


class DirectionList(BaseModel):
    """The directions of a collection, in the order of their names."""

    directions: list[DirectionInfo]
