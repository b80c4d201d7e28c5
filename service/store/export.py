"""A store's content as files: a collection as npz and JSON lines, a sqlite file as another. Knows nothing of models."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import orjson

from service.store.interface import Items, LatentStore, StoreUnusable

PAGE = 1000


async def dump(store: LatentStore, name: str, out: Path, progress: Callable[[int], object] = lambda count: None) -> int:
    """Write OUT.npz (mu, sigma (N, D), has_sigma (N,)) and OUT.jsonl (id, seq, metadata; line i is row i). How many.

    Page by page: what changes meanwhile may be in it or not. Each file is there whole or not at all. Raises StoreError.
    """
    pages: list[Items] = []
    while (page := await store.scan(name, pages[-1].ids[-1] if pages else "", PAGE)).ids:
        pages.append(page)
        progress(len(page))
    dim = (await store.collection(name)).dim
    await asyncio.to_thread(_write, pages, dim, Path(f"{out}.npz"), Path(f"{out}.jsonl"))
    return sum(map(len, pages))


def _write(pages: Sequence[Items], dim: int, arrays: Path, lines: Path) -> None:
    empty = np.empty((0, dim), np.float32)
    with Path(f"{arrays}.part").open("wb") as file:
        np.savez(
            file,
            mu=np.concatenate([empty, *(page.mu for page in pages)]),
            sigma=np.concatenate([empty, *(page.sigma for page in pages)]),
            has_sigma=np.concatenate([np.empty(0, np.bool_), *(page.has_sigma for page in pages)]),
        )
    with Path(f"{lines}.part").open("wb") as file:
        for page in pages:
            for i, id in enumerate(page.ids):
                line = {"id": id, "seq": page.seqs[i], "metadata": orjson.Fragment(page.metadata[i])}
                file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    for path in (arrays, lines):
        os.replace(f"{path}.part", path)


def backup(path: Path, out: Path) -> None:
    """Copy a sqlite file that may be in use, as it is at one moment. Raises StoreUnusable."""
    if not path.exists():
        raise StoreUnusable(f"there is no file {path}")
    partial = Path(f"{out}.part")
    partial.unlink(missing_ok=True)
    source, target = sqlite3.connect(path), sqlite3.connect(partial)
    try:
        source.backup(target)
        (found,) = target.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path} cannot be copied: {error}") from error
    finally:
        source.close()
        target.close()
    if found != "ok":
        raise StoreUnusable(f"{path} is corrupt: {found}")
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, out)
