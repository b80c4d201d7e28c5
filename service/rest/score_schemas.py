"""Parameters and answers of /score and of the map of a model's training latents, for the OpenAPI page."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field

from service.latents.noise import MAX_SEED
from service.rest.body_schemas import PlaneInfo, WarningList
from service.rest.data_keys import DATA_KEYS, FILES
from service.rest.schemas import Layout, NoParameters, PictureParameters, PosteriorFormat, Scale, TwoDims, split, words

ScoreName = Literal["knn", "density", "reconstruction", "unexplained", "deviance", "elbo", "iwae", "regret", "surprise", "nll"]


class ScoreParameters(PictureParameters):
    """Parameters of /score."""

    payload: ClassVar[tuple[str, ...]] = DATA_KEYS
    files: ClassVar[tuple[str, ...]] = FILES

    format: Literal["json", "png"] | None = Field(
        None,
        description="The format of the answer. It overrides the header Accept. A PNG has each picture above its error map, or "
        "to the left of it in a column: how far each pixel is from the reconstruction, black where it is the same.",
    )
    scores: Annotated[
        frozenset[ScoreName],
        BeforeValidator(
            split,
            json_schema_input_type=words(
                "knn", "density", "reconstruction", "unexplained", "deviance", "elbo", "iwae", "regret", "surprise", "nll"
            ),
        ),
        Field(
            description="The scores, separated by commas. knn is the distance to the 5th nearest training latent, density the "
            "negative log density of mu under the training posteriors, reconstruction the squared error, unexplained its "
            "share in the picture's variance, deviance the nats that the reconstruction leaves unexplained. elbo and iwae "
            "are lower bounds of the log likelihood. regret is how far the ELBO grows when the posterior is optimised for "
            "this picture. surprise, of table rows, is by how many nats the cells are less likely than the likeliest "
            "ones, given the other cells; nll, of rows, drawings and texts, is -log p(x given mu). The default is that of the "
            "model's calibration."
        ),
    ] = frozenset()
    samples: int | None = Field(
        None,
        ge=1,
        description="The number of draws from the posterior for elbo and iwae. The default is that of the calibration, else "
        "16. With another number these scores have no p-values.",
    )
    seed: int = Field(
        0,
        ge=0,
        le=MAX_SEED,
        description="The seed of the noise of elbo, iwae and regret. All pictures share its noise, so that the same picture "
        "always gets the same numbers.",
    )
    layout: Layout = Field("grid", description="The layout of several pictures in one PNG.")
    scale: Scale | None = None


class Score(BaseModel):
    """One score of each picture. Item i belongs to picture i."""

    value: list[float] = Field(description="Larger is more unusual, except for elbo and iwae.")
    p_value: list[float] | None = Field(
        description="The share of held-out pictures that are at least as unusual. null: this score is not calibrated."
    )
    unit: str = Field(description="The unit of the values.")
    ess: list[float] | None = Field(None, description="Only with iwae: its effective number of samples.")
    kind: list[Literal["bound", "likelihood"]] | None = Field(
        None,
        description="Only with iwae: likelihood if ess is at least 5, else bound: then a few draws carry the sum.",
    )
    columns: list[dict[str, float]] | None = Field(
        None, description="Only with surprise: what each column adds to it; its missing cells add 0."
    )
    largest: list[str] | None = Field(None, description="Only with surprise: the column that adds most, be it much or little.")
    samples: int | None = Field(None, description="Only with elbo and iwae: the number of samples.")
    seed: int | None = Field(None, description="Only with elbo, iwae and regret: the seed of their noise.")


class ScoresAnswer(BaseModel):
    """How unusual each picture is."""

    model: str
    calibrated: bool = Field(description="Whether the model has a calibration.")
    p_value: list[float] | None = Field(
        description="The p-value of the default scores, combined, of each picture: small is unusual. null unless the model "
        "has a calibration and all its default scores were asked for."
    )
    scores: dict[str, Score]
    note: str | None = Field(None, description="Only without a calibration: how to make one.")
    warnings: WarningList = None


class ModelMapParameters(NoParameters):
    """Parameters of the map of a model's training latents."""

    plane: Literal["pca", "dims"] | None = Field(
        None,
        description="pca is the plane of the two principal components of the training latents; dims is that of two dimensions "
        "of the latent space. The default is dims if two dimensions are given or there are just two, else pca.",
        examples=["dims"],
    )
    dims: TwoDims | None = Field(
        None,
        description="Two dimensions of the latent space, counted from 0, such as 0,1, which is the default of plane=dims.",
        examples=["0,1"],
    )
    format: PosteriorFormat | None = Field(
        None, description="The format of the answer. It overrides the header Accept. npy has the points, float32 (M, 2)."
    )


class ModelMapAnswer(BaseModel):
    """The training latents of a model's calibration in a plane. labels[i] is the label of points[i]."""

    model: str
    plane: PlaneInfo
    points: list[list[float]] = Field(description="(x, y) of each training latent.")
    labels: list[int] | None = Field(description="The place of each point's label in label_names; null without labels.")
    label_names: list[str]
    record: dict[str, Any] = Field(description="How the calibration was made, and how these latents were chosen.")
