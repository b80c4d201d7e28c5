"""Write a card without losing what people wrote: into README.md, or beside it if README.md is not this program's own.

A card ends with a comment that has a digest of its text. Knows nothing of what a card says.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from models.files.atomic_file import write_atomically
from models.files.regular_file import TooLarge, read_regular

CARD, BESIDE = "README.md", "README.vae.md"
MAX_BYTES = 1 << 22  # of a card; longer files are somebody else's
# The lines of each key of a front matter, by the key; lines before the first key have the key "".
FrontMatter = Mapping[str, Sequence[str]]
_MARK = re.compile(r"<!-- models\.evaluate wrote this card\. .* SHA-256 ([0-9a-f]{64}): .* -->\n*\Z")
_FRONT = re.compile(r"---\n(.*?)^---\n", re.DOTALL | re.MULTILINE)
_KEY = re.compile(r"([\w.-]+)\s*:(\s|$)")


def marked(text: str) -> str:
    """Return a card with the comment at its end by which it is known again."""
    return (
        f"{text}\n<!-- models.evaluate wrote this card. Its text below the front matter has the SHA-256 {_digest(text)}: as "
        "long as that is so, the card is written anew; once you change the text, it stays as it is. -->\n"
    )


def is_own(text: str) -> bool:
    """Return whether this program wrote the text, and nobody changed it since, apart from the front matter."""
    found = _MARK.search(text)
    return found is not None and found[1] == _digest(text[: found.start()].removesuffix("\n"))


def front_matter_of(text: str) -> dict[str, list[str]]:
    """Return the front matter of a card, {} if there is none."""
    found, key = _FRONT.match(text), ""
    blocks: dict[str, list[str]] = {}
    for line in found[1].splitlines() if found else []:
        if start := _KEY.match(line):
            key = start[1]
        blocks.setdefault(key, []).append(line)
    return blocks


def write_card(directory: Path, text: Callable[[FrontMatter], str], overwrite: bool = False) -> str:
    """Write a card, and return a sentence about it. Raises OSError.

    `text` makes the card for the front matter that README.md has now. A README.md that this program did not write, or that was
    changed since, is left as it is unless `overwrite`: the card then goes beside it.
    """
    before = _read(directory / CARD)
    card = text(front_matter_of(before or "")).encode()
    stays = f"{directory / CARD} has a text that models.evaluate did not write or that was changed since, and stays as it is"
    asks = f"--overwrite-card writes the card into {CARD}"
    if overwrite or before is None or is_own(before):
        write_atomically(directory / CARD, card, durable=False)
        return f"card: {directory / CARD}"
    if (beside := _read(directory / BESIDE)) is None or is_own(beside):
        write_atomically(directory / BESIDE, card, durable=False)
        return f"card: {directory / BESIDE}, because {stays}; {asks}"
    return f"card: not written, because {stays}, and so does {BESIDE}; remove or rename that one, or {asks}"


def _read(path: Path) -> str | None:
    """Return the text of a file, None if there is no such file. Raises OSError if it is no regular file."""
    try:
        return read_regular(path, MAX_BYTES).decode(errors="replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return None
    except TooLarge:
        return ""


def _digest(text: str) -> str:
    """Return the digest of the text below the front matter."""
    return hashlib.sha256(_FRONT.sub("", text, count=1).encode() if _FRONT.match(text) else text.encode()).hexdigest()
