"""Content negotiation: choose the format of an answer by `format=` or the Accept header."""

from collections.abc import Mapping
from typing import Literal

from service.http.header_values import qualities

Format = Literal["json", "npy", "png", "webp", "gif", "csv", "svg", "txt"]

MEDIA_TYPES: Mapping[Format, str] = {
    "json": "application/json",
    "npy": "application/x-npy",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "csv": "text/csv; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}

# How an Accept header names them.
NAMES: Mapping[Format, str] = {form: media_type.partition(";")[0] for form, media_type in MEDIA_TYPES.items()}

# What browsers accept for the address bar, and for <img> if they accept anything else as well.
PAGE, ANYTHING, BROWSER_IMAGES = "text/html", "*/*", ("image/*", "image/avif", "image/apng")


def answer_format(chosen: Format | None, accept: str, offered: tuple[Format, ...]) -> Format:
    """Return the format of an answer: `format=` if stated, else the best match of `Accept`, else JSON.

    A browser gets PNG if that is offered. So does a program that wants an image type that is not offered.
    """
    if chosen is not None:
        return chosen
    if not accept or accept == ANYTHING:
        return "json"
    found = qualities(accept)
    wanted = {form: found.get(NAMES[form], 0.0) for form in offered}
    best = max(offered, key=lambda form: wanted[form])  # If several are equal, the first wins.
    if "png" in offered and found.get(MEDIA_TYPES["png"], 1.0) > 0:
        browser = _browser_quality(found)
        image = max((quality for name, quality in found.items() if name.startswith("image/")), default=0.0)
        if (browser > 0 and browser >= wanted[best]) or image > wanted[best]:
            return "png"
    return best if wanted[best] > 0 else "json"


def is_browser(accept: str) -> bool:
    """Return whether an Accept header is that of a browser."""
    return _browser_quality(qualities(accept)) > 0


def _browser_quality(found: Mapping[str, float]) -> float:
    """Return the quality of what only browsers accept, 0 for programs."""
    images = BROWSER_IMAGES if found.get(ANYTHING, 0.0) > 0 else ()
    return max(found.get(name, 0.0) for name in (PAGE, *images))
