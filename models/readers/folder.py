"""A folder of pictures -> uint8 tensors of one size: any nesting, PNG, JPEG and WebP.

Corrupt files are reported by name and skipped, up to a stated share. Knows nothing of models or training.
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
# a side above which the size has to be asked for: a net for whole photographs is hardly ever what is meant
MAX_OWN_SIDE = 128
GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I")


@dataclass(frozen=True)
class FolderOptions:
    """How a folder's pictures become one shape. `size` (H, W) and `channels` are the pictures' own when left out."""

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: Fit = "crop"
    filter: Filter = "bilinear"
    max_corrupt: float = 0.01  # share of files that may be unreadable


def read_folder(root: Path, options: FolderOptions) -> tuple[Tensor, Tensor | None]:
    """uint8 (N, C, H, W) in the order of the sorted paths; labels (N,) by first-level folder where there are several.

    Raises DataError: no such folder, no pictures, too many of them corrupt, or a size that has to be chosen.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    paths = sorted(
        Path(directory, name) for directory, _, names in os.walk(root) for name in names if name.lower().endswith(SUFFIXES)
    )
    if not paths:
        raise DataError(f"{root}: no {', '.join(SUFFIXES)} files in it")
    spec = choose_preprocessing(paths, options)
    pixels, kept, corrupt = [], [], []
    with ThreadPoolExecutor() as pool:  # Pillow decodes without the interpreter lock
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
            f"{len(corrupt)} of {len(paths)} pictures in {root} are corrupt, more than the share of "
            f"{options.max_corrupt:g} that is allowed (--max-corrupt); the first one is {corrupt[0]}"
        )
    return torch.from_numpy(np.stack(pixels)), _labels(root, kept)


def choose_preprocessing(paths: list[Path], options: FolderOptions) -> Preprocessing:
    """The shape that was asked for, else the one that most pictures have. Raises DataError."""
    sizes: Counter[tuple[int, int]] = Counter()
    grey = True
    for path in paths:
        try:
            with open_regular(path) as file, Image.open(file) as image:
                sizes[upright_size(image)] += 1
                grey = grey and image.mode in GREY_MODES
        except Exception:  # noqa: S112  a hostile file may raise anything; reported when its pixels are read
            continue
    if options.size is None and sizes and max(sizes.most_common(1)[0][0]) > MAX_OWN_SIDE:
        height, width = sizes.most_common(1)[0][0]
        raise DataError(f"the pictures are {width} wide and {height} high; say which size to train on: --size 64x64")
    if options.size is None and not sizes:
        raise DataError(f"{len(paths)} of {len(paths)} pictures are corrupt")
    height, width = options.size or sizes.most_common(1)[0][0]
    return Preprocessing(options.channels or (1 if grey else 3), height, width, options.fit, options.filter)


def _read(path: Path, spec: Preprocessing) -> Pixels | str:
    """The picture's pixels, or why there are none."""
    try:
        with open_regular(path) as file:
            data = strip_metadata(file.read())
        with Image.open(io.BytesIO(data)) as image:
            return preprocess(image, spec)
    except OSError as error:
        return str(error.strerror or error)
    except Exception as error:  # Pillow's decoders raise many types for bytes that are not a picture
        return f"{type(error).__name__}: {error}"


def _labels(root: Path, paths: list[Path]) -> Tensor | None:
    names = [path.relative_to(root).parts[0] for path in paths if len(path.relative_to(root).parts) > 1]
    classes = sorted(set(names))
    if len(names) < len(paths) or len(classes) < 2:
        return None
    return torch.tensor([classes.index(name) for name in names])
