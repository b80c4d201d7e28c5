"""Pictures: files -> opened, bounded, decoded; frames -> animations.

Knows nothing of models, routes or HTTP statuses.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.mosaic import to_image
from models.preprocess import Pixels, Preprocessing, preprocess
from models.strip_metadata import strip_metadata
from service.formats.errors import TooBig, Undecodable, Unsupported, describe

# decoders that are opened at all; everything else that Pillow can read stays closed to the network
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"MM\0+", b"II+\0")
# how many of the largest picture a request's pixels may amount to
REQUEST_PICTURES = 4
FRAME_MILLISECONDS = 100


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
        raise Undecodable(f"corrupt picture: {describe(error)}", item) from None
    check_size(image.width, image.height, max_pixels, item)
    return image


def picture_pixels(image: Image.Image, spec: Preprocessing, item: int | None = None) -> Pixels:
    """An opened picture -> uint8 (C, H, W) as the model takes it; of an animation the first frame. Raises BadInput."""
    try:
        return preprocess(image, spec)
    except MemoryError:
        raise
    except Exception as error:  # as above, for the pixels
        raise Undecodable(f"corrupt or truncated {image.format}: {describe(error)}", item) from None


def check_size(width: int, height: int, max_pixels: int, item: int | None = None) -> None:
    """Bound the pixels of a picture. Raises TooBig."""
    if width * height > max_pixels:
        raise TooBig(f"the picture has {width} x {height} pixels, at most {max_pixels} are allowed", item)


def check_sum(pixels: int, max_pixels: int, item: int | None) -> None:
    """Bound what all pictures of one request may have. Raises TooBig."""
    if pixels > REQUEST_PICTURES * max_pixels:
        raise TooBig(f"the pictures up to this one have {pixels} pixels, at most {REQUEST_PICTURES * max_pixels} are "
                     "allowed in one request", item)  # fmt: skip


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


# an encoded picture is bytes, or text with base64 in it
EncodedPicture = bytes | str


@dataclass(slots=True)
class Pictures:
    """What a request brought, counted but not decoded: encoded pictures, or rows (N, C, H, W) from an npy array."""

    encoded: Sequence[EncodedPicture] = ()
    rows: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.encoded) if self.rows is None else len(self.rows)
