"""Rows that a kind has read at a path, as batches with ids and metadata. Knows nothing of stores or of HTTP."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from models.readers.download import DataError
from models.readers.path_names import shown
from service.inference.kinds.served_kind import ServedKind
from service.operations.load_sources import LoadError, PictureBatch, Source


def row_sources(paths: Sequence[Path], kind: ServedKind) -> list[Source]:
    """Read all paths. The id of an item is the name of its file and its number there. Raises LoadError."""
    stems = [shown(path.stem) for path in paths]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise LoadError(f"two of the paths are called {twice!r}, and so would be their items: load them apart, or rename one")
    return [_source(path, stem, kind) for path, stem in zip(paths, stems, strict=True)]


def _source(path: Path, stem: str, kind: ServedKind) -> Source:
    try:
        found = kind.read(path)
    except (DataError, OSError, ValueError) as error:
        raise LoadError(str(error)) from None
    ids = [f"{stem}/{i:06d}" for i in range(len(found.x))]
    metadata = [{} if split is None else {"split": split} for split in found.splits or [None] * len(ids)]
    for own, label in zip(metadata, found.labels if found.labels is not None else (), strict=False):
        own["label"] = found.classes[label] if found.classes else int(label)  # type: ignore[assignment]

    def batches(size: int) -> Iterator[PictureBatch]:
        for first in range(0, len(ids), size):
            part = slice(first, first + size)
            yield PictureBatch(ids[part], metadata[part], np.ascontiguousarray(found.x[part]))

    return Source(path, ids, found.summary, batches)
