"""Content negotiation: choose the format of an answer by `format=` or the Accept header."""

from collections.abc import Mapping
from typing import Literal

Format = Literal["json", "npy", "png", "webp", "gif"]

MEDIA_TYPES: Mapping[Format, str] = {
    "json": "application/json",
    "npy": "application/x-npy",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
}

# Browsers accept these, for the address bar and for <img>, but programs do not ask for them.
BROWSER_TYPES = ("text/html", "image/*", "image/avif", "image/apng")


def answer_format(chosen: Format | None, accept: str, offered: tuple[Format, ...]) -> Format:
    """Return the format of an answer: `format=` if stated, else the best match of `Accept`, else JSON.

    A browser accepts text/html, image/* and many image types. It gets PNG if that is offered.
    """
    if chosen is not None:
        return chosen
    if not accept or accept == "*/*":
        return "json"
    qualities = _qualities(accept)
    wanted = {form: qualities.get(MEDIA_TYPES[form], 0.0) for form in offered}
    best = max(offered, key=lambda form: wanted[form])  # If several are equal, the first wins.
    browser = max(qualities.get(name, 0.0) for name in BROWSER_TYPES)
    if "png" in offered and browser > 0 and browser >= wanted[best]:
        return "png"
    return best if wanted[best] > 0 else "json"


def is_browser(accept: str) -> bool:
    """Return whether an Accept header is that of a browser."""
    qualities = _qualities(accept)
    return any(qualities.get(name, 0.0) > 0 for name in BROWSER_TYPES)


def _qualities(accept: str) -> dict[str, float]:
    """Return the quality of each media type in an Accept header."""
    qualities: dict[str, float] = {}
    for entry in accept.lower().split(","):
        name, *options = (word.strip() for word in entry.split(";"))
        quality = next((word[2:] for word in options if word.startswith("q=")), "1")
        try:
            qualities[name] = float(quality)
        except ValueError:
            qualities[name] = 0.0
    return qualities
