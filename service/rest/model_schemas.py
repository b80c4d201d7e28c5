"""Parameters and schemas of the answers about models and the service, for the OpenAPI page.

Knows nothing about how they are served.
"""

from typing import Any

from pydantic import BaseModel, Field

from service.rest.schemas import DataFormat, Layout, NoParameters, NpyType, Scale, View


class ExampleParameters(NoParameters):
    """Parameters of the example pictures of a model."""

    format: DataFormat | None = Field(
        None, description="The format of the answer. It overrides the header Accept.", examples=["png"]
    )
    dtype: NpyType = "uint8"
    layout: Layout = Field("grid", description="The layout of several pictures in one PNG.")
    scale: Scale | None = None
    view: View = None


class ModelChange(BaseModel):
    """The result of loading or unloading a model."""

    model: str
    digest: str | None = Field(description="The digest of the model that is loaded now, null if it was unloaded.")
    previous: str | None = Field(description="The digest of the model that was loaded before, null if there was none.")
    seconds: float = Field(description="How many seconds it took.")


class SearchInfo(BaseModel):
    """The distance by which new collections of a model are searched."""

    metric: str
    sigma_weight: float | None = Field(description="The weight of sigma in w2; null for other metrics.")
    chosen_by: str = Field(description="How it was chosen; empty for the default, l2.")


class CalibrationInfo(BaseModel):
    """What is known of pictures that are usual for a model."""

    scores: list[str] = Field(description="The scores that have p-values.")
    latents: int = Field(description="The number of training latents that /score compares with.")
    record: dict[str, Any] = Field(description="How it was made: counts, seed, split, and how the scores were chosen.")


class ModelInfo(BaseModel):
    """A loaded model."""

    name: str
    default: bool
    digest: str
    latent_dim: int
    latent_shape: list[int] = Field(
        description="The shape of a latent. With more than one number, (C, h, w), pictures and latents may have other sizes."
    )
    kind: str = Field(description="What the model is about: picture, table, strokes or text.")
    takes: dict[str, Any] = Field(description="The keys of data in JSON, formats of answers, and what fits, such as columns.")
    shape: list[int] = Field(description="Height, width and channels of pictures; the shape of a row of other kinds.")
    view: list[int] = Field(description="Height, width and channels of the pictures with view=picture.")
    search: SearchInfo
    priors: list[str] = Field(description="The priors of /sample, the default first.")
    labels: list[str] = Field(
        description="The labels that /sample can draw, and that a conditional model can be told; empty if there are none."
    )
    condition: str | None = Field(description="What a conditional model must be told about each item; null for others.")
    calibration: CalibrationInfo | None = Field(description="null if the model has none.")
    scores: list[str] = Field(description="The scores of /score by default.")
    config: dict[str, Any]
    preprocessing: dict[str, Any]
    data: dict[str, Any]
    metrics: dict[str, Any]


class ModelList(BaseModel):
    """All loaded models, in the order of their names."""

    models: list[ModelInfo]


class Health(BaseModel):
    """The state of the service."""

    status: str
