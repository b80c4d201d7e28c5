"""Pictures for the benchmark of bulk encoding, as files, in Parquet and as an array. Knows nothing of models."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from models.preprocess import Pixels

DIGITS = Path(__file__).parent.parent / "tests" / "data" / "digits.npz"
DIFFERENT, FOLDER, ROW_GROUP = 2048, 1000, 5000


def make_pictures(channels: int, height: int, width: int) -> Pixels:
    """Return pictures (N, C, H, W): digits of MNIST if they have this size, else thick strokes on black in each channel."""
    with np.load(DIGITS) as digits:
        if digits["images"].shape[1:] == (height, width) and channels == 1:
            return np.resize(digits["images"][:, None], (DIFFERENT, 1, height, width))
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    t = np.linspace(0, 1, 12, dtype=np.float32)
    found = np.zeros((DIFFERENT, channels, height, width), np.uint8)
    for picture in found.reshape(-1, height, width):
        a, b, c = rng.uniform(0.2, 0.8, (3, 2)) * (height, width)
        points = np.outer((1 - t) ** 2, a) + np.outer(2 * t * (1 - t), b) + np.outer(t**2, c)
        nearest = np.min([(y - one[0]) ** 2 + (x - one[1]) ** 2 for one in points], axis=0)
        picture[:] = 255 * np.exp(-nearest / (0.0025 * height * width)).clip(0, 1)
        picture[picture < 16] = 0
    return found


def write_sources(root: Path, pictures: Pixels, count: int) -> dict[str, Path]:
    """Write so many pictures in each way that is measured, unless they are there; they repeat."""
    found = {"PNG files": root / "png", "PNG in Parquet": root / "pictures.parquet", "pixels in npy": root / "pictures.npy"}
    if found["pixels in npy"].exists():  # It is written last.
        return found
    contents = [_as_pillow_writes_it(picture) for picture in pictures]
    for i in range(count):
        path = root / "png" / f"{i // FOLDER:04d}" / f"{i:07d}.png"
        if i % FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(contents[i % DIFFERENT])
    rows = pa.table({"image": [contents[i % DIFFERENT] for i in range(count)]})
    pq.write_table(rows, root / "pictures.parquet", row_group_size=ROW_GROUP)
    repeated = np.resize(np.arange(DIFFERENT), count)
    array = pictures[:, 0] if pictures.shape[1] == 1 else pictures.transpose(0, 2, 3, 1)
    np.save(root / "pictures.npy", array[repeated])
    return found


def _as_pillow_writes_it(picture: Pixels) -> bytes:
    """Return a PNG file of a picture (C, H, W)."""
    out = io.BytesIO()
    Image.fromarray(picture[0] if len(picture) == 1 else np.ascontiguousarray(picture.transpose(1, 2, 0))).save(out, "PNG")
    return out.getvalue()
