"""Parameters of the operations, and schemas of bodies and answers for the OpenAPI page.

Knows nothing about how they are served.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.preprocess import Background, Invert
from service.formats.latent_rows import MAX_LATENT
from service.latents.noise import MAX_SEED


def split(value: object) -> object:
    """Return a set of words, both for the string "kl,z" and for the list ["kl", "z"]."""
    return frozenset(v.strip(" ") for v in value.split(",") if v.strip(" ")) if isinstance(value, str) else _as_set(value)


def _as_set(value: object) -> object:
    return frozenset(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


def number_as_text(value: object) -> object:
    """Return the text of a whole number, since labels are often numbers, and anything else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def words(*known: str) -> Any:
    """Return the type of a parameter that is a set of known words: a string with commas, or in JSON also a list."""
    word = f" *({'|'.join(known)})? *"
    return Annotated[str, Field(pattern=f"^{word}(,{word})*$")] | list[Literal[known]]  # type: ignore[valid-type]


Seed = Annotated[
    int,
    Field(
        ge=0, le=MAX_SEED, description="The seed of the noise: the same one gives the same answer. Without it, it is random."
    ),
]
PosteriorFormat = Literal["json", "npy"]
PictureFormat = Literal["json", "npy", "png"]
FramesFormat = Literal["json", "npy", "png", "webp", "gif"]
Layout = Literal["grid", "row", "column"]
MAX_SCALE = 32
Scale = Annotated[
    int,
    Field(
        ge=1,
        le=MAX_SCALE,
        examples=[8],
        description="The factor by which PNG, WebP and GIF answers are enlarged, pixel by pixel; JSON and npy keep the "
        "model's size. The default is 1 for programs, and for browsers the factor that comes nearest to 512 pixels.",
    ),
]
NpyType = Annotated[
    Literal["uint8", "float32"],
    Field(description="The type of npy answers. float32 has the pixels in [0, 1], as the model gives them."),
]
PixelKind = Annotated[
    Literal["mean", "sample"],
    Field(
        description="mean gives the mean of the likelihood p(x given z). sample draws each pixel from it with the seed: 0 or "
        "1 from a Bernoulli likelihood; from a Gaussian one the mean plus noise, clipped to [0, 1]."
    ),
]
IncludeLatents = Annotated[
    frozenset[Literal["z"]],
    BeforeValidator(split, json_schema_input_type=words("z")),
    Field(description="z adds the latents to JSON answers."),
]


class NoParameters(BaseModel):
    """The parameters of an operation that has none. Base class of all parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    payload: ClassVar[tuple[str, ...]] = ()  # keys of a JSON body that are not parameters
    files: ClassVar[tuple[str, ...]] = ()  # fields of a form that are not parameters


class Parameters(NoParameters):
    """The parameters of every operation on a model."""

    model: str | None = Field(None, description="The name of a model, see /models. Without it, the default model answers.")
    timeout_ms: int | None = Field(
        None,
        gt=0,
        le=3_600_000,
        description="The deadline in milliseconds, counted from when the body is there; after it the status is 504. The "
        "header X-Timeout-Ms is the same.",
    )


class PictureParameters(Parameters):
    """The parameters of every operation that takes pictures."""

    background: Background | None = Field(
        None,
        description="Transparent pictures are put on black or white. auto draws a drawing of a single colour by its "
        "transparency, as the model's pictures are drawn. The default is that of the training, mostly auto.",
    )
    invert: Invert | None = Field(
        None,
        description="yes swaps dark and light after everything else. auto does so only for pictures whose border is light and "
        "should be dark, or the reverse. The default is that of the training, mostly no.",
    )


class EncodeParameters(PictureParameters):
    """Parameters of /encode."""

    payload: ClassVar[tuple[str, ...]] = ("images", "image")
    files: ClassVar[tuple[str, ...]] = ("image",)

    format: PosteriorFormat | None = Field(None, description="The format of the answer. It overrides the header Accept.")
    include: Annotated[
        frozenset[Literal["logvar", "kl", "kl_per_dim", "z"]],
        BeforeValidator(split, json_schema_input_type=words("logvar", "kl", "kl_per_dim", "z")),
        Field(description="Additional fields, separated by commas: logvar, kl, kl_per_dim, and z, a draw from the posterior."),
    ] = frozenset()
    seed: Seed | None = None


class DecodeParameters(Parameters):
    """Parameters of /decode."""

    payload: ClassVar[tuple[str, ...]] = ("z", "mu")

    format: PictureFormat | None = Field(
        None, description="The format of the answer. It overrides the header Accept.", examples=["png"]
    )
    dtype: NpyType = "uint8"
    layout: Layout = Field("grid", description="The layout of several pictures in one PNG.")
    scale: Scale | None = None
    pixels: PixelKind = "mean"
    seed: Seed | None = None


class SampleParameters(DecodeParameters):
    """Parameters of /sample."""

    payload: ClassVar[tuple[str, ...]] = ()

    n: int = Field(1, ge=1, description="The number of pictures.")
    temperature: float = Field(
        1.0, ge=0, le=100, description="The scale of the noise. 0 gives the mean of the prior, or of one of its components."
    )
    prior: Literal["standard", "vamp", "aggregate"] | None = Field(
        None,
        description="aggregate is the fitted prior, a Gaussian mixture; standard is N(0, I), and vamp a learnt VampPrior. "
        "The default is aggregate if the model has it, else the prior that it was trained with.",
    )
    label: Annotated[str, BeforeValidator(number_as_text, json_schema_input_type=str)] | None = Field(
        None,
        description="Draws pictures of one label, see labels in /models; only with the prior aggregate, fitted to labelled "
        "pictures.",
    )
    include: IncludeLatents = frozenset()


class ReconstructParameters(DecodeParameters, PictureParameters):
    """Parameters of /reconstruct."""

    payload: ClassVar[tuple[str, ...]] = ("images", "image")
    files: ClassVar[tuple[str, ...]] = ("image",)

    mode: Literal["mean", "sample"] = Field("mean", description="mean decodes mu; sample decodes a draw from the posterior.")
    compare: bool = Field(
        False, description="true adds the originals to a PNG, above the reconstructions, or to their left in a column."
    )


class InterpolateParameters(PictureParameters):
    """Parameters of /interpolate."""

    payload: ClassVar[tuple[str, ...]] = ("start", "end")
    files: ClassVar[tuple[str, ...]] = ("start", "end")

    format: FramesFormat | None = Field(
        None, description="The format of the answer. It overrides the header Accept.", examples=["gif"]
    )
    dtype: NpyType = "uint8"
    layout: Layout = Field("row", description="The layout of the frames in one PNG.")
    scale: Scale | None = None
    steps: int = Field(8, ge=2, description="The number of frames, both ends included.")
    method: Literal["linear", "slerp", "matched"] = Field(
        "linear", description="The kind of path. matched is a line with the variance of the prior."
    )
    include: IncludeLatents = frozenset()


# --- bodies and answers, for the OpenAPI page


def one_of(*names: str, alone: bool = False) -> ConfigDict:
    """Return the configuration of a body that must have exactly one of some fields; their defaults are only for Python.

    `alone`: there are no other fields; otherwise there are two names. Generators of clients do not understand `oneOf` here.
    """

    def require(schema: dict[str, Any]) -> None:
        for name in names:
            del schema["properties"][name]["default"]
        if alone:
            schema |= {"minProperties": 1, "maxProperties": 1, "additionalProperties": False}
        else:
            first, second = ({"required": [name]} for name in names)
            schema |= {"if": first, "then": {"not": second}, "else": second}

    return ConfigDict(json_schema_extra=require)


Number = Annotated[float, Field(ge=-MAX_LATENT, le=MAX_LATENT)]


class Images(BaseModel):
    """Pictures as base64 or data URLs, of any size, in any supported format."""

    model_config = one_of("images", "image")

    images: list[str] = Field([], min_length=1)
    image: str = Field("", description="One picture, the same as images with one element.")


class Latents(BaseModel):
    """Latents, one per row."""

    model_config = one_of("z", "mu")

    z: list[list[Number]] = Field([], min_length=1, description="Rows of latent_dim numbers each.")
    mu: list[list[Number]] = Field([], min_length=1, description="The same as z, under the name that /encode gives it.")


class End(BaseModel):
    """One end of a path: a picture or a latent."""

    model_config = one_of("image", "z", "mu", alone=True)

    image: str = Field("", description="A picture as base64 or data URL.")
    z: list[Number] = Field([], description="A latent of latent_dim numbers.")
    mu: list[Number] = Field([], description="The same as z.")


class Ends(BaseModel):
    """The two ends of a path."""

    start: End
    end: End


class WarningInfo(BaseModel):
    """What is probably wrong with a picture that was encoded, or with a query that was answered, all the same."""

    model_config = ConfigDict(title="Warning")

    item: int = Field(description="The index of the picture or the query, counted from 0.")
    code: str = Field(description="One of blank, clipped, low_range and unusual; in a search also no_sigma.")
    detail: str = Field(description="The message says what was found, and what to try.")


WarningList = Annotated[
    list[WarningInfo] | None, Field(description="What is probably wrong with the pictures. It is left out if nothing is.")
]


class Posterior(BaseModel):
    """The posterior q(z given x) of each picture. Row i belongs to picture i."""

    model: str
    mu: list[list[float]] = Field(description="The mean of each latent dimension: the embedding of the picture.")
    sigma: list[list[float]] = Field(description="The standard deviation of each latent dimension.")
    logvar: list[list[float]] | None = Field(None, description="The logarithm of sigma².")
    kl: list[float] | None = Field(None, description="KL(q(z given x) || N(0, I)) in nats.")
    kl_per_dim: list[list[float]] | None = Field(None, description="The share of each latent dimension in kl.")
    z: list[list[float]] | None = Field(None, description="A draw from each posterior.")
    seed: int | None = Field(None, description="The seed of z.")
    warnings: WarningList = None


class PicturesAnswer(BaseModel):
    """Pictures as base64 PNG."""

    model_config = ConfigDict(title="Pictures")

    model: str
    images: list[str]
    shape: list[int] = Field(description="Height, width and channels.")
    z: list[list[float]] | None = Field(None, description="The latents of the pictures.")
    seed: int | None = Field(None, description="The seed of the latents and of the pixels, where one of them was drawn.")
    prior: str | None = Field(None, description="The prior that the latents were drawn from.")
    label: str | None = Field(None, description="The label that the latents were drawn for, if one was asked for.")
    warnings: WarningList = None


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
