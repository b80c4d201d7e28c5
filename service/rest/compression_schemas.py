"""Parameters of /compress and /decompress. Knows nothing about how they are served."""

from typing import ClassVar

from pydantic import Field

from service.rest.data_keys import DATA_KEYS, FILES
from service.rest.schemas import DecodeParameters, IncludeLatents, PictureParameters


class CompressParameters(PictureParameters):
    """Parameters of /compress."""

    payload: ClassVar[tuple[str, ...]] = DATA_KEYS
    files: ClassVar[tuple[str, ...]] = FILES

    step: float = Field(
        1.0,
        ge=0.01,
        le=100,
        description="The width of the bins to which latents are rounded, in sigmas of the posteriors. A larger one gives a "
        "smaller file and pictures that differ more.",
    )
    sharpen: float = Field(
        0.25,
        ge=0,
        le=1,
        description="How far the prior's pull towards 0 is taken back from the latents, dimension by dimension. 0 keeps them "
        "as /encode gives them; the default gives pictures that are nearer to the originals.",
    )


class DecompressParameters(DecodeParameters):
    """Parameters of /decompress."""

    payload: ClassVar[tuple[str, ...]] = ()

    include: IncludeLatents = frozenset()
