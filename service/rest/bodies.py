"""Parse request bodies of any kind, and count items before anything is decoded. Knows nothing of models, devices, routes."""

import re
from collections.abc import Mapping, Sized
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.engine.errors import TooLarge
from service.formats import pictures as codecs
from service.formats.errors import Undecodable, Unsupported, Unusable, first_bytes
from service.formats.forms import Part, parse_form
from service.formats.json_size import SMALL_JSON, TooManyValues, check_size, count_byte
from service.formats.json_values import BOM, is_utf_16, json_object
from service.formats.latent_rows import latent_rows
from service.formats.npy import NPY_MAGIC, npy_array, picture_rows
from service.formats.pictures import EncodedPicture
from service.formats.raw_items import RawItems
from service.http.call import Call
from service.rest.parameters import BadParameter
from service.rest.schemas import Parameters

Kind = Literal["empty", "json", "form", "npy", "picture", "text"]
# How error messages name a kind.
A_KIND: Mapping[Kind, str] = {
    **{"empty": "nothing", "json": "JSON", "form": "a form", "npy": "npy", "picture": "a picture", "text": "text"},
}
# Keys of items that are themselves lists of lists: drawings, whose points are lists. So many are parsed in about 100 ms.
OF_LISTS, MOST_LISTS = (b'"strokes"', b'"sketch"'), 1 << 18
# Lists that JSON may have besides those of its items.
OTHER_LISTS = 20
# The longest parameter of a form, in bytes. Filters are the longest.
LONGEST_FIELD = 1 << 20
ACCEPTED = "a picture, a form, JSON or npy"
# White space, and the byte order mark of Windows programs.
BEFORE_JSON = b" \t\n\r\v\f" + BOM
# What curl sends for -d and --data-binary alike. With -d @FILE it removes line ends and zeros, and every picture has some.
OF_CURL, USE_BINARY = "application/x-www-form-urlencoded", "send files with curl --data-binary @FILE"
SVG = "image/svg+xml"
SAY_NOTHING = ("", OF_CURL, "application/octet-stream")
# A form as browsers and curl -d write it: n=3&seed=7.
PAIRS = re.compile(rb"[A-Za-z_]\w{0,31}=\S*")
BINARY = (NPY_MAGIC, *codecs.MAGIC)
# Texts may begin like the other files: "BMI,age" like a BMP.
SURELY_BINARY = (NPY_MAGIC, b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
# How they begin after curl -d @FILE. A PNG whose signature lacks its line ends is known whatever its Content-Type.
STRIPPED, STRIPPED_PNG = tuple(magic.replace(b"\0", b"") for magic in BINARY), b"\x89PNG\x1a"


@dataclass(slots=True)
class Body:
    """A parsed body: its kind, and its JSON values or form parts. `raw` has the bytes of all kinds."""

    kind: Kind
    raw: bytes
    max_items: int
    values: dict[str, Any] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    content_type: str = ""
    deadline: float | None = None  # for reading the items of text, in the time of `time.monotonic`
    unknown: Unsupported | None = None  # the error about a text, for those who take none

    def check_count(self, items: Sized) -> None:
        """Raise TooLarge for more items than a request may have."""
        if len(items) > self.max_items:
            raise TooLarge(len(items), self.max_items)

    def form_pictures(self) -> list[Part]:
        """Return the pictures of a form. Raises Unusable if there are none."""
        found = [part for part in self.parts if part.name == "image"]
        if not found:
            raise Unusable("the form has no field 'image', which holds the pictures")
        return found

    def parameters(self, kind: type[Parameters]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the parameters in the body, as (JSON values, form fields). Raises BadParameter for an unexpected file."""
        values = {name: value for name, value in self.values.items() if name not in kind.payload}
        fields: dict[str, str] = {}
        for part in self.parts:
            if part.name in kind.files:
                continue
            if part.filename is not None:
                files = (
                    f"the fields for files are: {', '.join(map(repr, kind.files))}"
                    if kind.files
                    else f"this request takes no files in a form; {kind.instead_of_files}"
                )
                raise BadParameter(f"unknown file field {part.name!r}; {files}")
            if part.name in fields:
                raise BadParameter(f"{part.name} is given twice")
            if len(part.data) > LONGEST_FIELD:
                raise BadParameter(f"{part.name} has {len(part.data)} bytes, at most {LONGEST_FIELD} are allowed")
            fields[part.name] = part.data.decode("utf-8", "replace")
        # A browser sends every field of a form, also those that nobody has filled in.
        return values, {name: field for name, field in fields.items() if field or name not in kind.model_fields}


def read_body(call: Call, max_items: int, lists_per_item: int = 1, parts_per_item: int = 1, takes_text: bool = False) -> Body:
    """Parse a body. Its first bytes decide its kind, then its Content-Type. A form may have `parts_per_item` parts an item.

    `takes_text`: text is a kind of body, too; whoever has no use for it raises its error `unknown`. Raises BadInput,
    TooManyParts, TooManyValues, TooLarge.
    """
    stated = call.content_type.startswith("text/") or call.content_type == SVG
    if takes_text and stated and call.body and not call.body.lstrip(BEFORE_JSON).startswith((b"{", *SURELY_BINARY)):
        return _text(call, max_items, _unsupported(call))
    try:
        kind = _kind(call)
    except Unsupported as error:
        if takes_text and call.content_type in SAY_NOTHING and b"\0" not in call.body[:SMALL_JSON]:
            return _text(call, max_items, error)
        raise
    if kind == "json":
        check_json(call.body, max_items, lists_per_item)
        return Body(kind, call.body, max_items, values=json_object(call.body))
    if kind == "form":
        # Besides the parts of max_items pictures, a form may have 20 parameters.
        most = parts_per_item * max_items + 20
        return Body(kind, call.body, max_items, parts=parse_form(call.body, call.headers["content-type"], most))
    return Body(kind, call.body, max_items)


def _text(call: Call, max_items: int, unknown: Unsupported) -> Body:
    """Return a body of text, such as CSV, SVG or a tune."""
    return Body("text", call.body, max_items, content_type=call.content_type, unknown=unknown)


def check_json(body: bytes, max_items: int, lists_per_item: int) -> None:
    """Check the number of values before parsing, by counting characters. Raises TooLarge, TooManyValues."""
    if len(body) <= SMALL_JSON:
        lists = body.count(b"[")
    else:
        lists = max(count_byte(body, b"["), count_byte(body, b"{"))
        check_size(body)
    if any(key in body[:SMALL_JSON] for key in OF_LISTS) and lists_per_item < MOST_LISTS // max_items:
        if lists > (most := max(MOST_LISTS, max_items)) + OTHER_LISTS:
            raise TooManyValues(lists, most, "points of drawings")
    elif lists > lists_per_item * max_items + OTHER_LISTS:  # Each item has at most lists_per_item lists or objects.
        found = (lists - 1) // lists_per_item  # One of them is the list of the items, or the object around it.
        raise TooLarge(max(found, max_items + 1), max_items)


def _kind(call: Call) -> Kind:
    body, claimed = call.body, call.content_type
    if not body:
        return "empty"
    if body.startswith(STRIPPED_PNG) or (
        claimed == OF_CURL and body.startswith(STRIPPED) and not any(one in body for one in (b"\0", b"\n", b"\r"))
    ):
        raise Undecodable(f"curl -d has removed all line ends and zeros from the file; {USE_BINARY}")
    if body.startswith(BINARY):
        return "npy" if body.startswith(NPY_MAGIC) else "picture"
    if claimed == "multipart/form-data":
        return "form"
    if body[:64].lstrip(BEFORE_JSON)[:1] in (b"{", b"[") or claimed == "application/json" or is_utf_16(body):
        return "json"
    if claimed == "application/x-npy":
        return "npy"
    if claimed.startswith("image/") and claimed != SVG:
        return "picture"
    if claimed == OF_CURL and PAIRS.fullmatch(body, 0, SMALL_JSON):
        raise Unsupported("send the parameters in the query or as JSON; URL-encoded forms are not read")
    if len(body) <= SMALL_JSON:
        with suppress(Undecodable):
            json_object(body)  # It may be JSON after all, but no object.
    raise _unsupported(call)


def _unsupported(call: Call) -> Unsupported:
    body, claimed = call.body, call.content_type
    return Unsupported(
        f"the body is not {ACCEPTED}: its Content-Type is {claimed or 'not stated'} and its first bytes are "
        + first_bytes(body)
        + (f"; {USE_BINARY}" if claimed == OF_CURL else "")
    )


def pictures_of(body: Body, shape: tuple[int, int, int], any_floats: bool = False) -> RawItems:
    """Return the pictures of a body, counted but not decoded. npy arrays must be (N, *shape). Raises BadInput, TooLarge."""
    encoded: list[EncodedPicture] = []
    alone = body.kind == "picture" or "image" in body.values
    match body.kind:
        case "empty":
            raise Undecodable(f"the body is empty: send {ACCEPTED}")
        case "picture":
            encoded = [body.raw]
        case "npy":
            array = npy_array(body.raw)
            if array.ndim > 2:
                body.check_count(array)
            rows = picture_rows(array, shape, any_floats)
            if not len(rows):
                raise Unusable("the array is empty; at least one picture is needed")
            return RawItems(rows=rows)
        case "form":
            encoded = [part.data for part in body.form_pictures()]
        case "json":
            encoded = _json_pictures(body)
    return RawItems(encoded, alone=alone)


def latents_of(body: Body, dim: int, model: str = "") -> NDArray[np.float32]:
    """Return the latents of a body, float32 (N, D); errors name the `model`. Raises BadInput, TooLarge."""
    match body.kind:
        case "empty":
            raise Undecodable('the body is empty: send {"z": [[...]]} or an npy array')
        case "npy":
            array = npy_array(body.raw)
            if array.ndim == 2:
                body.check_count(array)
            z = latent_rows(array, dim, "z", model)
        case "json":
            name = _either(body, "z", "mu")
            rows = _list(body, name, "latents, each a list of numbers")
            body.check_count(rows)  # before they are parsed
            z = latent_rows(rows, dim, name, model)
        case _:
            raise Unsupported(f"latents must be sent as JSON or npy, not as {A_KIND[body.kind]}")
    if not len(z):
        raise Unusable("the array is empty; at least one latent is needed")
    return z


def _either(body: Body, name: str, other: str) -> str:
    """Return which of two names of the same thing the JSON body has; the first if it has none. Raises Unusable for both."""
    if other not in body.values:
        return name
    if name in body.values:
        raise Unusable(f"the JSON body has both {name!r} and {other!r}, which mean the same; send one of them")
    return other


def _json_pictures(body: Body) -> list[Any]:
    if _either(body, "images", "image") == "images":
        return _list(body, "images", "base64 pictures")
    picture = body.values["image"]
    if not isinstance(picture, str):
        raise Unusable("'image' must be a string: base64 or a data URL; send several pictures as a list in 'images'")
    return [picture]


def _list(body: Body, key: str, what: str) -> list[Any]:
    if key not in body.values:
        raise Unusable(f"the JSON body has no {key!r}, which must be a list of {what}")
    value = body.values[key]
    if not isinstance(value, list) or not value:
        raise Unusable(f"{key!r} must be a list of one or more {what}")
    return value
