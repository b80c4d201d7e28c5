"""Bytes <-> arrays: pictures, JSON, npy; what a body is, and which type an answer has.

The first bytes of a body decide what it is, since clients often send a wrong type or none. Knows nothing of models, routes
or HTTP statuses; every defect is one of the errors below, with the item at fault.

    BadInput                  a body that cannot be used; `item` says which picture or latent
      ├── Undecodable         not what it seems to be: truncated, corrupt, not JSON, not base64
      ├── Unsupported         neither its bytes nor its type are known
      ├── TooBig              more pixels than allowed
      ├── TooCostly           decoding it takes more memory, time or work than allowed
      └── Unusable            decoded, but of the wrong shape, range or kind
"""

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.mosaic import to_image
from models.preprocess import Pixels, Preprocessing, preprocess
from models.strip_metadata import strip_metadata

Format = Literal["json", "npy", "png", "webp", "gif"]

# decoders that are opened at all; everything else that Pillow can read stays closed to the network
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"MM\0+", b"II+\0")
NPY_MAGIC = b"\x93NUMPY"
MAX_NPY_HEADER = 10_000
# how many of the largest picture a request's pixels may amount to
REQUEST_PICTURES = 4
FRAME_MILLISECONDS = 100


class BadInput(Exception):
    """A body that cannot be used."""

    def __init__(self, reason: str, item: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.item = reason, item

    def __str__(self) -> str:
        return self.reason if self.item is None else f"item {self.item}: {self.reason}"


class Undecodable(BadInput):
    """Not what it seems to be."""


class Unsupported(BadInput):
    """Neither bytes nor type are known."""


class TooBig(BadInput):
    """More pixels than allowed."""


class TooCostly(BadInput):
    """Decoding it takes more memory, time or work than allowed."""


class Unusable(BadInput):
    """Decoded, but not what the model takes."""


# --- in: pictures


def open_picture(data: bytes, max_pixels: int, item: int | None = None) -> Image.Image:
    """The header of a picture, checked against the bound on pixels before any of them is decoded. Raises BadInput."""
    if not data:
        raise Undecodable("empty: a picture has at least a header", item)
    try:
        image = Image.open(io.BytesIO(strip_metadata(data)), formats=PICTURE_FORMATS)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        if data.startswith(MAGIC):
            raise Undecodable("starts like a picture, but its header is corrupt", item) from None
        raise Unsupported(
            f"not a picture that is read here: PNG, JPEG, WebP, GIF, BMP and TIFF are; the first bytes are {data[:8]!r}",
            item,
        ) from None
    except Image.DecompressionBombError as error:
        raise TooBig(str(error), item) from None
    except Exception as error:  # a hostile header may make a decoder raise anything
        raise Undecodable(f"corrupt picture: {_describe(error)}", item) from None
    check_size(image.width, image.height, max_pixels, item)
    return image


def picture_pixels(image: Image.Image, spec: Preprocessing, item: int | None = None) -> Pixels:
    """An opened picture -> uint8 (C, H, W) as the model takes it; of an animation the first frame. Raises BadInput."""
    try:
        return preprocess(image, spec)
    except MemoryError:
        raise
    except Exception as error:  # as above, for the pixels
        raise Undecodable(f"corrupt or truncated {image.format}: {_describe(error)}", item) from None


def check_size(width: int, height: int, max_pixels: int, item: int | None = None) -> None:
    """Bound the pixels of a picture. Raises TooBig."""
    if width * height > max_pixels:
        raise TooBig(f"the picture has {width} x {height} pixels, at most {max_pixels} are allowed", item)


def check_sum(pixels: int, max_pixels: int, item: int | None) -> None:
    """Bound what all pictures of one request may have. Raises TooBig."""
    if pixels > REQUEST_PICTURES * max_pixels:
        raise TooBig(f"the pictures up to this one have {pixels} pixels, at most {REQUEST_PICTURES * max_pixels} are "
                     "allowed in one request", item)  # fmt: skip


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__


# --- in: JSON and npy


def json_object(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises BadInput."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        there = error.doc[max(0, error.pos - 1) : error.pos + 9]
        hint = "; NaN and Infinity are no JSON" if "NaN" in there or "Infinity" in there else ""
        raise Undecodable(f"not JSON: {error}{hint}") from None
    if not isinstance(value, dict):
        raise Unusable(f"the JSON body must be an object, not {type(value).__name__}")
    return value


def json_list(text: bytes, name: str) -> list[Any]:
    """A JSON list. Raises BadInput."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Undecodable(f"{name} is neither a file nor a JSON list of numbers: {error}") from None
    if not isinstance(value, list):
        raise Unusable(f"{name} must be a file or a JSON list of numbers")
    return value


def npy_array(body: bytes) -> NDArray[Any]:
    """One npy array of numbers, without a copy; what its header says is checked before it is believed. Raises BadInput."""
    # six bytes of magic, two of version, the length of the header, and the header
    width = 2 if body[6:7] == b"\x01" else 4
    start = 8 + width + int.from_bytes(body[8 : 8 + width], "little")
    try:
        shape, fortran, dtype = _npy_header(body[: min(start, MAX_NPY_HEADER)])
    except KeyError:
        raise Undecodable("npy of a version other than 1.0 and 2.0") from None
    except Exception as error:  # the header is a Python literal: its parser raises many types
        raise Undecodable(f"corrupt npy header: {_describe(error)}") from None
    if any(type(size) is not int for size in shape):
        raise Undecodable(f"npy of shape {shape}: sizes are whole numbers")
    if dtype.kind not in "fiu":
        raise Unusable(f"npy of type {dtype}: numbers are needed")
    count = math.prod(shape)
    if any(size < 0 for size in shape) or count * dtype.itemsize != len(body) - start:
        raise Undecodable(f"npy with {len(body) - start} bytes of data, its header says {dtype} {shape}")
    try:
        array = np.frombuffer(body, dtype, count, start).reshape(shape, order="F" if fortran else "C")
    except (ValueError, OverflowError) as error:  # more dimensions, or larger ones, than an array can have
        raise Undecodable(f"npy of shape {shape}: {error}") from None
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=False)


@lru_cache  # a caller sends arrays of one shape again and again, and reading a literal takes longer than all the rest
def _npy_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in the order of Fortran, type."""
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read_header(file, max_header_size=MAX_NPY_HEADER)
    return found


def picture_rows(array: NDArray[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """npy pictures, (N, H, W) or (N, H, W, C), uint8 or float32 in [0, 1] -> (N, C, H, W). Raises Unusable."""
    height, width, channels = shape
    pictures = array[..., None] if array.ndim == 3 and channels == 1 else array
    if pictures.dtype not in (np.uint8, np.float32) or pictures.ndim != 4 or pictures.shape[1:] != shape:
        wanted = f"uint8 or float32 (N, {height}, {width}, {channels})"
        wanted += f" or (N, {height}, {width})" if channels == 1 else ""
        raise Unusable(f"the pictures are {array.dtype} {array.shape}, the model takes {wanted}")
    if pictures.dtype == np.float32:
        bad = ~((pictures >= 0) & (pictures <= 1)).all(axis=(1, 2, 3))
        if bad.any():
            raise Unusable("float32 pixels must be finite and in [0, 1]", int(bad.argmax()))
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))


# a latent beyond this is no latent of a model whose prior is N(0, I); it could make a decoder overflow
MAX_LATENT = 1e4
JSON_NAMES = {bool: "booleans", str: "texts", list: "lists", dict: "objects", type(None): "nulls"}


def latent_rows(value: object, dim: int, name: str = "z") -> NDArray[np.float32]:
    """JSON lists or an npy array of latents -> float32 (N, D). Raises Unusable."""
    wanted = f"numbers of shape (N, {dim})"
    if isinstance(value, list):  # looked at before it becomes an array, which for long texts would be a huge one
        if not all(isinstance(row, list) for row in value):
            raise Unusable(f"{name} is a list of shape ({len(value)},), the model takes {wanted}")
        others = set(map(type, chain.from_iterable(value))) - {int, float}
        if others:
            found = ", ".join(sorted(JSON_NAMES[kind] for kind in others))
            raise Unusable(f"{name} holds {found}, the model takes {wanted}")
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise Unusable(f"{name} must be {wanted}: its rows differ in length") from None
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != dim:
        raise Unusable(f"{name} is {_kind(array)} of shape {array.shape}, the model takes {wanted}")
    bad = ~((array <= MAX_LATENT) & (array >= -MAX_LATENT)).all(axis=1)  # which NaN is neither
    if bad.any():
        raise Unusable(f"latents must be finite and within +-{MAX_LATENT:g}", int(bad.argmax()))
    return np.ascontiguousarray(array, np.float32)


def _kind(array: NDArray[Any]) -> str:
    return "numbers" if array.dtype.kind in "fiu" else "no array of numbers"


# --- out


def to_uint8(pixels: NDArray[np.float32]) -> Pixels:
    """Pixels in [0, 1] -> bytes, rounded to the nearest."""
    return np.rint(pixels.clip(0, 1) * np.float32(255)).astype(np.uint8)


def animation(frames: Sequence[Pixels], kind: Literal["webp", "gif"]) -> bytes:
    """Frames, uint8 (H, W, C), one after the other for ever: lossless WebP or GIF."""
    first, *others = [to_image(frame) for frame in frames]
    options: dict[str, Any] = {"lossless": True} if kind == "webp" else {}
    out = io.BytesIO()
    first.save(out, kind.upper(), save_all=True, append_images=others, duration=FRAME_MILLISECONDS, loop=0, **options)
    return out.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    """An array as an npy file."""
    return b"".join((_start_of_npy(array.shape, array.dtype.str), np.ascontiguousarray(array).data))


@lru_cache
def _start_of_npy(shape: tuple[int, ...], descr: str) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue()


def json_bytes(value: dict[str, Any] | NDArray[Any]) -> bytes:
    """JSON; float32 arrays are written as numbers of the shortest form that reads back the same."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
