"""Make the file of `--pack`, or use the one that is there if it fits. Knows nothing of what is in the file.

One process writes at a time, into a temporary file beside it that is renamed at the end: after a kill there is no file, or a
whole one. Others who need the same file wait for it.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

try:
    import fcntl
except ImportError:  # pragma: no cover  Windows has no fcntl.
    fcntl = None  # type: ignore[assignment]

from models.files.atomic_file import SUFFIX, make_directory, sync_directory
from models.readers.download import DataError
from models.readers.fingerprint import Fingerprint, fingerprint
from models.readers.folder import FolderOptions
from models.readers.found import Found
from models.readers.left_out import plural
from models.readers.memory import size_text
from models.readers.pack_file import end_pack, read_pack
from models.readers.packed_rows import PackedRows, removed
from models.readers.path_names import shown

Read = Callable[[Path, FolderOptions], Found]


def packed(path: Path, options: FolderOptions, read: Read) -> Found:
    """Return what `read` finds at a path; with `options.pack`, its rows are in that file. Raises DataError."""
    if (pack := options.pack) is None:
        return read(path, options)
    if path.is_dir() and path.resolve() in pack.resolve().parents:
        raise DataError(f"--pack {shown(pack)} lies in the folder {shown(path)} that is read: name a file outside of it")
    was_there = os.path.lexists(pack)
    while not os.path.lexists(pack):
        try:
            make_directory(pack.parent)
            with _temporary(pack) as file:
                if file is not None and not os.path.lexists(pack):
                    _write(path, pack, file, options, read)
        except OSError as error:
            raise DataError(f"cannot write {shown(pack)}: {error.strerror}") from None
    found = _that_fits(path, pack, options)
    if was_there and (missing := found.skipped):
        tqdm.write(
            f"packed: {plural(len(missing), 'file')} could not be read when {shown(pack)} was made, and "
            f"{'is' if len(missing) == 1 else 'are'} not in it ({missing[0]}{', ...' if missing[1:] else ''}); if that is "
            f"mended, {_instead(pack)}"
        )
    return found


def from_file(pack: Path, options: FolderOptions) -> Found:
    """Return what is in a file, whatever has become of its source. Raises DataError if it was prepared otherwise."""
    found, _, made_with = read_pack(pack, options.hold_out == "group")
    if options.model is None:
        usual = _flags(FolderOptions())
        asked = {flag: value for flag, value in _flags(options).items() if value != usual[flag]}
        if other := _different(asked, made_with):
            raise DataError(
                f"{shown(pack)} was packed with other flags: {other}; leave these flags out, or pack the data again"
            )
    elif options.model.stored() != found.preprocessing.stored():
        raise DataError(
            f"{shown(pack)} has pictures prepared as {found.preprocessing.stored()}, and the model takes "
            f"{options.model.stored()}: give the data that were packed instead"
        )
    return found


def _that_fits(path: Path, pack: Path, options: FolderOptions) -> Found:
    """Return what is in the file, if it was made of these data and with these flags. Raises DataError."""
    found, source, made_with = read_pack(pack, options.hold_out == "group")
    instead = _instead(pack)
    if options.model is None and (other := _different(_flags(options), made_with)):
        raise DataError(f"{shown(pack)} was packed with other flags: {other}; give the same flags, or {instead}")
    if options.model is not None and options.model.stored() != found.preprocessing.stored():
        raise DataError(f"{shown(pack)} has pictures that were not prepared for this model: {instead}")
    try:
        was = Fingerprint(**source)
    except TypeError:
        raise DataError(f"{shown(pack)}: not a whole packed data set: its source is not described; {instead}") from None
    if changed := fingerprint(path).changed(was):
        raise DataError(
            f"{shown(path)} is not what {shown(pack)} was packed from: {changed}; {instead}, or train on what it has with "
            f"--data packed:{shown(pack)}"
        )
    tqdm.write(f"packed: the pictures are read from {shown(pack)} ({size_text(pack.stat().st_size)})")
    return found


def _instead(pack: Path) -> str:
    return f"remove {shown(pack)} or name another file to pack the pictures again"


def _write(path: Path, pack: Path, file: int, options: FolderOptions, read: Read) -> None:
    """Read the data into the open temporary file of `pack`, and move it there."""
    source = fingerprint(path)
    rows = list[PackedRows]()

    def store(most: int, shape: tuple[int, ...], what: str) -> PackedRows:
        rows[:] = [PackedRows(file, pack, most, shape, what)]
        return rows[0]

    # Groups of sub-folders are always found, so that the file serves every --validation-split.
    found = read(path, replace(options, store=store, hold_out="group"))
    line = found.summary.pop() if path.is_dir() and found.groups is not None else None
    if changed := fingerprint(path).changed(source):
        raise DataError(f"{shown(path)} changed while it was read: {changed}; start again when it is complete")
    end_pack(rows[0], found, line, source.stored(), _flags(options))
    os.replace(_beside(pack), pack)
    sync_directory(pack.parent)
    tqdm.write(f"packed: {plural(len(found.x), 'picture')} into {shown(pack)}")


@contextmanager
def _temporary(pack: Path) -> Iterator[int | None]:
    """Yield the open, locked temporary file of a pack; None if another process was first, which has ended then.

    The file is removed unless it was moved. One that a killed process left is used again.
    """
    path = _beside(pack)
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        if fcntl is not None and not _locked(file):
            tqdm.write(f"waiting: another process writes {shown(pack)}")
            fcntl.flock(file, fcntl.LOCK_EX)
        own = partial(_is_at, file, path)
        if not own():
            yield None
            return
        try:
            yield file
        finally:
            if own():
                removed(path)
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _beside(pack: Path) -> Path:
    return pack.with_name(f".{pack.name[:100]}{SUFFIX}")


def _flags(options: FolderOptions) -> dict[str, Any]:
    """Return the flags of training that say how pictures become rows, as JSON holds them."""
    values = options.values
    return {
        "size": None if options.size is None else list(options.size),
        "channels": options.channels,
        "fit": options.fit,
        "filter": options.filter,
        "range": None if values.range is None else [float(value) for value in values.range],
        "background": values.background,
        "invert": values.invert,
    }


def _different(asked: Mapping[str, Any], made_with: Mapping[str, Any]) -> str:
    """Say which flags differ; "" if none does."""
    return ", ".join(
        f"{_said(flag, made_with.get(flag))} then, {_said(flag, value)} now"
        for flag, value in asked.items()
        if value != made_with.get(flag)
    )


def _said(flag: str, value: Any) -> str:
    if value is None:
        return f"no --{flag}"
    text = {"size": "x", "range": ","}.get(flag, "").join(f"{one:g}" for one in value) if isinstance(value, list) else value
    return f"--{flag} {text}"
