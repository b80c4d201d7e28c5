"""Parameters of the operations of inference. Knows nothing about how they are served, nor of bodies and answers."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from models.preprocess import Background, Invert
from service.latents.noise import MAX_SEED
from service.rest.bandwidth_schema import AnyBandwidth
from service.rest.data_keys import DATA_KEYS, FILES
from service.rest.label_schema import TOLD, Labels


def split(value: object) -> object:
    """Return a set of words, both for the string "kl,z" and for the list ["kl", "z"]."""
    return frozenset(v.strip(" ") for v in value.split(",") if v.strip(" ")) if isinstance(value, str) else _as_set(value)


def _as_set(value: object) -> object:
    return frozenset(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


def words(*known: str) -> Any:
    """Return the type of a parameter that is a set of known words: a string with commas, or in JSON also a list."""
    word = f" *({'|'.join(known)})? *"
    return Annotated[str, Field(pattern=f"^{word}(,{word})*$")] | list[Literal[known]]  # type: ignore[valid-type]


# Two dimensions as text. Which there are depends on the model: see `two_dims` in parameters.py.
TwoDims = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^(0|[1-9][0-9]{0,5}),(0|[1-9][0-9]{0,5})$"})]
Seed = Annotated[
    int,
    Field(
        ge=0, le=MAX_SEED, description="The seed of the noise: the same one gives the same answer. Without it, it is random."
    ),
]
PosteriorFormat = Literal["json", "npy"]
DataFormat = Literal["json", "npy", "png", "csv", "svg", "txt"]
FramesFormat = Literal["json", "npy", "png", "webp", "gif", "csv", "svg", "txt"]
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
View = Annotated[
    Literal["picture"] | None,
    Field(examples=["picture"], description="picture answers pictures of drawings, texts and rows, as of pictures."),
]
PixelKind = Annotated[
    Literal["mean", "sample"],
    Field(
        description="mean gives the mean of the likelihood p(x given z). sample draws each pixel from it with the seed: 0 or "
        "1 from a Bernoulli likelihood, a value between 0 and 1 from a continuous Bernoulli, and from a Gaussian the mean "
        "plus noise, clipped to [0, 1]."
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
    instead_of_files: ClassVar[str] = "send JSON"  # what to do where a form cannot have any


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


class LabelParameters(Parameters):
    """The parameters of every operation that encodes or decodes."""

    label: Labels | None = Field(None, description=TOLD)


class PictureParameters(LabelParameters):
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


Temperature = Annotated[
    float | None,
    Field(
        ge=0,
        le=100,
        description="Only of drawings and texts: how freely each step is drawn, with the seed. 0 takes the likeliest one. The "
        "default is 0, and 0.7 for /sample and /complete.",
    ),
]
MaxLength = Annotated[
    int | None,
    Field(
        ge=1,
        description="Only of drawings and texts: the largest number of points or characters. The default is the model's.",
    ),
]


class PointParameters(PictureParameters):
    """The parameters of every operation that takes points: pictures, latents, posteriors, or ids of a collection's items."""

    collection: str | None = Field(
        None,
        description="The collection of the points that are ids of items. Its model answers, and a key needs the scope store.",
    )


class EncodeParameters(PictureParameters):
    """Parameters of /encode."""

    payload: ClassVar[tuple[str, ...]] = DATA_KEYS
    files: ClassVar[tuple[str, ...]] = FILES

    format: PosteriorFormat | None = Field(None, description="The format of the answer. It overrides the header Accept.")
    include: Annotated[
        frozenset[Literal["logvar", "kl", "kl_per_dim", "z"]],
        BeforeValidator(split, json_schema_input_type=words("logvar", "kl", "kl_per_dim", "z")),
        Field(description="Additional fields, separated by commas: logvar, kl, kl_per_dim, and z, a draw from the posterior."),
    ] = frozenset()
    seed: Seed | None = None
    shaped: bool = Field(
        False,
        description="Only of models whose latent_shape has several numbers, (C, h, w), and for npy: true gives an array of "
        "the shape (2, N, C, h, w). JSON has flat latents, and latent_shape beside them.",
    )


class DecodeParameters(LabelParameters):
    """Parameters of /decode."""

    payload: ClassVar[tuple[str, ...]] = ("z", "mu")
    instead_of_files: ClassVar[str] = "send JSON, or npy as the body"

    format: DataFormat | None = Field(
        None, description="The format of the answer. It overrides the header Accept.", examples=["png"]
    )
    dtype: NpyType = "uint8"
    layout: Layout = Field("grid", description="The layout of several pictures in one PNG.")
    scale: Scale | None = None
    view: View = None
    pixels: PixelKind = "mean"
    seed: Seed | None = None
    temperature: Temperature = None
    max_length: MaxLength = None


class SampleParameters(DecodeParameters):
    """Parameters of /sample."""

    payload: ClassVar[tuple[str, ...]] = ()
    instead_of_files: ClassVar[str] = "send the parameters in the query or as JSON"

    n: int = Field(1, ge=1, description="The number of pictures.")
    temperature: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Of pictures and rows, the scale of the noise of latents (default 1): 0 gives the mean of the prior, or "
        "of one of its components. Of drawings and texts, how freely steps are drawn (default 0.7): 0 takes the likeliest.",
    )
    prior: Literal["standard", "vamp", "aggregate"] | None = Field(
        None,
        description="aggregate is the fitted prior, a Gaussian mixture; standard is N(0, I), and vamp a learnt VampPrior. "
        "The default is the fitted prior if the model has one, else its trained prior.",
    )
    label: Labels | None = Field(
        None,
        description="Draws pictures of one label, see labels in /models: with the fitted prior (prior=aggregate) of labelled "
        "pictures, or a conditional model, which also takes a JSON list with one for each picture. Without it, a conditional "
        "model draws labels with the frequencies of its training.",
    )
    include: IncludeLatents = frozenset()


class ReconstructParameters(DecodeParameters, PictureParameters):
    """Parameters of /reconstruct."""

    payload: ClassVar[tuple[str, ...]] = DATA_KEYS
    files: ClassVar[tuple[str, ...]] = FILES

    mode: Literal["mean", "sample"] = Field("mean", description="mean decodes mu; sample decodes a draw from the posterior.")
    cells: Literal["missing", "all"] = Field(
        "missing",
        description="Only of table rows: missing fills the cells that are missing, and the others stay as they were sent; all "
        "answers the reconstruction of every cell.",
    )
    compare: bool = Field(
        False,
        description="true adds the originals as the model sees them: in a PNG above the reconstructions, or to their left in "
        "a column; in JSON as originals.",
    )


class InterpolateParameters(PointParameters):
    """Parameters of /interpolate."""

    payload: ClassVar[tuple[str, ...]] = ("start", "end", "points", "corners")
    files: ClassVar[tuple[str, ...]] = ("start", "end")

    format: FramesFormat | None = Field(
        None, description="The format of the answer. It overrides the header Accept.", examples=["gif"]
    )
    dtype: NpyType = "uint8"
    layout: Layout = Field("row", description="The layout of the frames in one PNG. With corners, it is grid unless stated.")
    scale: Scale | None = None
    view: View = None
    steps: int = Field(
        8, ge=2, description="The number of frames, both ends included; with corners, of each row and of each column."
    )
    method: Literal["linear", "slerp", "matched", "graph"] = Field(
        "linear",
        description="The kind of path. The default is linear, and slerp for drawings and texts. matched is a line with the "
        "variance of the prior. graph goes from item to item of the collection, by the shortest way in the graph of nearest "
        "neighbours.",
    )
    temperature: Temperature = None
    max_length: MaxLength = None
    seed: Seed | None = None
    density_weight: float = Field(
        0.5,
        ge=0,
        le=1,
        description="With method=graph, an edge costs length^(1 + 2 density_weight): 0 gives the shortest path, more makes it "
        "keep to where items are dense. At 0.5 the cost is the symmetric KL of the decoded distributions.",
    )
    bandwidth: AnyBandwidth = Field(
        None,
        description="The h in N(mu, sigma^2 + h^2), the density of each item in log_density. The default is 0, the posteriors "
        "as they are, or auto if an item has no sigma.",
    )
    include: Annotated[
        frozenset[Literal["z", "log_density"]],
        BeforeValidator(split, json_schema_input_type=words("z", "log_density")),
        Field(
            description="Additional fields of JSON answers: z, the latents; log_density, that of the collection's items at "
            "each frame, with the length of the path. method=graph always has the latter."
        ),
    ] = frozenset()


# --- bodies and answers, for the OpenAPI page
