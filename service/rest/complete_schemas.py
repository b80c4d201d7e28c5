"""Parameters of /complete, for the OpenAPI page. Its bodies and answers are among those of inference."""

from typing import ClassVar

from pydantic import Field

from service.rest.data_keys import DATA_KEYS, FILES
from service.rest.schemas import DataFormat, Layout, MaxLength, NpyType, Parameters, Scale, Seed, Temperature, View


class CompleteParameters(Parameters):
    """Parameters of /complete."""

    payload: ClassVar[tuple[str, ...]] = DATA_KEYS
    files: ClassVar[tuple[str, ...]] = FILES

    n: int = Field(1, ge=1, description="The number of continuations of each beginning.")
    seed: Seed | None = None
    temperature: Temperature = None
    max_length: MaxLength = None
    format: DataFormat | None = Field(
        None, description="The format of the answer. It overrides the header Accept.", examples=["json"]
    )
    dtype: NpyType = "uint8"
    layout: Layout = Field("grid", description="The layout of several pictures in one PNG.")
    scale: Scale | None = None
    view: View = None
