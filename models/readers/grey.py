"""Recognise pictures that are stored in colour but have grey pixels only. Knows nothing of files."""

from dataclasses import replace

from PIL import Image

from models.preprocess import Preprocessing, preprocess

GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I", "F")
# Lossy formats keep colours apart from brightness, so that equal channels may differ a little after decoding.
TOLERANCE = {"JPEG": 4, "WEBP": 4}


class HasColorError(Exception):
    """A picture that was expected to be grey has colours."""


def check_grey(image: Image.Image, spec: Preprocessing) -> None:
    """Raise HasColorError if a decoded picture, brought to the size of `spec`, has colours."""
    if image.mode not in GREY_MODES:
        pixels = preprocess(image, replace(spec, channels=3))
        if (pixels.max(0) - pixels.min(0)).max() > TOLERANCE.get(image.format or "", 0):
            raise HasColorError


def grey_line(count: int) -> str:
    """Return what is said about pictures that are stored in colour but read as grey."""
    if count == 1:
        return "1 picture is stored in colour but has grey pixels only; it is read as grey. --channels 3 keeps it in colour"
    are = f"{count:,} pictures are stored in colour but have grey pixels only; they are read as grey."
    return f"{are} --channels 3 keeps them in colour"
