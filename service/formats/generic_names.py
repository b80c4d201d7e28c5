"""Recognizes file names that programs make up for a picture without a name: no two pictures may be told apart by them.

A name is generic if, without its ending and without the number of a copy such as " (2)", it is one of NAMES, or what
Python or mktemp call temporary files. A name with a number, such as IMG_4711.jpg, is not. Knows nothing of forms or stores.
"""

import re

NAMES = frozenset(
    # Browsers (FormData), iOS and Android, mail programs, the clipboard, and libraries for HTTP.
    (
        "",
        "-",
        "blob",
        "camera",
        "canvas",
        "capture",
        "clipboard",
        "download",
        "file",
        "image",
        "image0",
        "img",
        "null",
        "pasted",
        "pasted graphic",
        "pasted image",
        "photo",
        "pic",
        "picture",
        "screenshot",
        "temp",
        "tmp",
        "undefined",
        "unknown",
        "unnamed",
        "untitled",
        "upload",
    )
)
ENDING = re.compile(r"\.[A-Za-z0-9]{1,5}$")
COPY = re.compile(r"[ _-]*\(\d{1,4}\)$")
TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}|tmp\.[A-Za-z0-9]{6,12}")


def is_generic(name: str) -> bool:
    """Return whether a file name says nothing of the file."""
    stem = ENDING.sub("", name.strip())
    if TEMPORARY.fullmatch(name.strip()) or TEMPORARY.fullmatch(stem):
        return True
    return COPY.sub("", stem).strip().lower().replace("_", " ") in NAMES
