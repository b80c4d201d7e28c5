"""Opens picture files, checks their size and decodes them; writes animations.

Knows nothing of models, routes or HTTP statuses.
"""

import io
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.depth import Note
from models.mosaic import to_image
from models.preprocess import Pixels, Preprocessing, WrongSize, preprocess
from models.readers.formats import PICTURE_FORMATS
from models.strip_metadata import strip_metadata
from service.formats.errors import TooBig, Undecodable, Unsupported, Unusable, describe, first_bytes

MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"MM\0+", b"II+\0")
MEDIA_TYPES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"RIFF", "image/webp"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    ((b"II", b"MM"), "image/tiff"),
)
# All pictures of a request together may have this many times the pixels of the largest allowed picture.
REQUEST_PICTURES = 4
FRAME_MILLISECONDS = 100


def open_picture(data: bytes, max_pixels: int, item: int | None = None) -> Image.Image:
    """Read the header of a picture, and check the number of pixels before any is decoded. Raise BadInput."""
    if not data:
        raise Undecodable("the picture is empty: it has 0 bytes", item)
    try:
        image = Image.open(io.BytesIO(strip_metadata(data)), formats=PICTURE_FORMATS)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        if data.startswith(MAGIC):
            raise Undecodable("it starts like a picture, but its header is corrupt", item) from None
        raise Unsupported(
            f"not a picture in a supported format (PNG, JPEG, WebP, GIF, BMP, TIFF); its first bytes are {first_bytes(data)}",
            item,
        ) from None
    except Image.DecompressionBombError as error:
        raise TooBig(str(error), item) from None
    except Exception as error:  # a hostile header can make a decoder raise anything
        raise Undecodable(f"the picture is corrupt: {describe(error)}", item) from None
    check_size(image.width, image.height, max_pixels, item)
    return image


def media_type_of(data: bytes) -> str:
    """Return the media type of a picture by its first bytes: one of the formats that are read, or `octet-stream`."""
    return next((kind for magic, kind in MEDIA_TYPES if data.startswith(magic)), "application/octet-stream")


def picture_pixels(
    image: Image.Image, spec: Preprocessing, item: int | None = None, notes: list[Note] | None = None
) -> Pixels:
    """Decode an opened picture to uint8 (C, H, W) as the model takes it; only the first frame of an animation.

    `notes` receives what cannot be right; see `preprocess`. Raise BadInput.
    """
    try:
        return preprocess(image, spec, notes)
    except MemoryError:
        raise
    except WrongSize as error:
        raise Unusable(str(error), item) from None
    except Exception as error:  # hostile pixel data can make a decoder raise anything, too
        raise Undecodable(f"the {image.format} file is corrupt or truncated: {describe(error)}", item) from None


def check_size(width: int, height: int, max_pixels: int, item: int | None = None) -> None:
    """Raise TooBig if a picture has more pixels than allowed."""
    if width * height > max_pixels:
        raise TooBig(f"the picture has {width} x {height} pixels, at most {max_pixels} are allowed (VAE_MAX_PIXELS)", item)


def check_sum(pixels: int, max_pixels: int, item: int | None) -> None:
    """Raise TooBig if all pictures of one request together have more pixels than allowed."""
    if pixels > REQUEST_PICTURES * max_pixels:
        raise TooBig(f"the pictures up to this one have {pixels} pixels, at most {REQUEST_PICTURES * max_pixels} are "
                     "allowed in one request", item)  # fmt: skip


def to_uint8(pixels: NDArray[np.float32] | Pixels) -> Pixels:
    """Convert pixels in [0, 1] to bytes, rounded to the nearest. Bytes are returned as they are."""
    if pixels.dtype == np.uint8:
        return cast(Pixels, pixels)
    return np.rint(pixels.clip(0, 1) * np.float32(255)).astype(np.uint8)


def animation(frames: Sequence[Pixels], kind: Literal["webp", "gif"]) -> bytes:
    """Write frames, uint8 (H, W, C), as an endless animation: lossless WebP or GIF."""
    first, *others = [to_image(frame) for frame in frames]
    options: dict[str, Any] = {"lossless": True} if kind == "webp" else {}
    out = io.BytesIO()
    first.save(out, kind.upper(), save_all=True, append_images=others, duration=FRAME_MILLISECONDS, loop=0, **options)
    return out.getvalue()


# A picture file as bytes, or as base64 text.
EncodedPicture = bytes | str
