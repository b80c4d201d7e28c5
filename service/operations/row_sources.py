"""Rows that a kind has read at a path, as batches with ids and metadata. Knows nothing of stores or of HTTP."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.readers.download import DataError
from models.readers.found import Unread, numbered
from models.readers.path_names import shown
from service.inference.kinds.served_kind import ServedKind
from service.operations.load_sources import LoadError, PictureBatch, Source, check_ids, shortened
from service.store.names import MAX_ID, is_item_id

# Ids of the rows of a file, None if it has none, and their metadata.
Named = tuple[list[str] | None, list[Any]]


def row_sources(paths: Sequence[Path], kind: ServedKind, named: Callable[[Path], Named] | None = None) -> list[Source]:
    """Read all paths. `named` reads ids and metadata that a file has. Raises LoadError.

    Without ids of its own, the id of an item is the name of its file or folder, and its number or its path there.
    """
    stems = [shown(path.stem) for path in paths]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise LoadError(f"two of the paths are called {twice!r}, and so would be their items: load them apart, or rename one")
    sources = [_source(path, stem, kind, named) for path, stem in zip(paths, stems, strict=True)]
    if named is not None:
        check_ids(sources, of="row", prefix=True)
    return sources


def _source(path: Path, stem: str, kind: ServedKind, named: Callable[[Path], Named] | None) -> Source:
    try:
        found = kind.read(path)
    except (DataError, OSError, ValueError) as error:
        raise LoadError(str(error)) from None
    names = map(numbered, range(len(found.x))) if found.names is None else found.names
    ids = [shortened(f"{stem}/{name}") for name in names]
    unread = [Unread(shortened(f"{stem}/{name}"), f"{shown(path)}, {place}", why) for name, place, why in found.unread]
    metadata: list[dict[str, Any]] = [{} if split is None else {"split": split} for split in found.splits or [None] * len(ids)]
    for own, label in zip(metadata, found.labels if found.labels is not None else (), strict=False):
        own["label"] = found.classes[label] if found.classes else int(label)
    if named is not None:
        try:
            own_ids, more = named(path)
        except (DataError, OSError, ValueError) as error:
            raise LoadError(f"{shown(path)}: {error}") from None
        ids = ids if own_ids is None else own_ids
        if wrong := next((id for id in ids if not is_item_id(id) or {".", ".."} & set(id.split("/"))), None):
            raise LoadError(
                f"{shown(path)}: {shown(wrong[:80])!r} cannot be an id: use up to {MAX_ID} characters, no control "
                "characters, and neither '.' nor '..' between slashes"
            )
        metadata = [own | others for own, others in zip(metadata, more or [{}] * len(ids), strict=True)]

    def batches(size: int) -> Iterator[PictureBatch]:
        for first in range(0, len(ids), size):
            part = slice(first, first + size)
            yield PictureBatch(ids[part], metadata[part], np.ascontiguousarray(found.x[part]))

    return Source(path, ids, found.summary, batches, unread=unread)
