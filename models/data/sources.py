"""The table of data sources: what `--data` takes -> the kind of the data and the function that reads them.

To add a source, add one line below. Knows nothing of models or objectives.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from models.data.items import Splits
from models.data.picture_sources import SPRITES, advice, read_idx_set, read_npz, read_packed, read_pictures, read_sprites
from models.data.sequence_sources import OMNIGLOT, read_corpus, read_drawings, read_omniglot
from models.data.table_sources import (
    CSV_SUFFIXES,
    NOT_A_SPREADSHEET,
    PARQUET_SUFFIXES,
    SPREADSHEETS,
    read_csv,
    read_parquet,
)
from models.kinds import kind_of
from models.kinds.kind import Kind
from models.readers.download import DataError
from models.readers.path_names import expanded, shown
from models.readers.read_options import ReadOptions


class Source(NamedTuple):
    """Data that one function reads. `suffixes` are those of files that this source, and no other, is right for."""

    kind: str
    # (what follows the prefix, or the name; directory of data sets; options of the kind, or None; mirror) -> splits
    read: Callable[[str, Path, ReadOptions | None, str | None], Splits]
    suffixes: tuple[str, ...] = ()


# Maps a name, or a prefix that a path follows, to its source.
SOURCES: dict[str, Source] = {
    "mnist": Source("picture", read_idx_set),
    "fashion-mnist": Source("picture", read_idx_set),
    SPRITES: Source("picture", read_sprites),
    OMNIGLOT: Source("strokes", read_omniglot),
    "folder:": Source("picture", read_pictures),
    "npz:": Source("picture", read_npz),
    "packed:": Source("picture", read_packed),
    "csv:": Source("table", read_csv, CSV_SUFFIXES),
    "parquet:": Source("table", read_parquet, PARQUET_SUFFIXES),
    "strokes:": Source("strokes", read_drawings, (".ndjson", ".jsonl")),
    "text:": Source("text", read_corpus, (".abc", ".txt")),
}


# What `--pack` makes a file of.
PACKED_FROM = ("folder:", "npz:")


def load_data(name: str, data_dir: Path, options: ReadOptions | None = None, mirror: str | None = None) -> Splits:
    """Load a data set by name, or by a prefix and a path. Raises DataError with the reason.

    Data of the user have the splits that their folders or arrays name. Without a test split, one tenth of the training items
    becomes it, always the same ones.
    """
    prefix, rest = parts(name)
    if options is not None and options.pack and prefix in SOURCES and prefix not in PACKED_FROM:
        kinds = " and ".join(f"{one}PATH" for one in PACKED_FROM)
        raise DataError(f"--pack FILE is for {kinds}, not for {shown(name)}: give --data folder:PATH, or leave --pack out")
    if prefix in SOURCES and rest:
        return SOURCES[prefix].read(rest, data_dir, options, mirror)
    path = expanded(rest or name)
    hint = ""
    if name and path.exists():
        hint = f"; it is a {'folder' if path.is_dir() else 'file'}: {advised(path)}"
    elif path.suffix.lower() in SPREADSHEETS or prefix.partition(":")[0].lower() in ("excel", "xlsx", "xls", "ods"):
        hint = f"; {NOT_A_SPREADSHEET}"
    elif "/" in name:
        hint = f"; there is no file or folder {shown(path)} either"
    raise DataError(f"unknown data set {shown(name)!r}; known: {', '.join(known())}{hint}")


def parts(name: str) -> tuple[str, str]:
    """Return the key of a data set in SOURCES, and what its function reads: ("npz:", "x.npz"), ("mnist", "mnist")."""
    prefix, colon, rest = name.partition(":")
    return (prefix + colon, rest) if prefix + colon in SOURCES and colon else (name, name)


def known() -> list[str]:
    """Return what `--data` takes."""
    return [f"{key}PATH" if key.endswith(":") else key for key in SOURCES]


def is_own(name: str) -> bool:
    """Return whether these are data of the user, not a data set with a name."""
    return parts(name)[0].endswith(":")


def data_kind(name: str) -> Kind:
    """Return the kind of a data set; pictures if there is none of that name, which `load_data` says."""
    source = SOURCES.get(parts(name)[0])
    return kind_of("picture" if source is None else source.kind)


def advised(path: Path) -> str:
    """Return what to give to --data for a path of the user."""
    for prefix, source in SOURCES.items():
        if path.suffix.lower() in source.suffixes:
            return f"use --data {prefix}{shown(path)}"
    return NOT_A_SPREADSHEET if path.suffix.lower() in SPREADSHEETS else advice(path)
