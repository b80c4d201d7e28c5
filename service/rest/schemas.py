"""Parameters of the operations, and the shapes of bodies and answers for the OpenAPI page.

Knows nothing of how they are served.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.latents.noise import MAX_SEED


def split(value: object) -> object:
    """ "kl,z" and ["kl", "z"] are the same."""
    return frozenset(v.strip(" ") for v in value.split(",") if v.strip(" ")) if isinstance(value, str) else _as_set(value)


def _as_set(value: object) -> object:
    return frozenset(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


def words(*known: str) -> Any:
    """What the page says of a parameter that is some of the known words: a string with commas, or in JSON a list too."""
    word = f" *({'|'.join(known)})? *"
    return Annotated[str, Field(pattern=f"^{word}(,{word})*$")] | list[Literal[known]]  # type: ignore[valid-type]


Seed = Annotated[int, Field(ge=0, le=MAX_SEED, description="noise; the same seed gives the same answer, drawn when missing")]
PosteriorFormat = Literal["json", "npy"]
PictureFormat = Literal["json", "npy", "png"]
FramesFormat = Literal["json", "npy", "png", "webp", "gif"]
Layout = Literal["grid", "row", "column"]


class NoParameters(BaseModel):
    """What an operation without parameters understands."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    payload: ClassVar[tuple[str, ...]] = ()  # keys of a JSON body that are no parameters
    files: ClassVar[tuple[str, ...]] = ()  # fields of a form that are none


class Parameters(NoParameters):
    """What every operation on a model understands."""

    model: str | None = Field(None, description="name of the model; see /models")
    timeout_ms: int | None = Field(
        None, gt=0, le=3_600_000, description="give up (504) when the rows still wait after this time; also X-Timeout-Ms"
    )


class EncodeParameters(Parameters):
    """/encode"""

    payload: ClassVar[tuple[str, ...]] = ("images",)
    files: ClassVar[tuple[str, ...]] = ("image",)

    format: PosteriorFormat | None = Field(None, description="of the answer; wins over Accept")
    include: Annotated[
        frozenset[Literal["logvar", "kl", "kl_per_dim", "z"]],
        BeforeValidator(split, json_schema_input_type=words("logvar", "kl", "kl_per_dim", "z")),
        Field(description="more fields, separated by commas: logvar, kl, kl_per_dim, z (a seeded draw from the posterior)"),
    ] = frozenset()
    seed: Seed | None = None


class DecodeParameters(Parameters):
    """/decode"""

    payload: ClassVar[tuple[str, ...]] = ("z",)

    format: PictureFormat | None = Field(None, description="of the answer; wins over Accept")
    dtype: Literal["uint8", "float32"] = Field("uint8", description="of npy answers; float32 is the likelihood's mean")
    layout: Layout = Field("grid", description="of several pictures in one PNG")


class SampleParameters(DecodeParameters):
    """/sample"""

    payload: ClassVar[tuple[str, ...]] = ()

    n: int = Field(1, ge=1, description="how many")
    seed: Seed | None = None
    temperature: float = Field(1.0, ge=0, le=100, description="width of the draws; 0 gives the prior's mean, or a component's")
    prior: Literal["standard", "vamp", "aggregate"] | None = Field(
        None,
        description="N(0, I), a learnt VampPrior, the mixture fitted to the aggregate posterior; the model's own by default",
    )
    include: Annotated[
        frozenset[Literal["z"]],
        BeforeValidator(split, json_schema_input_type=words("z")),
        Field(description="z: the latents too"),
    ] = frozenset()


class ReconstructParameters(DecodeParameters):
    """/reconstruct"""

    payload: ClassVar[tuple[str, ...]] = ("images",)
    files: ClassVar[tuple[str, ...]] = ("image",)

    mode: Literal["mean", "sample"] = Field("mean", description="decode mu, or a seeded draw from the posterior")
    seed: Seed | None = None
    compare: bool = Field(False, description="PNG: originals in the row above (column before) their reconstructions")


class InterpolateParameters(Parameters):
    """/interpolate"""

    payload: ClassVar[tuple[str, ...]] = ("start", "end")
    files: ClassVar[tuple[str, ...]] = ("start", "end")

    format: FramesFormat | None = Field(None, description="of the answer; wins over Accept")
    dtype: Literal["uint8", "float32"] = Field("uint8", description="of npy answers; float32 is the likelihood's mean")
    layout: Layout = Field("row", description="of the frames in one PNG")
    steps: int = Field(8, ge=2, description="frames, both ends included")
    method: Literal["linear", "slerp", "matched"] = Field("linear", description="the path from start to end")
    include: Annotated[
        frozenset[Literal["z"]],
        BeforeValidator(split, json_schema_input_type=words("z")),
        Field(description="z: the latents too"),
    ] = frozenset()


# --- bodies and answers, for the OpenAPI page


class Images(BaseModel):
    """Pictures as base64 or data URLs, of any size and of any type that is read."""

    images: list[str] = Field(min_length=1)


class Latents(BaseModel):
    """Latents, one a row."""

    z: list[list[float]] = Field(min_length=1, description="of each row as many numbers as the model's latent_dim")


class End(BaseModel):
    """One end of a path: a picture or a latent."""

    image: str | None = None
    z: list[float] | None = None


class Posterior(BaseModel):
    """q(z given x) of each picture; row i belongs to picture i."""

    model: str
    mu: list[list[float]]
    sigma: list[list[float]]
    logvar: list[list[float]] | None = None
    kl: list[float] | None = Field(None, description="KL(q(z given x) || p(z)), nats")
    kl_per_dim: list[list[float]] | None = None
    z: list[list[float]] | None = None
    seed: int | None = None


class PicturesAnswer(BaseModel):
    """Pictures as base64 PNG."""

    model_config = ConfigDict(title="Pictures")

    model: str
    images: list[str]
    shape: list[int] = Field(description="height, width, channels")
    z: list[list[float]] | None = None
    seed: int | None = None
    prior: str | None = None


class Problem(BaseModel):
    """RFC 9457: what is wrong, and what would be right."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    error: str
    request_id: str
    item: int | None = Field(None, description="which picture or latent is at fault, counted from 0")


class ModelChange(BaseModel):
    """What became of a model."""

    model: str
    digest: str | None = Field(description="of what is loaded now; null when nothing is")
    previous: str | None = Field(description="of what was loaded before")
    seconds: float = Field(description="how long it took")


class ModelInfo(BaseModel):
    """A loaded model."""

    name: str
    default: bool
    digest: str
    latent_dim: int
    shape: list[int] = Field(description="height, width, channels")
    priors: list[str] = Field(description="what /sample can draw from, the model's own first")
    config: dict[str, Any]
    preprocessing: dict[str, Any]
    data: dict[str, Any]
    metrics: dict[str, Any]
