"""Read a folder of PNG, JPEG and WebP pictures, nested to any depth, into uint8 tensors of one size.

Corrupt files are reported by name and skipped, up to a limit. Knows nothing of models or training.
"""

import io
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from models.files.regular_file import open_regular
from models.preprocess import Filter, Fit, Pixels, Preprocessing, preprocess, upright_size
from models.readers.download import DataError
from models.strip_metadata import strip_metadata

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Above this side length, the user must give a size: training on whole photographs is hardly ever intended.
MAX_OWN_SIDE = 128
GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I")


@dataclass(frozen=True)
class FolderOptions:
    """Options that bring a folder's pictures to one shape. `size` (H, W) and `channels` default to those of the pictures."""

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: Fit = "crop"
    filter: Filter = "bilinear"
    max_corrupt: float = 0.01  # largest share of unreadable files


def read_folder(root: Path, options: FolderOptions) -> tuple[Tensor, Tensor | None]:
    """Return pixels, uint8 (N, C, H, W), by sorted path, and labels (N,) if there are several first-level folders.

    Raises DataError if there is no such folder, no picture, too many corrupt files, or if the user must choose a size.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    paths = sorted(
        Path(directory, name) for directory, _, names in os.walk(root) for name in names if name.lower().endswith(SUFFIXES)
    )
    if not paths:
        raise DataError(f"{root}: contains no {', '.join(SUFFIXES)} files")
    spec = choose_preprocessing(paths, options)
    pixels, kept, corrupt = [], [], []
    with ThreadPoolExecutor() as pool:  # Pillow releases the interpreter lock while it decodes.
        found = tqdm(pool.map(lambda path: _read(path, spec), paths), "reading pictures", len(paths), disable=None)
        for path, picture in zip(paths, found, strict=True):
            if isinstance(picture, str):
                corrupt.append(f"{path}: {picture}")
            else:
                pixels.append(picture)
                kept.append(path)
    for line in corrupt:
        tqdm.write(f"skipped {line}")
    if len(corrupt) > options.max_corrupt * len(paths):
        raise DataError(
            f"{len(corrupt)} of {len(paths)} pictures in {root} are corrupt, more than the allowed share of "
            f"{options.max_corrupt:g} (--max-corrupt); the first one is {corrupt[0]}"
        )
    return torch.from_numpy(np.stack(pixels)), _labels(root, kept)


def choose_preprocessing(paths: list[Path], options: FolderOptions) -> Preprocessing:
    """Choose the shape that was asked for, otherwise the most frequent one. Raises DataError."""
    sizes: Counter[tuple[int, int]] = Counter()
    grey = True
    for path in paths:
        try:
            with open_regular(path) as file, Image.open(file) as image:
                sizes[upright_size(image)] += 1
                grey = grey and image.mode in GREY_MODES
        except Exception:  # noqa: S112  A hostile file may raise anything. `_read` reports it.
            continue
    if options.size is None and sizes and max(sizes.most_common(1)[0][0]) > MAX_OWN_SIDE:
        height, width = sizes.most_common(1)[0][0]
        raise DataError(f"the pictures are {width} wide and {height} high; choose a size to train on, such as --size 64x64")
    if options.size is None and not sizes:
        raise DataError(f"{len(paths)} of {len(paths)} pictures are corrupt")
    height, width = options.size or sizes.most_common(1)[0][0]
    return Preprocessing(options.channels or (1 if grey else 3), height, width, options.fit, options.filter)


def _read(path: Path, spec: Preprocessing) -> Pixels | str:
    """Return the picture's pixels, or the reason why it cannot be read."""
    try:
        with open_regular(path) as file:
            data = strip_metadata(file.read())
        with Image.open(io.BytesIO(data)) as image:
            return preprocess(image, spec)
    except OSError as error:
        return str(error.strerror or error)
    except Exception as error:  # Pillow's decoders raise many types of exceptions.
        return f"{type(error).__name__}: {error}"


def _labels(root: Path, paths: list[Path]) -> Tensor | None:
    names = [path.relative_to(root).parts[0] for path in paths if len(path.relative_to(root).parts) > 1]
    classes = sorted(set(names))
    if len(names) < len(paths) or len(classes) < 2:
        return None
    return torch.tensor([classes.index(name) for name in names])
