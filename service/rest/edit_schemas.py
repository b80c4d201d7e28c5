"""Parameters and the body of /edit. Knows nothing about how it is served."""

from typing import Annotated, Any, ClassVar

import orjson
from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema

from service.rest.body_schemas import Number, Row, Sketch
from service.rest.collection_schemas import MODEL, NAME_SCHEMA
from service.rest.data_keys import DATA_KEYS, FILES
from service.rest.direction_schemas import Names
from service.rest.schemas import DecodeParameters, IncludeLatents, PointParameters
from service.store.directions import MAX_DIRECTIONS
from service.store.names import NAME

# In standard deviations. Latents that are moved so far lie beyond all data.
MAX_AMOUNT = 100.0
FORMS = 'must be {"smile": 1.5, "glasses": -1}, or smile:1.5,glasses:-1'


def _amounts(value: object) -> dict[str, float]:
    """Parse the amounts of directions, which in a query or a form are a text. Raises ValueError."""
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, dict) or len(value) > MAX_DIRECTIONS:
        raise ValueError(FORMS)
    for name, amount in value.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"must have names of directions before the amounts, as in {FORMS[8:]}")
        if type(amount) not in (int, float) or not abs(amount) <= MAX_AMOUNT:  # nor NaN
            raise ValueError(f"must have numbers from -{MAX_AMOUNT:g} to {MAX_AMOUNT:g} as amounts")
    return {name: float(amount) for name, amount in value.items()}


def _parsed(text: str) -> object:
    """Return the value of JSON, or of pairs such as smile:1.5,glasses:-1."""
    if text.lstrip().startswith("{"):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            raise ValueError(FORMS) from None
    found: dict[str, object] = {}
    for pair in text.split(","):
        name, colon, amount = pair.rpartition(":")
        if not pair.strip():
            continue
        if not colon:
            raise ValueError(FORMS)
        if name.strip() in found:
            raise ValueError("must name each direction once")
        try:
            found[name.strip()] = orjson.loads(amount)
        except orjson.JSONDecodeError:
            found[name.strip()] = None  # no amount, as whoever checks it says
    return found


AMOUNTS = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "propertyNames": {"pattern": NAME_SCHEMA["pattern"]},
            "additionalProperties": {"type": "number", "minimum": -MAX_AMOUNT, "maximum": MAX_AMOUNT},
            "maxProperties": MAX_DIRECTIONS,
        },
    ]
}
Amounts = Annotated[dict[str, float], PlainValidator(_amounts), WithJsonSchema(AMOUNTS)]


class EditParameters(DecodeParameters, PointParameters):
    """Parameters of /edit."""

    payload: ClassVar[tuple[str, ...]] = (*DATA_KEYS, "z", "mu", "points")
    files: ClassVar[tuple[str, ...]] = FILES

    model: str | None = MODEL
    collection: str | None = Field(
        None,
        examples=["example"],
        description="Required. The collection that has the directions, and the points that are ids of items. Its model "
        "answers, and a key needs the scope store, too.",
    )
    directions: Amounts = Field(
        default_factory=dict,
        examples=["smile:1.5"],
        description="Required. How far to move along which directions, in standard deviations (see unit of a direction): "
        '{"smile": 1.5, "glasses": -1}, or in a query or a form also smile:1.5,glasses:-1.',
    )
    keep: Names = Field(
        frozenset(),
        examples=[""],
        description="The names of directions, separated by commas, along which nothing may change: the part of the edit "
        "along them is left out.",
    )
    include: IncludeLatents = frozenset()


class EditBody(BaseModel):
    """Data, latents, or points of any kind: exactly one of these."""

    images: list[str] | None = Field(None, min_length=1, description="Pictures as base64 or data URLs.")
    image: str | None = Field(None, description="One picture, the same as images with one element.")
    rows: list[Row] | None = Field(None, min_length=1, description="Rows of a table.")
    row: Row | None = Field(None, description="One row.")
    strokes: list[Sketch] | None = Field(None, min_length=1, description="Drawings.")
    sketch: Sketch | None = Field(None, description="One drawing.")
    texts: list[str] | None = Field(None, min_length=1, description="Texts.")
    text: str | None = Field(None, description="One text.")
    z: list[list[Number]] | None = Field(None, min_length=1, description="Latents of latent_dim numbers each.")
    mu: list[list[Number]] | None = Field(None, min_length=1, description="The same as z.")
    points: list[dict[str, Any]] | None = Field(
        None, min_length=1, description='Objects like {"image": "<base64>"}, {"z": [...]} or {"id": "..."}.'
    )
