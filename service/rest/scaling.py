"""Choose the factor, `scale`, by which the pictures of PNG, WebP and GIF answers are enlarged. Knows nothing of models."""

import math

from service.rest.arrangement import size_of
from service.rest.complete_schemas import CompleteParameters
from service.rest.model_schemas import ExampleParameters
from service.rest.negotiation import Format, is_browser
from service.rest.parameters import BadParameter
from service.rest.schemas import MAX_SCALE, DecodeParameters, InterpolateParameters
from service.rest.score_schemas import ScoreParameters

# The longest side of a picture that a browser gets is about so many pixels, unless the request says otherwise.
BROWSER_PIXELS = 512
# All frames of an enlarged answer together have at most so many pixels: 4096 x 4096. A PNG of them takes half a second.
MAX_PIXELS = 1 << 24
# An enlarged answer has no longer sides.
MAX_SIDE = 16_383
# The longest side that a file of a format can have. Those of PNG can be longer than any answer.
LONGEST_SIDES: dict[Format, int] = {"webp": 16_383, "gif": 65_535}


def choose_scale(
    parameters: CompleteParameters | DecodeParameters | InterpolateParameters | ScoreParameters | ExampleParameters,
    form: Format,
    accept: str,
    count: int,
    shape: tuple[int, int, int],
    compare: bool = False,
) -> int:
    """Return the factor for `count` pictures of a shape (H, W, C): `scale`, else 1 for programs and more for browsers.

    The factor is 1 for JSON and npy, whose pictures keep the model's size. `compare`: each picture stands beside its
    original. Raises BadParameter if the answer would have too many pixels, or sides that its format cannot have.
    """
    if form in ("json", "npy"):
        return 1
    height, width = size_of(count, shape[:2], parameters.layout, compare) if form == "png" else shape[:2]
    return fit_scale(parameters.scale, form, accept, (height, width), 1 if form == "png" else count, count)


def fit_scale(stated: int | None, form: Format, accept: str, size: tuple[int, int], frames: int, count: int) -> int:
    """Return the factor for files of so many frames of a size (H, W), which show `count` pictures; see `choose_scale`."""
    height, width = size
    if max(size) > (longest := LONGEST_SIDES.get(form, max(size))):
        raise BadParameter(
            f"format: the answer would have {height} x {width} pixels (height x width), and each side of a {form} file can "
            f"have at most {longest}; use format=png, or ask for smaller pictures"
        )
    # Without a scale, an answer is never refused for its pixels: those of pictures are bounded elsewhere.
    largest = max(1, min(MAX_SCALE, math.isqrt(MAX_PIXELS // (height * width * frames)), MAX_SIDE // max(height, width)))
    if stated is None:
        return min(largest, max(1, round(BROWSER_PIXELS / max(height, width)))) if is_browser(accept) else 1
    if stated > largest:
        raise BadParameter(
            f"scale: with scale={stated} the answer would be too large: it can have at most {MAX_PIXELS} pixels, "
            f"and {MAX_SIDE} on a side, so scale can be at most {largest} here; use that"
            + ", or ask for fewer pictures"
            * (count > 1)
        )
    return stated
