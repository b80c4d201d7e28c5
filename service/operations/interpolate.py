"""Two ends, each a picture or a latent -> frames of a path between them. Knows nothing of HTTP."""

from dataclasses import dataclass

from service.engine.errors import TooLarge
from service.formats.pictures import Pictures
from service.inference.pipeline import Inference, Pipeline
from service.inference.served_model import Floats
from service.latents import interpolation as paths

# one picture, or one latent (1, D)
End = Pictures | Floats


@dataclass(frozen=True, slots=True)
class Frames:
    """A path in latent space and its pictures, both ends included."""

    z: Floats  # (steps, D)
    pixels: Floats  # (steps, H, W, C)


async def interpolate(
    pipeline: Pipeline, inference: Inference, start: End, end: End, steps: int, method: str = "linear"
) -> Frames:
    """Return the frames of a path by one of `service.latents.interpolation.METHODS`; a picture's end is its posterior's mu.

    Raises BadInput, BatcherError.
    """
    if steps > pipeline.max_items:  # before there are so many latents
        raise TooLarge(steps, pipeline.max_items)
    z = paths.path(*await _means(pipeline, inference, start, end), steps, method)
    return Frames(z, await pipeline.through(inference.model.decode, z, inference))


async def _means(pipeline: Pipeline, inference: Inference, *ends: End) -> tuple[Floats, Floats]:
    """Return the latents of both ends, (D,) each; those that are pictures share one block."""
    encoded = [picture for end in ends if isinstance(end, Pictures) for picture in end.encoded]
    mu = iter(await pipeline.encode(Pictures(encoded), inference) if encoded else ())
    if inference.warnings.found:  # The start is item 0, the end is item 1.
        inference.warnings.renumbered([i for i, end in enumerate(ends) if isinstance(end, Pictures)])
    start, end = (next(mu)[0] if isinstance(end, Pictures) else end[0] for end in ends)
    return start, end
