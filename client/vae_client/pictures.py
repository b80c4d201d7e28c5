"""Pictures of any kind -> bodies of requests: paths, bytes of files, open files, pictures of Pillow, arrays.

An array of two dimensions is one picture (H, W), of three (N, H, W), of four (N, H, W, C). In a list or another iterable each
array is one picture, (H, W) or (H, W, C).
"""

import base64
import io
import os
import secrets
import struct
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from vae_client import json_body, npy
from vae_client.data import Data

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

Picture: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image | NDArray[Any]"
Pictures: TypeAlias = "Picture | Iterable[Picture] | Data"

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# Modes of Pillow that a PNG can have, and those of more than 8 bits, for which TIFF is better. Others become RGB or RGBA.
PNG_MODES = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"))
DEEP_MODES = frozenset(("I", "F", "I;16B"))


def is_pillow(value: object) -> bool:
    """Return whether a value is a picture of Pillow, which need not be installed."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def is_one(value: object) -> bool:
    """Return whether a value is one picture that is not an array."""
    return isinstance(value, str | bytes | bytearray | memoryview | os.PathLike) or is_file(value) or is_pillow(value)


def is_file(value: object) -> bool:
    """Return whether a value is an open file, or can be read like one."""
    return hasattr(value, "read")


def as_rows(pictures: Any) -> Any:
    """Return an array of pictures whose first dimension counts them. Raises TypeError, ValueError."""
    pixels = npy.as_pixels(pictures)
    if pixels.ndim not in (2, 3, 4):
        raise ValueError(f"pictures have the shape (H, W), (N, H, W) or (N, H, W, C), not {pixels.shape}")
    return pixels[None] if pixels.ndim == 2 else pixels


def listed(pictures: Any) -> Any:
    """Return pictures as an array (N, ...), or as an iterable of single ones. Raises TypeError, ValueError."""
    if is_one(pictures) or isinstance(pictures, Mapping):
        return [pictures]
    if isinstance(pictures, Data):
        return pictures
    if hasattr(pictures, "__aiter__"):
        raise TypeError(
            "pictures come from a list or a plain generator, not an asynchronous one: [one async for one in pictures]"
        )
    return as_rows(pictures) if npy.is_array(pictures) else pictures


def body_of(pictures: Any) -> tuple[bytes, str, int | None]:
    """Return (body, content type, number of pictures) for pictures as `listed` gives them.

    The number is None for a single file, which may be an npy file with any number. Raises TypeError, ValueError, OSError.
    """
    if isinstance(pictures, Data):
        if not pictures:
            raise ValueError(f"there are no {pictures.many}")
        return json_body.encoded({pictures.many: list(pictures)}), "application/json", len(pictures)
    if npy.is_array(pictures) and not is_pillow(pictures):
        return npy.array_file(pictures), "application/x-npy", len(pictures)
    pictures = list(pictures)
    if not pictures:
        raise ValueError("there are no pictures")
    arrays = [npy.is_array(picture) and not is_pillow(picture) for picture in pictures]
    if all(arrays):
        rows = as_rows(npy.stacked([one_array(picture) for picture in pictures]))
        return npy.array_file(rows), "application/x-npy", len(rows)
    if any(arrays):
        raise TypeError(f"picture {arrays.index(True)} is an array and picture {arrays.index(False)} is not: send them apart")
    files = [file_of(picture) for picture in pictures]
    return (files[0], "application/octet-stream", None) if len(files) == 1 else (*form_of(files), len(files))


def one_array(picture: Any) -> "NDArray[Any]":
    """Return one picture, (H, W) or (H, W, C). Raises TypeError, ValueError."""
    pixels = npy.as_pixels(picture)
    if pixels.ndim not in (2, 3):
        raise ValueError(f"one picture has the shape (H, W) or (H, W, C), not {pixels.shape}")
    return pixels


def form_of(files: Sequence[bytes]) -> tuple[bytes, str]:
    """Return files as the fields `image` of a form, and its content type."""
    boundary = secrets.token_hex(16)  # 128 random bits are in no picture.
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image"\r\n\r\n'.encode()
    parts = [part for file in files for part in (head, file, b"\r\n")]
    return b"".join((*parts, f"--{boundary}--\r\n".encode())), f"multipart/form-data; boundary={boundary}"


def file_of(picture: Any) -> bytes:
    """Return one picture as the bytes of a file. Arrays must be uint8. Raises TypeError, ValueError, OSError."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | os.PathLike):
        return Path(picture).read_bytes()
    if is_file(picture):
        return _content_of(picture)
    if is_pillow(picture):
        return _file_of_pillow(picture)
    if npy.is_array(picture):
        return png_of(one_array(picture))
    if isinstance(picture, Mapping):
        raise TypeError("a mapping is no picture; rows of a table are Rows([{...}])")
    raise TypeError(f"a picture is a path, bytes, an open file, a picture of Pillow or an array, not {type(picture).__name__}")


def _content_of(file: Any) -> bytes:
    # Reading a picture as text would fail at its first byte, with another error.
    content = None if isinstance(file, io.TextIOBase) else file.read()
    if not isinstance(content, bytes):
        raise TypeError("an open file must be one of bytes: open it with mode 'rb'")
    return content


def _file_of_pillow(picture: "Image") -> bytes:
    out = io.BytesIO()
    if picture.mode == "La":  # Pillow can convert it to nothing else.
        picture = picture.convert("LA")
    if picture.mode in DEEP_MODES:
        picture.save(out, "TIFF")
    else:
        plain = (
            picture if picture.mode in PNG_MODES else picture.convert("RGBA" if picture.mode.lower().endswith("a") else "RGB")
        )
        plain.save(out, "PNG", compress_level=1)
    return out.getvalue()


def base64_of(picture: Any) -> str:
    """Return one picture as the base64 text of a file."""
    return base64.b64encode(file_of(picture)).decode("ascii")


def png_of(pixels: "NDArray[Any]") -> bytes:
    """Return uint8 (H, W), (H, W, 1) or (H, W, 3) as a PNG file. Raises TypeError, ValueError."""
    if pixels.dtype.kind == "f":
        raise TypeError("float pixels would be rounded here: send uint8, or the posteriors that encode returns; of mu, mu[0]")
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels not in (1, 3):
        raise ValueError(f"a picture has 1 or 3 channels, not {channels}")
    height, width = pixels.shape[:2]
    lines = pixels.reshape(height, width * channels)
    raw = b"".join(b"\0" + line.tobytes() for line in lines)  # Each line begins with its filter, none.
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    return b"".join((PNG_MAGIC, _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(raw, 1)), _chunk(b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bytes_of(picture: Any) -> int:
    """Return about how many bytes a picture has in a request, before it is read. Missing files count nothing."""
    if isinstance(picture, bytes | bytearray):
        return len(picture)
    if isinstance(picture, str | os.PathLike):
        try:
            return Path(picture).stat().st_size
        except OSError:  # Reading it will say why.
            return 0
    if is_pillow(picture):
        width, height = picture.size
        return int(width * height * len(picture.getbands()))
    return int(getattr(picture, "nbytes", 0))
