"""Pictures and arrays as a client sends and reads them: arrays <-> bytes of any kind. Knows nothing of the service."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def encoded(pixels: Pixels, kind: str = "PNG", **options: Any) -> bytes:
    """uint8 (H, W) or (H, W, 3) -> a picture file."""
    return picture_bytes(Image.fromarray(pixels), kind, **options)


def picture_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A Pillow picture -> a picture file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def npy(array: NDArray[Any]) -> bytes:
    """An array as numpy.save writes it."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def from_npy(content: bytes) -> NDArray[Any]:
    """Read an npy file with numpy.load."""
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def decoded(content: bytes) -> Pixels:
    """A picture file -> uint8 (H, W) or (H, W, 3)."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def frames(content: bytes) -> list[Pixels]:
    """All frames of a picture file, as grey."""
    with Image.open(io.BytesIO(content)) as image:
        found = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append(np.asarray(image.convert("L")))
        return found


def decoded_all(texts: Sequence[str]) -> Pixels:
    """Base64 picture files of one size -> uint8 (N, H, W) or (N, H, W, 3)."""
    return np.stack([decoded(base64.b64decode(one)) for one in texts])
