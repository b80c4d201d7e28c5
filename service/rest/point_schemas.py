"""Parameters and bodies of the operations that take points of a latent space. Knows nothing about how they are served."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.latents.traversal import DEFAULT_SPAN
from service.rest.body_schemas import End, Number, PicturesAnswer, Row, Sketch
from service.rest.data_keys import DATA_KEYS, FILES
from service.rest.schemas import (
    DataFormat,
    DecodeParameters,
    FramesFormat,
    IncludeLatents,
    LabelParameters,
    NpyType,
    PointParameters,
    Scale,
    TwoDims,
    View,
)

# More than any bound on pictures; a number of thousands of digits could not be multiplied and shown.
MOST_STEPS = 1 << 30
# How many dimensions or directions a traversal may have at most, before the bound on its pictures.
MOST_DIMS = 4096
NUMBER = "(0|[1-9][0-9]{0,3})"
LISTED = f"{NUMBER}(,{NUMBER})*"
DIMS = re.compile(f"(top|local)(:[1-9][0-9]{{0,3}})?|{LISTED}")


def dims_text(value: object) -> str:
    """Return the rows of a traversal as text, also for a JSON list of numbers. Raises ValueError."""
    text = _joined(value)
    if text is None or not DIMS.fullmatch(text):
        raise ValueError("must be top:N, local:N, or dimensions such as 0,3,5")
    return text


def _joined(value: object) -> str | None:
    values = value if isinstance(value, list) else [value]
    if isinstance(value, str):
        return value.replace(" ", "")
    return ",".join(map(str, values)) if all(type(one) is int for one in values) else None


class PointBody(BaseModel):
    """A point of the latent space: data of the model's kind, a latent, a posterior, or a stored item; exactly one of them."""

    model_config = ConfigDict(title="Point", json_schema_extra={"additionalProperties": False})

    image: str | None = Field(None, description="A picture as base64 or data URL; it stands for its posterior.")
    row: Row | None = Field(None, description="A row of a table.")
    sketch: Sketch | None = Field(None, description="A drawing, or SVG.")
    text: str | None = Field(None, description="A text.")
    z: list[Number] | None = Field(None, description="A latent of latent_dim numbers.")
    mu: list[Number] | None = Field(None, description="The mean of a posterior; without sigma the same as z.")
    sigma: list[Annotated[float, Field(gt=0)]] | None = Field(None, description="The sigma of a posterior; only with mu.")
    id: str | None = Field(None, description="The id of an item of the collection that the request names.")


class Term(PointBody):
    """A point with a weight."""

    model_config = ConfigDict(title="Term", json_schema_extra={"additionalProperties": False})

    weight: float = Field(1.0, ge=-100, le=100, description="The number that the latent is multiplied by.")


class WeightedPoint(PointBody):
    """A point with a weight of at least 0."""

    model_config = ConfigDict(title="WeightedPoint", json_schema_extra={"additionalProperties": False})

    weight: float = Field(1.0, ge=0, le=100, description="The share of the point, before division by the sum of all weights.")


class PathBody(BaseModel):
    """The two ends of a path, or several points that it goes through, or the four corners of a square."""

    model_config = ConfigDict(
        json_schema_extra={"dependentRequired": {"start": ["end"], "end": ["start"]}, "minProperties": 1}
    )

    start: End = Field(None)  # type: ignore[assignment]  # the default is removed from the page
    end: End = Field(None)  # type: ignore[assignment]
    points: list[PointBody] = Field([], min_length=2, description="At least two points, of any kind.")
    corners: list[PointBody] = Field(
        [], min_length=4, max_length=4, description="Upper left, upper right, lower left and lower right corner."
    )


class CombineParameters(DecodeParameters, PointParameters):
    """Parameters of /combine."""

    payload: ClassVar[tuple[str, ...]] = ("terms",)
    instead_of_files: ClassVar[str] = "send the terms as JSON"

    include: IncludeLatents = frozenset()


class Terms(BaseModel):
    """The terms of a sum."""

    terms: list[Term] = Field(min_length=1)


class BarycenterParameters(DecodeParameters, PointParameters):
    """Parameters of /barycenter."""

    payload: ClassVar[tuple[str, ...]] = ("points",)
    instead_of_files: ClassVar[str] = "send the points as JSON"

    method: Literal["euclidean", "w2"] = Field(
        "euclidean",
        description="euclidean gives the mean of the points. w2 gives the 2-Wasserstein barycenter of posteriors, whose mu "
        "and sigma are the means of theirs; each point needs a sigma.",
    )
    include: IncludeLatents = frozenset()


class WeightedPoints(BaseModel):
    """Points with weights, which are divided by their sum."""

    points: list[WeightedPoint] = Field(min_length=1)


Span = Annotated[
    float,
    Field(
        gt=0,
        le=8,
        examples=[2],
        description="How far the values go to both sides, in standard deviations; 2.326 is from the 1st to the 99th "
        "percentile.",
    ),
]


class TraverseParameters(PointParameters):
    """Parameters of /traverse."""

    payload: ClassVar[tuple[str, ...]] = (*DATA_KEYS, "z", "mu", "points")
    files: ClassVar[tuple[str, ...]] = FILES

    format: FramesFormat | None = Field(
        None, description="The format of the answer. It overrides the header Accept.", examples=["png"]
    )
    dtype: NpyType = "uint8"
    scale: Scale | None = None
    view: View = None
    dims: (
        Annotated[
            str,
            BeforeValidator(
                dims_text,
                json_schema_input_type=Annotated[str, Field(pattern=f"^((top|local)(:[1-9][0-9]{{0,3}})?|{LISTED})$")]
                | list[Annotated[int, Field(ge=0, lt=MOST_DIMS)]],
            ),
        ]
        | None
    ) = Field(
        None,
        examples=["top:8"],
        description="The rows: top:8, the 8 dimensions with the largest KL in the model's metrics; local:8, the 8 directions "
        "along which the picture of the point changes most; or a list such as 0,3,5. The default is top:8, or the first 8 "
        "dimensions of a model without that KL.",
    )
    steps: int = Field(11, ge=2, le=MOST_STEPS, description="The number of pictures in a row.")
    over: Literal["prior", "point", "posterior"] = Field(
        "prior",
        description="prior: the values are percentiles of N(0, 1). point: they go span standard deviations of the prior to "
        "both sides of the point, which is better with pictures. posterior: span sigmas of its own posterior.",
    )
    span: Span = DEFAULT_SPAN
    include: IncludeLatents = frozenset()


class TraverseBody(BaseModel):
    """Data, latents or points to start from; only one of these fields, or none for the mean of the prior."""

    images: list[str] = Field([], min_length=1, description="Pictures as base64 or data URLs.")
    image: str = Field("", description="One picture.")
    rows: list[Row] = Field([], min_length=1, description="Rows of a table.")
    row: Row = Field({}, description="One row.")
    strokes: list[Sketch] = Field([], min_length=1, description="Drawings.")
    sketch: Sketch = Field([], description="One drawing.")
    texts: list[str] = Field([], min_length=1, description="Texts.")
    text: str = Field("", description="One text.")
    z: list[list[Number]] = Field([], min_length=1, description="Latents.")
    mu: list[list[Number]] = Field([], min_length=1, description="The same as z.")
    points: list[PointBody] = Field([], min_length=1, description="Points of any kind.")


class TraversedRow(BaseModel):
    """One row of pictures."""

    item: int = Field(description="The index of its point.")
    dim: int | None = Field(None, description="Its dimension. Rows of dims=local have a direction instead.")
    kl: float | None = Field(None, description="The mean KL of that dimension over the test pictures, in nats.")
    direction: list[float] | None = Field(None, description="Its direction, a unit vector.")
    change: float | None = Field(
        None, description="How much the picture changes for one unit along the direction: the root of the sum of squares."
    )
    values: list[float] = Field(description="The coordinate of each picture along the dimension or direction.")


class TraversalAnswer(PicturesAnswer):
    """Pictures as base64 PNG: those of the first row, from its smallest value to its largest, then those of the next."""

    model_config = ConfigDict(title="Traversal")

    rows: list[TraversedRow] | list[Row]
    traversed: list[TraversedRow] | None = Field(
        None, description="Only of a model of tables, whose data are `rows`: what each row of data is."
    )
    over: str = Field(description="What the values are, as in the request.")
    steps: int = Field(description="The number of pictures in a row.")


class ManifoldParameters(LabelParameters):
    """Parameters of /manifold."""

    format: DataFormat | None = Field(
        None, description="The format of the answer. It overrides the header Accept; the default is png.", examples=["png"]
    )
    dtype: NpyType = "uint8"
    scale: Scale | None = None
    view: View = None
    dims: TwoDims | None = Field(
        None,
        examples=["0,1"],
        description="The dimension that grows to the right, and the one that grows upwards. The default of a model with two "
        "dimensions is 0,1, and that of others the two with the largest KL in metrics.json.",
    )
    n: int = Field(20, ge=2, description="The pictures in a row, and in a column.", examples=[8])
    span: Span = DEFAULT_SPAN
    collection: str | None = Field(None, description="The collection of the item. A key needs the scope store.")
    item: str | None = Field(
        None,
        description="The id of the item through which the plane goes: the other dimensions are those of its mu. Without it, "
        "they are 0.",
    )
    include: IncludeLatents = frozenset()


class ManifoldAnswer(PicturesAnswer):
    """Pictures as base64 PNG, row by row from the top left."""

    model_config = ConfigDict(title="Manifold")

    dims: list[int] = Field(description="The dimension that grows to the right, and the one that grows upwards.")
    n: int = Field(description="The number of pictures in a row, and in a column.")
    values: list[float] = Field(description="The values of both dimensions, from left to right and from the bottom up.")
