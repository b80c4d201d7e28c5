"""Loads many pictures from files into a collection, at the encoder's speed. Knows nothing of HTTP.

Items that are already there are not encoded again, so that an interrupted load continues where it stopped.
"""

import asyncio
import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.files.regular_file import open_regular, read_regular
from service.formats.npy import picture_rows
from service.formats.pictures import Pictures
from service.inference.pipeline import Inference, Pipeline
from service.store.interface import Collection, Items, LatentStore

BATCH = 1024
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


class LoadError(Exception):
    """A path that holds no pictures."""


@dataclass(slots=True)
class PictureBatch:
    """Pictures to be added: files to be read, or rows (N, H, W) or (N, H, W, C); each with an id and perhaps a label."""

    ids: list[str]
    pictures: list[Path] | NDArray[np.uint8]
    labels: list[int] | None = None

    def without(self, known: set[str]) -> "PictureBatch":
        """Return only those that are not known yet."""
        new = [i for i, id in enumerate(self.ids) if id not in known]
        pictures = [self.pictures[i] for i in new] if isinstance(self.pictures, list) else self.pictures[new]
        labels = None if self.labels is None else [self.labels[i] for i in new]
        return PictureBatch([self.ids[i] for i in new], pictures, labels)


@dataclass(slots=True)
class Source:
    """The pictures at a path."""

    count: int
    batches: Iterator[PictureBatch]


def source_of(path: Path) -> Source:
    """Open a picture, a folder of them, npz (images or x, and labels) or IDX as MNIST has. Raises LoadError."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        ids = [file.relative_to(path).as_posix() for file in files]
    elif path.suffix.lower() in SUFFIXES:
        files, ids = [path], [path.name]
    elif path.suffix == ".npz":
        return _rows(path.stem, *_npz(path))
    elif IMAGES in path.name:
        return _rows(path.name.partition("-" + IMAGES)[0], *_idx(path))
    else:
        raise LoadError(f"{path}: neither a picture, a folder, an npz file nor an IDX file")
    if not files:
        raise LoadError(f"{path} contains no pictures")
    starts = range(0, len(files), BATCH)
    return Source(len(files), (PictureBatch(ids[i : i + BATCH], files[i : i + BATCH]) for i in starts))


def _rows(stem: str, rows: NDArray[Any], labels: NDArray[Any] | None) -> Source:
    if rows.dtype != np.uint8 or rows.ndim not in (3, 4):
        raise LoadError(f"{stem}: pictures must be uint8 (N, H, W) or (N, H, W, C), but these are {rows.dtype} {rows.shape}")

    def batches() -> Iterator[PictureBatch]:
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            ids = [f"{stem}/{i:06d}" for i in range(start, start + len(part))]
            yield PictureBatch(ids, part, None if labels is None else labels[start : start + BATCH].tolist())

    return Source(len(rows), batches())


def _npz(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    try:
        with open_regular(path) as file, zipfile.ZipFile(file), np.load(file, allow_pickle=False) as arrays:
            name = next((name for name in ("images", "x") if name in arrays), None)
            if name is None:
                raise LoadError(f"{path} has no array 'images' or 'x'; it has {', '.join(arrays)}")
            return arrays[name], arrays.get("labels")
    except (OSError, ValueError, EOFError, MemoryError, zlib.error, zipfile.BadZipFile) as error:
        raise LoadError(f"{path}: {error}") from None


def _idx(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    labels = path.with_name(path.name.replace(IMAGES, LABELS))
    rows = _idx_array(path, 3)
    return rows, _idx_array(labels, 1) if labels.exists() else None


def _idx_array(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read IDX (yann.lecun.com/exdb/mnist): a magic number, sizes in big endian, then bytes."""
    try:
        data = gzip.decompress(read_regular(path)) if path.suffix == ".gz" else read_regular(path)
        shape = np.frombuffer(data, ">u4", dimensions, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape.tolist())
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise LoadError(f"{path}: {error}") from None


def _picture(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror}") from None


async def load(
    pipeline: Pipeline, store: LatentStore, collection: Collection, source: Source, progress: Callable[[int], object]
) -> int:
    """Encode and add what is not there yet; one batch is stored while the next is encoded. Return how many were added.

    Raises BadInput, BatcherError, StoreError.
    """
    inference = Inference(pipeline.catalog.get(collection.model))
    storing: asyncio.Task[int] | None = None
    added = 0
    try:
        for batch in source.batches:
            known = set((await store.get(collection.name, batch.ids)).ids)
            progress(len(known))
            new = batch.without(known)
            if not new.ids:
                continue
            items = await _encode(pipeline, new, inference)
            if storing is not None:
                progress(await storing)
            storing = asyncio.create_task(_store(store, collection, items))
            added += len(items)
    finally:
        if storing is not None:
            progress(await storing)
    return added


async def _store(store: LatentStore, collection: Collection, items: Items) -> int:
    await store.upsert(collection.name, collection.digest, items)
    return len(items)


async def _encode(pipeline: Pipeline, batch: PictureBatch, inference: Inference) -> Items:
    if isinstance(batch.pictures, list):
        pictures = Pictures(await asyncio.to_thread(list, map(_picture, batch.pictures)))
    else:
        pictures = Pictures(rows=picture_rows(batch.pictures, inference.model.shape))
    rows = await pipeline.encode(pictures, inference)
    metadata = [b"{}"] * len(rows) if batch.labels is None else [orjson.dumps({"label": label}) for label in batch.labels]
    keys = frozenset(() if batch.labels is None else ("label",))
    mu, sigma = (np.ascontiguousarray(rows[:, i]) for i in (0, 1))
    return Items(batch.ids, mu, sigma, np.ones(len(rows), np.bool_), metadata, keys)
