"""What a body brings: pictures, latents, ends of a path, and the parameters beside them, in any form that clients send.

Counts before anything is decoded. Knows nothing of models, devices or routes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.engine.errors import TooLarge
from service.formats import pictures as codecs
from service.formats.errors import Undecodable, Unsupported, Unusable
from service.formats.forms import Part, parse_form
from service.formats.json_values import json_list, json_object
from service.formats.latent_rows import latent_rows
from service.formats.npy import NPY_MAGIC, npy_array, picture_rows
from service.formats.pictures import EncodedPicture, Pictures
from service.http.call import Call
from service.rest.parameters import BadParameter
from service.rest.schemas import Parameters

Kind = Literal["empty", "json", "form", "npy", "picture"]
OTHER_LISTS = 20
# In memory a number of JSON takes some 40 bytes, a text 70, a name with its value 250, however short they are written, and
# while a million of them are parsed nothing else runs for some 50 ms. So many are more than latents of most models need.
MOST_VALUES, MOST_TEXTS, MOST_NAMES = 1 << 20, 1 << 19, 1 << 18
# One character beyond ASCII makes its text four times as long in memory, and parsing it three times as slow.
LONGEST_UNICODE = 1 << 24
# Such an escape; those of ASCII characters, like \\u002B for + in base64, make no text longer.
BEYOND_ASCII = re.compile(rb"\\u(?:[^0]|0[^0]|00[^0-7])")
# The parser skips spaces slowly, and nothing else runs meanwhile; no indentation needs so many.
SPACES, MOST_SPACES = (b" ", b"\n", b"\r", b"\t"), 1 << 24
# for so many bytes of JSON one text or name is allowed, beside so many that need not be as long
BYTES_PER_TEXT, OTHER_TEXTS, OTHER_NAMES = 32, 1 << 17, 1 << 16
# of a parameter in a form; filters are the longest
LONGEST_FIELD = 1 << 20
SMALL_JSON, COUNTED_AT_ONCE = 1 << 16, 1 << 20
ESCAPE = len(rb"\u0000")
WHAT_IS_TAKEN = "a picture, a form, JSON or npy"


class TooManyValues(Exception):
    """JSON with more values than requests need, or with too many texts or names for its size."""

    def __init__(self, values: int, max_values: int, what: str = "values") -> None:
        instead = "send them as an npy array, or in several requests" if what == "values" else "send them in several requests"
        super().__init__(f"the JSON has about {values} {what}, at most {max_values} are allowed in one of its size; {instead}")


@dataclass(slots=True)
class Body:
    """A body taken apart: its kind, JSON values or form parts, and what is left for the parameters."""

    kind: Kind
    raw: bytes
    max_items: int
    values: dict[str, Any] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)

    def parameters(self, kind: type[Parameters]) -> tuple[dict[str, Any], dict[str, str]]:
        """(JSON values, form fields) beside the operation's payload. Raises BadParameter for a file that is not expected."""
        values = {name: value for name, value in self.values.items() if name not in kind.payload}
        fields: dict[str, str] = {}
        for part in self.parts:
            if part.name in kind.files:
                continue
            if part.filename is not None:
                raise BadParameter(
                    f"unknown file field {part.name!r}; files go into {' and '.join(map(repr, kind.files)) or 'none'}"
                )
            if part.name in fields:
                raise BadParameter(f"{part.name}: given twice")
            if len(part.data) > LONGEST_FIELD:
                raise BadParameter(f"{part.name}: has {len(part.data)} bytes, at most {LONGEST_FIELD} are allowed")
            fields[part.name] = part.data.decode("utf-8", "replace")
        return values, fields


def read_body(call: Call, max_items: int, lists_per_item: int = 1) -> Body:
    """Take a body apart; its first bytes decide what it is, then its type. Raises BadInput, TooManyParts, TooManyValues,
    TooLarge.
    """
    kind = _kind(call)
    if kind == "json":
        _check_json(call.body, max_items, lists_per_item)
        return Body(kind, call.body, max_items, values=json_object(call.body))
    if kind == "form":
        # a form of max_items pictures may have its parameters beside them
        return Body(kind, call.body, max_items, parts=parse_form(call.body, call.headers["content-type"], max_items + 20))
    return Body(kind, call.body, max_items)


def _check_json(body: bytes, max_items: int, lists_per_item: int) -> None:
    """A flood of values is not even parsed. Raises TooLarge, TooManyValues."""
    if len(body) <= SMALL_JSON:
        lists = body.count(b"[")
    else:
        lists = max(_count(body, b"["), _count(body, b"{"))
        if len(body) > LONGEST_UNICODE and (not body.isascii() or _has(body, BEYOND_ASCII)):
            raise TooManyValues(len(body), LONGEST_UNICODE, "bytes with characters beyond ASCII")
        if len(body) > MOST_SPACES and (spaces := sum(_count(body, one) for one in SPACES)) > MOST_SPACES:
            raise TooManyValues(spaces, MOST_SPACES, "spaces and ends of lines")
        _check_values(body)
    if lists > lists_per_item * max_items + OTHER_LISTS:  # each item is so many lists or objects at most
        raise TooLarge(lists // lists_per_item, max_items)


def _check_values(text: bytes) -> None:
    """Raises TooManyValues for JSON that would take far more memory than it has bytes."""
    long = len(text) // BYTES_PER_TEXT
    for found, what, most in (
        (_count(text, b","), "values", MOST_VALUES),
        (_count(text, b'"') // 2, "strings", min(MOST_TEXTS, long + OTHER_TEXTS)),
        (_count(text, b":"), "keys", min(MOST_NAMES, long + OTHER_NAMES)),
    ):
        if found > most:
            raise TooManyValues(found, most, what)


def _has(body: bytes, pattern: re.Pattern[bytes]) -> bool:
    """Return whether an escape of the pattern is in a body, piece by piece: other threads run in between."""
    return any(pattern.search(body, i, i + COUNTED_AT_ONCE + ESCAPE) for i in range(0, len(body), COUNTED_AT_ONCE))


def _count(body: bytes, byte: bytes) -> int:
    """As body.count does, in a twentieth of its time when there is much."""
    array = np.frombuffer(body, np.uint8)
    steps = range(0, len(array), COUNTED_AT_ONCE)
    return sum(int(np.count_nonzero(array[i : i + COUNTED_AT_ONCE] == ord(byte))) for i in steps)


def _kind(call: Call) -> Kind:
    body, claimed = call.body, call.content_type
    if not body:
        return "empty"
    if body.startswith(NPY_MAGIC):
        return "npy"
    if body.startswith(codecs.MAGIC):
        return "picture"
    if claimed == "multipart/form-data":
        return "form"
    if body[:64].lstrip()[:1] in (b"{", b"[") or claimed == "application/json":
        return "json"
    if claimed == "application/x-npy":
        return "npy"
    if claimed.startswith("image/"):
        return "picture"
    raise Unsupported(
        f"the body is not {WHAT_IS_TAKEN}: its type is {claimed or 'not stated'} and its first bytes are {body[:8]!r}"
    )


def pictures_of(body: Body, shape: tuple[int, int, int]) -> Pictures:
    """The pictures of a body, counted but not decoded; `shape` (H, W, C) is what npy arrays must have. Raises BadInput."""
    encoded: list[EncodedPicture] = []
    match body.kind:
        case "empty":
            raise Undecodable(f"the body is empty: send {WHAT_IS_TAKEN}")
        case "picture":
            encoded = [body.raw]
        case "npy":
            array = npy_array(body.raw)
            if array.ndim > 2 and len(array) > body.max_items:
                raise TooLarge(len(array), body.max_items)
            rows = picture_rows(array, shape)
            if not len(rows):
                raise Unusable("the array holds no pictures")
            return Pictures(rows=rows)
        case "form":
            encoded = [part.data for part in body.parts if part.name == "image"]
            if not encoded:
                raise Unusable("the form has no field 'image'")
        case "json":
            encoded = _list(body, "images", "base64 pictures")
    return Pictures(encoded)


def latents_of(body: Body, dim: int) -> NDArray[np.float32]:
    """The latents of a body, float32 (N, D). Raises BadInput."""
    match body.kind:
        case "empty":
            raise Undecodable('the body is empty: send {"z": [[...]]} or an npy array')
        case "npy":
            array = npy_array(body.raw)
            if array.ndim == 2 and len(array) > body.max_items:
                raise TooLarge(len(array), body.max_items)
            z = latent_rows(array, dim)
        case "json":
            rows = _list(body, "z", "latents")
            if len(rows) > body.max_items:  # before they are looked at
                raise TooLarge(len(rows), body.max_items)
            z = latent_rows(rows, dim)
        case _:
            raise Unsupported(f"latents come as JSON or npy, not as a {body.kind}")
    if not len(z):
        raise Unusable("the array holds no latents")
    return z


def ends_of(body: Body, dim: int) -> tuple[Pictures | NDArray[np.float32], Pictures | NDArray[np.float32]]:
    """Start and end of a path: each one picture, or one latent (1, D). Raises BadInput."""
    if body.kind == "json":
        return _json_end(body.values, "start", dim), _json_end(body.values, "end", dim)
    if body.kind == "form":
        return _form_end(body.parts, "start", dim), _form_end(body.parts, "end", dim)
    if body.kind == "empty":
        raise Undecodable("the body is empty: send JSON or a form with start and end")
    raise Unsupported(f"a path comes as JSON or as a form with start and end, not as a {body.kind}")


def _list(body: Body, key: str, what: str) -> list[Any]:
    if key not in body.values:
        raise Unusable(f"the JSON body has no {key!r}: a list of {what}")
    value = body.values[key]
    if not isinstance(value, list) or not value:
        raise Unusable(f"{key!r} must be a list of one or more {what}")
    return value


def _json_end(values: Mapping[str, Any], name: str, dim: int) -> Pictures | NDArray[np.float32]:
    end = values.get(name)
    if not isinstance(end, dict) or len(end) != 1 or not end.keys() <= {"image", "z"}:
        raise Unusable(f'{name!r} must be {{"image": "<base64>"}} or {{"z": [...]}}')
    if "z" in end:
        return latent_rows([end["z"]], dim)
    if not isinstance(end["image"], str):
        raise Unusable(f"the image of {name!r} must be a string with base64 or a data URL")
    return Pictures([end["image"]])


def _form_end(parts: list[Part], name: str, dim: int) -> Pictures | NDArray[np.float32]:
    found = [part for part in parts if part.name == name]
    if len(found) != 1:
        raise Unusable(f"the form needs one field {name!r}, it has {len(found)}")
    if found[0].filename is not None:
        return Pictures([found[0].data])
    _check_json(found[0].data, 0, 1)
    return latent_rows([json_list(found[0].data, name)], dim)
