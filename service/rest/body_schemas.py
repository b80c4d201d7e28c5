"""Schemas of the bodies and answers of inference, for the OpenAPI page. Knows nothing about parameters."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.formats.latent_rows import MAX_LATENT
from service.rest.data_keys import DATA_KEYS, ONES


def one_of(*names: str, alone: bool = False) -> ConfigDict:
    """Return the configuration of a body that must have exactly one of some fields; their defaults are only for Python.

    `alone`: there are no other fields. Generators of clients do not understand `oneOf` here.
    """

    def require(schema: dict[str, Any]) -> None:
        for name in names:
            del schema["properties"][name]["default"]
        if alone:
            schema |= {"minProperties": 1, "maxProperties": 1, "additionalProperties": False}
        else:
            schema |= _exactly_one(names)

    return ConfigDict(json_schema_extra=require)


def _exactly_one(names: Sequence[str]) -> dict[str, Any]:
    """Return the part of a schema that requires exactly one of some names."""
    first, *others = ({"required": [name]} for name in names)
    if not others:
        return first
    rest = others[0] if len(others) == 1 else {"anyOf": others}
    return {"if": first, "then": {"not": rest}, "else": _exactly_one(names[1:])}


Cell = float | int | bool | str | None
Row = dict[str, Cell]
# A step of a pen: dx, dy, and 1 if it is lifted after it, else 0.
Point = Annotated[list[float], Field(min_length=3, max_length=3)]
# A drawing: its points, or an SVG file or path data as text.
Sketch = list[Point] | str
Number = Annotated[float, Field(ge=-MAX_LATENT, le=MAX_LATENT)]


# Data of each kind in bodies; the keys are those of `service.rest.data_keys`.
IMAGES = "Pictures as base64 or data URLs, of any size, in any supported format."
ROWS = "Rows of a table: objects with the columns of the model, null for a missing cell."
STROKES = "Drawings: lists of points [dx, dy, pen], where pen is 1 at the end of a stroke, or SVG as text."


class Data(BaseModel):
    """Data of the kind that the model is about, see `takes` in /models; exactly one of these."""

    model_config = one_of(*DATA_KEYS)

    images: list[str] = Field([], min_length=1, description=IMAGES)
    image: str = Field("", description="One picture, the same as images with one element.")
    rows: list[Row] = Field([], min_length=1, description=ROWS)
    row: Row = Field({}, description="One row, the same as rows with one element.")
    strokes: list[Sketch] = Field([], min_length=1, description=STROKES)
    sketch: Sketch = Field([], description="One drawing, the same as strokes with one element.")
    texts: list[str] = Field([], min_length=1, description="Texts.")
    text: str = Field("", description="One text, the same as texts with one element.")


class Begun(BaseModel):
    """Begun drawings or texts; exactly one of these."""

    model_config = one_of("strokes", "sketch", "texts", "text")

    strokes: list[Sketch] = Field([], min_length=1, description=STROKES)
    sketch: Sketch = Field([], description="One drawing, the same as strokes with one element.")
    texts: list[str] = Field([], min_length=1, description="Texts.")
    text: str = Field("", description="One text, the same as texts with one element.")


class Latents(BaseModel):
    """Latents, one per row."""

    model_config = one_of("z", "mu")

    z: list[list[Number]] = Field(
        [],
        min_length=1,
        description="Rows of latent_dim numbers each. A model whose latents have a shape also takes lists of that depth.",
    )
    mu: list[list[Number]] = Field([], min_length=1, description="The same as z, under the name that /encode gives it.")


class End(BaseModel):
    """One end of a path: data of the kind that the model is about, a latent, or a stored item."""

    model_config = one_of(*ONES, "z", "mu", "id", alone=True)

    image: str = Field("", description="A picture as base64 or data URL.")
    row: Row = Field({}, description="A row of a table.")
    sketch: Sketch = Field([], description="A drawing, or SVG.")
    text: str = Field("", description="A text.")
    z: list[Number] = Field([], description="A latent of latent_dim numbers.")
    mu: list[Number] = Field([], description="The same as z.")
    id: str = Field("", description="The id of an item of the collection that the request names.")


class WarningInfo(BaseModel):
    """What is probably wrong with a picture that was encoded, or with a query that was answered, all the same."""

    model_config = ConfigDict(title="Warning")

    item: int = Field(description="The index of the picture or the query, counted from 0.")
    code: str = Field(
        description="One of blank, clipped, cut, low_range, no_room, nothing_added, out_of_range, unusual; in a search also "
        "no_sigma."
    )
    detail: str = Field(description="The message says what was found, and what to try.")


WarningList = Annotated[
    list[WarningInfo] | None, Field(description="What is probably wrong with the pictures. It is left out if nothing is.")
]


class Posterior(BaseModel):
    """The posterior q(z given x) of each picture. Row i belongs to picture i."""

    model: str
    mu: list[list[float]] = Field(description="The mean of each latent dimension: the embedding of the picture.")
    sigma: list[list[float]] = Field(description="The standard deviation of each latent dimension.")
    latent_shape: list[int] | None = Field(
        None, description="The shape of a latent, (C, h, w), which is flat here; only of models whose latents have one."
    )
    logvar: list[list[float]] | None = Field(None, description="The logarithm of sigma².")
    kl: list[float] | None = Field(None, description="KL(q(z given x) || N(0, I)) in nats.")
    kl_per_dim: list[list[float]] | None = Field(None, description="The share of each latent dimension in kl.")
    z: list[list[float]] | None = Field(None, description="A draw from each posterior.")
    seed: int | None = Field(None, description="The seed of z.")
    warnings: WarningList = None


class PicturesAnswer(BaseModel):
    """Data of the kind that the model is about: pictures as base64 PNG, rows of a table, drawings, or texts."""

    model_config = ConfigDict(title="Pictures")

    model: str
    images: list[str] | None = Field(None, description="Pictures as base64 PNG.")
    rows: list[Any] | None = Field(None, description="Rows of a table: objects with a value for each column.")
    strokes: list[list[Point]] | None = Field(None, description="Drawings: lists of points [dx, dy, pen].")
    texts: list[str] | None = Field(None, description="Texts.")
    shape: list[int] | None = Field(None, description="Height, width and channels of pictures.")
    z: list[list[float]] | None = Field(None, description="The latents.")
    seed: int | None = Field(None, description="The seed of the latents and of the pixels, where one of them was drawn.")
    prior: str | None = Field(None, description="The prior that the latents were drawn from.")
    label: str | None = Field(None, description="The label that the latents were drawn for, if one was asked for.")
    warnings: WarningList = None


class ReconstructionsAnswer(PicturesAnswer):
    """Reconstructions as base64 PNG."""

    model_config = ConfigDict(title="Reconstructions")

    originals: list[Any] | None = Field(
        None, description="With compare=true, the data as the model sees them: pictures in its size and colours."
    )
    filled: list[list[str]] | None = Field(None, description="Only of table rows: the columns that were missing, row by row.")


class PathAnswer(PicturesAnswer):
    """The frames of a path as base64 PNG."""

    model_config = ConfigDict(title="Path")

    method: str = Field(description="The kind of path.")
    log_density: list[float] | None = Field(
        None, description="The log density of the collection's items at each frame, nats; null if they have none."
    )
    length: float | None = Field(
        None, description="The length of the path: the sum over its frames of sqrt(symmetric KL) of decoded distributions."
    )
    bandwidth: float | None = Field(None, description="The bandwidth of log_density.")
    ids: list[str] | None = Field(None, description="The stored items on a path with method=graph, in order.")
    graph: dict[str, int] | None = Field(
        None, description="How many items the graph has, and the collection (count); a large one is sampled evenly."
    )


class CompletionsAnswer(BaseModel):
    """Continuations of drawings or texts: a list for each beginning."""

    model_config = ConfigDict(title="Completions")

    model: str
    strokes: list[list[list[Point]]] | None = Field(None, description="Of a model of drawings: n for each beginning.")
    texts: list[list[str]] | None = Field(None, description="Of a model of texts: n for each beginning.")
    seed: int = Field(description="The seed of the latents and of the steps.")
    warnings: WarningList = None


class BarycenterAnswer(PicturesAnswer):
    """The picture of the mean of points as base64 PNG."""

    model_config = ConfigDict(title="Barycenter")

    method: str = Field(description="The kind of mean.")
    mu: list[list[float]] | None = Field(None, description="Only with method=w2: the mean of the barycenter.")
    sigma: list[list[float]] | None = Field(None, description="Only with method=w2: its standard deviations.")


class Problem(BaseModel):
    """An error (RFC 9457): what was found, and what would be right."""

    type: str = Field(description="A URN that ends in the code.")
    title: str = Field(description="The name of the status.")
    status: int
    detail: str = Field(description="What was found, and what would be right.")
    code: str = Field(description="A stable word for programs.")
    error: str = Field(description="The code and the detail in one line, for clients of other inference servers.")
    request_id: str = Field(description="The id under which the log of the service has this request.")
    item: int | None = Field(None, description="The index of the picture or latent at fault, counted from 0.")
    ids: list[str] | None = Field(None, description="Only with the code items_exist: which of the ids exist.")


class PlaneInfo(BaseModel):
    """A plane: coordinates axes (z - origin)."""

    kind: Literal["pca", "dims"] = Field(description="pca: two principal components. dims: two dimensions.")
    origin: list[float] = Field(description="The latent at the coordinates (0, 0).")
    axes: list[list[float]] = Field(description="Two unit vectors; the entry of largest size is positive.")
    explained: list[float] | None = Field(None, description="The shares of the variance along both axes. Only of pca.")
    dims: list[int] | None = Field(None, description="The two dimensions. Only of dims.")
