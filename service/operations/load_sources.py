"""The pictures at a path, as batches with ids and metadata, and what was found there. Knows nothing of stores or of HTTP.

Ids are relative to the path, so that the same folder has the same ids wherever it lies.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.preprocess import Preprocessing
from models.readers.array_files import IDX_IMAGES
from models.readers.arrays import array_lines, open_pictures
from models.readers.download import DataError
from models.readers.formats import SUFFIXES
from models.readers.found import Unread
from models.readers.layout import LOOSE, arrange, class_lines
from models.readers.left_out import counted, listed, plural
from models.readers.path_names import expanded, shown
from models.readers.scan import scan
from models.readers.survey import header_lines, survey
from service.operations.parquet_pictures import PARQUET, ParquetColumns, ParquetRows, open_parquet, parquet_files
from service.store.names import MAX_ID, id_fault

# Of more files than this, only so many headers are read before the pictures are encoded.
SURVEYED = 5000


class LoadError(Exception):
    """A path holds no pictures, or holds pictures that cannot be loaded."""


class Interrupted(LoadError):
    """A load ended for a reason that does not lie in what is loaded, so that the same load can go on later."""


@dataclass(slots=True)
class PictureBatch:
    """Pictures to be added, each with an id and metadata: files, rows of a Parquet file that have files, or pixels.

    Files are paths as texts: a process that receives a Path needs as long for it as for reading a small file. Pixels are rows
    (N, C, H, W) as the model takes them.
    """

    ids: list[str]
    metadata: list[dict[str, Any]]
    pictures: list[str] | ParquetRows | NDArray[np.uint8]

    def only(self, indices: Sequence[int]) -> "PictureBatch":
        """Return the pictures with these indices."""
        own = self.pictures
        pictures: list[str] | ParquetRows | NDArray[np.uint8]
        if isinstance(own, ParquetRows):
            pictures = own.only(indices)
        else:
            pictures = [own[i] for i in indices] if isinstance(own, list) else own[list(indices)]
        return PictureBatch([self.ids[i] for i in indices], [self.metadata[i] for i in indices], pictures)


@dataclass(slots=True)
class Source:
    """The pictures at a path. `batches(size)` reads them, at most `size` at a time; `summary` says what was found."""

    path: Path
    ids: list[str]
    summary: list[str]
    batches: Callable[[int], Iterator[PictureBatch]]
    places: list[Path] | None = None  # the path of each picture, if they do not lie below `path`
    names: Sequence[Path] | None = None  # the name of each picture, if they are files: ids are made of them
    column: str | None = None  # the column of a Parquet file that has the pictures
    unread: list[Unread] = field(default_factory=list)  # what was left out while it was looked at, beside `ids`

    def place(self, i: int) -> Path:
        """Return the path that the user gave for a picture."""
        return self.path if self.places is None else self.places[i]

    @property
    def count(self) -> int:
        """Return the number of pictures, those that turn out to be corrupt included."""
        return len(self.ids)


def sources_of(
    paths: Sequence[Path], spec: Preprocessing, prefix: bool = False, columns: ParquetColumns | None = None
) -> list[Source]:
    """Look at all paths; single pictures together are one source. Raises LoadError, also if two pictures have the same id.

    `columns`: those of Parquet files. None: the only one with pictures, without ids or metadata.
    """
    paths = [expanded(path) for path in paths]
    real = [os.path.realpath(path) for path in paths]
    if twice := [path for i, path in enumerate(paths) if real[i] in real[:i]]:
        raise LoadError(f"{shown(twice[0])} is given twice, perhaps under another name; give it once; nothing was stored")
    if missing := [path for path in paths if not path.exists() and not path.is_symlink()]:
        raise LoadError(f"{shown(missing[0])}: no such file or folder; check the path; nothing was stored")
    pictures = [path for path in paths if path.suffix.lower() in SUFFIXES and not path.is_dir()]
    sources = [one for path in paths if path not in pictures for one in _sources(path, spec, prefix, columns)]
    if pictures:
        _refuse(columns, pictures[0])
        names = [Path(_folder_name(path), path.name) if prefix else Path(path.name) for path in pictures]
        summary = [plural(len(pictures), "single picture"), *_surveyed(pictures, spec)]
        sources.append(_files(pictures[0], pictures, names, [{}] * len(pictures), summary))
        sources[-1].places = pictures
    check_ids(sources, prefix)
    return sources


def _sources(path: Path, spec: Preprocessing, prefix: bool, columns: ParquetColumns | None) -> list[Source]:
    """Return the sources at a path: one, or one for each Parquet file of a folder. Raises LoadError."""
    columns = columns or ParquetColumns()
    files = [path] if path.suffix.lower() == PARQUET and not path.is_dir() else []
    if path.is_dir():
        files = parquet_files(path)
    if not files:
        _refuse(columns, path)
        return [source_of(path, spec, prefix)]
    names = [file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem for file in files]
    stems = [f"{_folder_name(path)}/{name}" if prefix else name for name in names]
    try:
        return [_parquet(file, shown(stem), columns) for file, stem in zip(files, stems, strict=True)]
    except DataError as error:
        raise LoadError(f"{error}; nothing was stored") from None


def _refuse(columns: ParquetColumns | None, path: Path) -> None:
    """Raise LoadError if columns are named, for a path that has none."""
    if columns not in (None, ParquetColumns()):
        raise LoadError(
            f"--id-column, --metadata-columns and --picture-column are for Parquet files and for tables, and {shown(path)} is "
            "neither; leave them out; nothing was stored"
        )


def source_of(path: Path, spec: Preprocessing, prefix: bool = False) -> Source:
    """Look at a folder of pictures, or a file of arrays (npz, npy, IDX). Raises LoadError.

    `spec` is the model's preparation of pictures. With `prefix`, ids begin with the name of the folder.
    """
    try:
        found = _folder(path, spec) if path.is_dir() else _arrays(path, spec)
    except DataError as error:
        raise LoadError(str(error)) from None
    return _named(found, [f"{shown(_folder_name(path))}/{id}" for id in found.ids]) if prefix else found


def _folder_name(path: Path) -> str:
    """Return the name of a folder, or of the folder that a file lies in."""
    return (path if path.is_dir() else path.absolute().parent).resolve().name


def check_ids(sources: Sequence[Source], prefix: bool = False, of: str = "picture") -> None:
    """Raise LoadError if two pictures, or whatever `of` says, have the same id, because only one of them would be stored."""
    seen: dict[str, tuple[Source, int]] = {}
    same: list[tuple[str, tuple[Source, int], tuple[Source, int]]] = []
    for source in sources:
        for i, id in enumerate(source.ids):
            if id in seen:
                same.append((id, seen[id], (source, i)))
            seen.setdefault(id, (source, i))
    if not same:
        return
    id, first, second = same[0]
    one, other = (source.place(i) for source, i in (first, second))
    files = [str(source.names[i]) for source, i in (first, second) if source.names is not None]
    if len(set(files)) == 2 and any(shown(name) != name for name in files):
        raise LoadError(
            f"{shown(one.parent if one != other else one)}: the {of}s with the names {files[0]!r} and {files[1]!r} (as Python "
            f"writes them) would both have the id {id!r}, since an id has neither control characters nor bytes that are not "
            "UTF-8; rename one of them; nothing was stored"
        )
    if one == other:
        raise LoadError(f"{shown(one)}: two of its {of}s have the id {id!r}; rename one of them; nothing was stored")
    advice = "" if prefix else "add --prefix, which puts the name of the folder before each id, or "
    raise LoadError(
        f"{plural(len(same), of)} of {shown(other)} would have the same ids as others, such as {id!r}, which is "
        f"also in {shown(one)}; nothing was stored; {advice}load the paths into different collections"
    )


def _folder(root: Path, spec: Preprocessing) -> Source:
    there = scan(root)
    layout = arrange(root, there.relative)
    told = [(label and shown(label), split) for label, split in zip(layout.labels, layout.splits, strict=True)]
    # Pictures of a class share one object.
    shared = {one: {key: value for key, value in zip(("label", "split"), one, strict=True) if value} for one in set(told)}
    metadata = [shared[one] for one in told]
    labels = [label for label in layout.labels if label]
    splits = [one["split"] for one in metadata if "split" in one]
    loose = [shown(name) for name, kept in zip(there.relative, layout.kept, strict=True) if not kept]
    summary = [
        f"{shown(root)}: {plural(len(there.files), 'picture')}",
        *(["splits: " + counted({split: splits.count(split) for split in dict.fromkeys(splits)})] if splits else []),
        *([f"{LOOSE}, loaded without a split: {len(loose):,} ({listed(loose)})"] if loose else []),
        *_surveyed(there.files, spec),
        *(class_lines(labels) if labels else []),
        *layout.remarks,
        *there.left_out.lines(),
    ]
    return _files(root, there.files, there.relative, metadata, summary)


def _surveyed(files: Sequence[Path], spec: Preprocessing) -> list[str]:
    """Return lines about what the headers of files say; of many files, about some that are spread evenly."""
    some = files if len(files) <= SURVEYED else [files[i * len(files) // SURVEYED] for i in range(SURVEYED)]
    headers = [header for header in survey(some) if header is not None]
    only = [f"looked at the headers of {len(some):,} of the {len(files):,} pictures:"] if len(some) < len(files) else []
    return [*only, *header_lines(headers, spec)] if headers else []


def _files(path: Path, files: list[Path], relative: list[Path], metadata: list[dict[str, Any]], summary: list[str]) -> Source:
    ids = [shortened(shown(name.as_posix())) for name in relative]

    def batches(size: int) -> Iterator[PictureBatch]:
        for first in range(0, len(files), size):
            own = slice(first, first + size)
            yield PictureBatch(ids[own], metadata[own], list(map(str, files[own])))

    return Source(path, ids, summary, batches, names=relative)


def _parquet(path: Path, stem: str, columns: ParquetColumns) -> Source:
    found = open_parquet(path, columns)
    ids = found.ids or [shortened(f"{stem}/{i:06d}") for i in range(found.count)]
    for row, id in enumerate(ids):
        if fault := id_fault(id):
            raise LoadError(f"{shown(path)}: row {row}: '{shown(id[:80])}' cannot be an id: {fault}; nothing was stored")

    def batches(size: int) -> Iterator[PictureBatch]:
        for numbers, rows, metadata in found.parts(size):
            yield PictureBatch(ids[numbers.start : numbers.stop], metadata, rows)

    return Source(path, ids, [found.line], batches, column=found.picture)


def _arrays(path: Path, spec: Preprocessing) -> Source:
    stem = shown(path.name.partition("-" + IDX_IMAGES)[0] if IDX_IMAGES in path.name else path.stem)
    wanted = (spec.height, spec.width)
    with open_pictures(path, wanted) as found:
        scale = found.scale(spec.range, served=True)
        count, labels, splits = len(found), found.labels, found.splits
        summary = [f"{shown(path)}: {plural(count, 'picture')}", *array_lines(found, scale, spec)]
        ids = [
            f"{stem}/{part.split}/{i:06d}" if part.split else f"{stem}/{i:06d}"
            for part, shape in found.parts
            for i in range(shape.count)
        ]
        if others := [str(array) for array in found.others.values()]:
            summary.append(f"left out: the arrays {listed(others, most=5)}")
    if splits:
        summary.insert(1, "splits: " + counted({split: splits.count(split) for split in dict.fromkeys(splits)}))

    def batches(size: int) -> Iterator[PictureBatch]:
        with open_pictures(path, wanted) as found:
            if len(found) != count:
                raise DataError(f"{shown(path)} has changed while it was read")
            for first, block in found.pixels(scale, spec):
                for start in range(0, len(block), size):
                    rows = np.ascontiguousarray(block[start : start + size])
                    where = range(first + start, first + start + len(rows))
                    own = [{"label": labels[i]} if labels else {} for i in where]
                    if splits:
                        own = [{**values, "split": splits[i]} for values, i in zip(own, where, strict=True)]
                    yield PictureBatch([ids[i] for i in where], own, rows)

    return Source(path, ids, summary, batches)


def _named(source: Source, ids: list[str]) -> Source:
    """Return the source with other ids."""
    names = dict(zip(source.ids, ids, strict=True))

    def batches(size: int) -> Iterator[PictureBatch]:
        for batch in source.batches(size):
            batch.ids = [shortened(names[id]) for id in batch.ids]
            yield batch

    return replace(source, ids=[shortened(id) for id in ids], batches=batches)


def shortened(id: str) -> str:
    """Return a path as an id. One that is too long is cut, and gets a digest so that it stays unique."""
    if len(id) <= MAX_ID:
        return id
    digest = hashlib.sha256(id.encode()).hexdigest()[:16]
    return f"{digest}...{id[-(MAX_ID - len(digest) - 3) :]}"
