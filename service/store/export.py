"""Export of a store: a collection into npz and JSON lines, or a copy of a sqlite file. Knows nothing of models."""

import asyncio
import os
import sqlite3
import stat
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import orjson

from service.store.interface import DiskFull, Items, LatentStore, StoreUnusable
from service.store.output_files import check_output, written
from service.store.sqlite.file import APPLICATION_ID
from service.store.sqlite.identity import COMPANIONS

PAGE = 1000
ARRAYS = {"mu.npy", "sigma.npy", "has_sigma.npy"}
LINE_KEYS = {"id", "seq", "metadata"}
MAX_LINE = 1 << 20


async def dump(
    store: LatentStore,
    name: str,
    out: Path,
    progress: Callable[[int], object] = lambda count: None,
    sources: Sequence[Path] = (),
) -> int:
    """Write OUT.npz (mu, sigma (N, D), has_sigma (N,)) and OUT.jsonl (id, seq, metadata; line i is row i). Return N.

    The collection is read page by page, so changes meanwhile may be in the dump or not. Both files are written or neither,
    unless the process is killed between the two. They replace only an earlier dump, never one of the `sources`. Raises
    StoreError.
    """
    arrays = check_output(Path(f"{out}.npz"), _is_arrays, "dump", sources)
    lines = check_output(Path(f"{out}.jsonl"), _is_lines, "dump", sources)
    dim = (await store.collection(name)).dim
    pages: list[Items] = []
    while (page := await store.scan(name, pages[-1].ids[-1] if pages else "", PAGE)).ids:
        pages.append(page)
        progress(len(page))
    await asyncio.to_thread(_write, pages, dim, arrays, lines)
    return sum(map(len, pages))


def _is_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) == ARRAYS
    except zipfile.BadZipFile:
        return False


def _is_lines(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            line = orjson.loads(file.readline(MAX_LINE))
        except orjson.JSONDecodeError:
            return False
    return isinstance(line, dict) and line.keys() == LINE_KEYS


def _write(pages: Sequence[Items], dim: int, arrays: Path, lines: Path) -> None:
    empty = np.empty((0, dim), np.float32)
    mode = 0o666 & ~_umask()
    with written([arrays, lines], mode) as (new_arrays, new_lines):
        with new_arrays.open("wb") as file:
            np.savez(
                file,
                mu=np.concatenate([empty, *(page.mu for page in pages)]),
                sigma=np.concatenate([empty, *(page.sigma for page in pages)]),
                has_sigma=np.concatenate([np.empty(0, np.bool_), *(page.has_sigma for page in pages)]),
            )
        with new_lines.open("wb") as file:
            for page in pages:
                for i, id in enumerate(page.ids):
                    line = {"id": id, "seq": page.seqs[i], "metadata": orjson.Fragment(page.metadata[i])}
                    file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def backup(path: Path, out: Path) -> None:
    """Copy a sqlite file as it is at one moment; it may be in use.

    The copy has the permissions of the original. It replaces only an earlier backup that no process has open. Raises
    StoreUnusable and DiskFull.
    """
    check_file(path)
    target = check_output(out, _is_backup, "backup of a latent store", store_files(path))
    for suffix in COMPANIONS:
        if os.path.lexists(f"{target}{suffix}"):
            raise StoreUnusable(
                f"{out} is, or was, in use as a store, since {target.name}{suffix} exists; choose another path"
            )
    with written([target], stat.S_IMODE(path.stat().st_mode)) as (part,):
        try:
            _copy(path, part)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
                raise DiskFull(f"the disk has no room for a copy in {target.parent}") from error
            raise StoreUnusable(f"{path} cannot be copied to {out}: {error}") from error


def check_file(path: Path) -> None:
    """Raise StoreUnusable if there is no sqlite file to read."""
    if not path.is_file():
        raise StoreUnusable(f"there is no file {path}; check --store or VAE_STORE")


def store_files(path: Path) -> list[Path]:
    """Return the path of a sqlite file, and of the files that sqlite puts beside it."""
    real = os.path.realpath(path)
    return [path, *(Path(f"{real}{suffix}") for suffix in (*COMPANIONS, "-journal"))]


def _copy(path: Path, part: Path) -> None:
    address = f"{path.absolute().as_uri()}?mode=rw"  # mode=rw: if the file has just been deleted, no new one is made
    with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(part)) as target:
        (application,) = source.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise StoreUnusable(f"{path} is not a latent store")
        source.backup(target)
        (found,) = target.execute("PRAGMA quick_check").fetchone()
        if found != "ok":
            raise StoreUnusable(f"{path} is corrupt: {found}")


def _is_backup(path: Path) -> bool:
    """Return whether the header of a sqlite file says that it is a latent store."""
    with path.open("rb") as file:
        head = file.read(72)
    return head.startswith(b"SQLite format 3\0") and head[68:72] == APPLICATION_ID.to_bytes(4, "big")
