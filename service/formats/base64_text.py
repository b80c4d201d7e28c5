"""Decodes base64 and data URLs to bytes, long ones piece by piece, so that other threads can run in between.

Knows nothing of what the bytes mean.
"""

import binascii
import re
from collections.abc import Iterator

from service.formats.errors import Undecodable, Unusable
from service.json_types import json_type

# Number of base64 characters that are decoded at a time; this takes about a millisecond.
BASE64_PIECE = 1 << 20
WHITE_SPACE = b" \t\n\r\v\f\x1c\x1d\x1e\x1f"
# base64url has other signs for the last two values (RFC 4648, section 5).
FROM_URL = bytes.maketrans(b"-_", b"+/")
DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.ASCII)


def base64_bytes(text: object, item: int | None = None) -> bytes:
    """Decode a base64 or base64url string, or a data URL. It may contain line breaks and lack its padding. Raise BadInput."""
    if not isinstance(text, str):
        raise Unusable(f"a picture must be a string: base64 or a data URL, not {json_type(text)}", item)
    if text.startswith("data:"):
        header = DATA_URL.match(text)
        if header is None:
            raise Undecodable(f"a data URL must look like data:image/png;base64,...{_hint(text)}", item)
        text = text[header.end() :]
    if len(text) <= BASE64_PIECE:
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            pass  # it has line breaks or no padding, is base64url, or is not base64 at all: the code below finds out
    try:
        return b"".join(_base64_pieces(text.encode("ascii")))
    except ValueError as error:
        raise Undecodable(f"the picture is not valid base64: {error}{_hint(text)}", item) from None


def _hint(text: str) -> str:
    """Return what may have been done to base64 on its way here, for the end of an error message."""
    if "%" in text:
        return "; it is percent-encoded: decode that before you send it"
    if " " in text.strip():
        return "; it has blanks, which probably stand where + belongs: URL-encoded forms turn + into a blank"
    return ""


def _base64_pieces(text: bytes) -> Iterator[bytes]:
    """Decode piece by piece, so that other threads can run in between; ignore white space. Raise ValueError."""
    end = text.find(b"=") if b"=" in text else len(text)
    padding = text[end:].translate(None, WHITE_SPACE)
    if padding.strip(b"="):
        raise ValueError("Excess data after padding")
    kept = b""  # an incomplete group of four, and the complete group before it, to which the padding may belong
    for start in range(0, end, BASE64_PIECE):
        kept += text[start : min(end, start + BASE64_PIECE)].translate(FROM_URL, WHITE_SPACE)
        whole = len(kept) - len(kept) % 4 - 4
        if whole > 0:
            yield binascii.a2b_base64(kept[:whole], strict_mode=True)
            kept = kept[whole:]
    yield binascii.a2b_base64(kept + (padding or b"=" * (-len(kept) % 4)), strict_mode=True)
