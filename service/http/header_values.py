"""Request headers that several doors read: by name, as weighted lists (RFC 9110, section 12.4.2), as entity tags (8.8.3).

Knows nothing of what is answered.
"""

import hashlib
import re
from collections.abc import Sequence

from service.asgi import Headers

TAG = re.compile(r'"([^"]*)"')
# Hexadecimal digits of an entity tag: 128 bits, so that no two contents share one.
TAG_LENGTH = 32


def by_name(raw: Headers) -> dict[str, str]:
    """Return the headers of a request by name. Values of one that is sent several times are joined (RFC 9110, section 5.3).

    A header that has to be one number, or one word, is thereby refused where it is read: "5, 7" is neither.
    """
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if len(found) < len(raw):
        for name in found:
            found[name] = ", ".join(value.decode("latin-1") for own, value in raw if own == name.encode("latin-1"))
    return found


def qualities(header: str) -> dict[str, float]:
    """Return the quality of each value in a header such as Accept or Accept-Encoding: 1 unless stated, 0 if unreadable."""
    found: dict[str, float] = {}
    for entry in header.lower().split(","):
        name, *options = (word.strip() for word in entry.split(";"))
        quality = next((word[2:] for word in options if word.startswith("q=")), "1")
        try:
            found[name] = float(quality)
        except ValueError:
            found[name] = 0.0
    return found


def best_coding(accept_encoding: str, offered: Sequence[str]) -> str | None:
    """Return the content coding that the caller likes best, the first of equals; None if it takes none of those offered."""
    found = qualities(accept_encoding)
    wanted = {coding: found.get(coding, found.get("*", 0.0)) for coding in offered}
    best = max(offered, key=lambda coding: wanted[coding])
    return best if wanted[best] > 0 else None


def tag_of(content: bytes) -> str:
    """Return the opaque tag of a content, without quotes."""
    return hashlib.sha256(content).hexdigest()[:TAG_LENGTH]


def tag_matches(if_none_match: str, etag: str) -> bool:
    """Return whether the caller's copy has this ETag, compared weakly: `W/` makes no difference. `*` matches any."""
    return if_none_match.strip() == "*" or any(tag in TAG.findall(if_none_match) for tag in TAG.findall(etag))
