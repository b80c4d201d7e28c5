"""Content negotiation: the format of an answer, from `format=` or the Accept header."""

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

# what programs do not ask for, and browsers do, in the address line and for <img>
LOOKING = ("text/html", "image/*", "image/avif", "image/apng")


def answer_format(chosen: Format | None, accept: str, offered: tuple[Format, ...]) -> Format:
    """The answer's format: what `format=` says, else the best of `Accept`, else JSON.

    A browser asks for text/html, image/* or any of many image types, and means a picture to look at: PNG where there is one.
    """
    if chosen is not None:
        return chosen
    if not accept or accept == "*/*":
        return "json"
    qualities: dict[str, float] = {}
    for entry in accept.lower().split(","):
        name, *options = (word.strip() for word in entry.split(";"))
        quality = next((word[2:] for word in options if word.startswith("q=")), "1")
        try:
            qualities[name] = float(quality)
        except ValueError:
            qualities[name] = 0.0
    wanted = {form: qualities.get(MEDIA_TYPES[form], 0.0) for form in offered}
    best = max(offered, key=lambda form: wanted[form])  # the first of equals
    looking = max(qualities.get(name, 0.0) for name in LOOKING)
    if "png" in offered and looking > 0 and looking >= wanted[best]:
        return "png"
    return best if wanted[best] > 0 else "json"
