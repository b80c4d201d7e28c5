"""Writes small picture files for the tests of readers."""

from pathlib import Path

import numpy as np
from PIL import Image


def write(path: Path, level: int = 0, size: tuple[int, int] = (6, 4), mode: str = "L") -> Path:
    """Write a picture of one grey, size (W, H)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).convert(mode).save(path)
    return path


def write_all(root: Path, *names: str) -> None:
    """Write a picture of its own grey for each name."""
    for i, name in enumerate(names):
        write(root / name, i)


def many(folder: str, count: int = 6) -> list[str]:
    """Return names of pictures in a folder."""
    return [f"{folder}/{i:02}.png" for i in range(count)]


def noise(*shape: int, seed: int = 0) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Return random bytes."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
