"""Converts JSON to Python values and back. Knows nothing of models or HTTP."""

from typing import Any

import orjson
from numpy.typing import NDArray

from service.formats.errors import Undecodable, Unusable
from service.json_types import json_type

# The byte order mark, which Windows programs put before UTF-8, and those of UTF-16, in which PowerShell writes files.
BOM, UTF_16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
# how a JSON object begins in UTF-16 without such a mark
BARE_UTF_16 = (b"{\0", b"\0{", b"[\0", b"\0[")
# in orjson's message about bytes that are not UTF-8; it goes on about surrogates of Python
NOT_UTF_8 = "not valid UTF-8"


def is_utf_16(body: bytes) -> bool:
    """Return whether this is JSON in UTF-16, or in UTF-32 of little-endian systems, which begins alike."""
    return body.startswith((*UTF_16, *BARE_UTF_16))


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raise BadInput."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if body.startswith(BOM):
            return json_object(body[len(BOM) :])
        if b"\0\0" in body[:4]:
            raise Undecodable("the JSON is UTF-32; send UTF-8") from None
        if is_utf_16(body):
            raise Undecodable("the JSON is UTF-16, as PowerShell writes it; send UTF-8 (Set-Content -Encoding utf8)") from None
        if NOT_UTF_8 in error.msg:
            raise Undecodable("the JSON is not UTF-8; save or encode it as UTF-8") from None
        there = error.doc[max(0, error.pos - 1) : error.pos + 9]
        hint = "; JSON has no NaN and no Infinity" if "NaN" in there or "Infinity" in there else ""
        raise Undecodable(f"the body is not JSON: {error}{hint}") from None
    if not isinstance(value, dict):
        raise Unusable(f"the JSON body must be an object, not {json_type(value)}")
    return value


def json_list(text: bytes, name: str) -> list[Any]:
    """Parse a JSON list. Raise BadInput, with `name` in the message."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason = "it is not UTF-8" if NOT_UTF_8 in error.msg else error
        raise Undecodable(f"{name} is neither a file nor a JSON list of numbers: {reason}") from None
    if not isinstance(value, list):
        raise Unusable(f"{name} must be a file or a JSON list of numbers")
    return value


def json_bytes(value: dict[str, Any] | NDArray[Any]) -> bytes:
    """Write JSON. Numbers of float32 arrays get the shortest form that reads back as the same float32."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
