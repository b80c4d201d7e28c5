"""python -m tests.service.store.faulty DIRECTORY CHANGE ERROR...: a store on a disk whose every call fails in turn.

Started with the library of tests.fault_injection. Prints, as JSON, the calls that failed and all that was wrong.
"""

import asyncio
import errno
import itertools
import os
import shutil
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from service.store.export import backup
from service.store.interface import DiskFull, NoPicture, Query, Search, StoreError, StoreUnavailable, StoreUnusable
from service.store.sqlite.store import SqliteStore
from tests.fault_injection import Faults
from tests.service.store import direction_player
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, items

# what a collection holds: sequence numbers by id, and by direction; None: there is no collection
State = dict[str, int] | None
BEFORE: State = {"a": 1, "b": 2, "c": 3}
LOOK = Search([Query(np.zeros(DIM, np.float32))], 10, "l2")


async def add(store: SqliteStore) -> object:
    return await store.upsert("digits", DIGEST, items(np.random.default_rng(1), ["a", "d"], metadata=[{"k": "x" * 9000}, {}]))


async def patch(store: SqliteStore) -> object:
    return await store.patch("digits", "b", {"k": "x" * 9000})


async def delete_several(store: SqliteStore) -> object:
    return await store.delete_matching("digits", (), limit=2)


async def keep(store: SqliteStore) -> object:
    block = items(np.random.default_rng(1), ["a", "d"])
    block.pictures = [bytes(9000), b"1"]
    return await store.upsert("digits", DIGEST, block)


async def delete(store: SqliteStore) -> object:
    return await store.delete("digits", "b")


async def put_direction(store: SqliteStore) -> object:
    await store.put_direction("digits", DIGEST, direction_player.made(1, "smile", DIM))
    return None


async def drop(store: SqliteStore) -> object:
    return await store.drop("digits")


async def create(store: SqliteStore) -> object:
    return await store.create(DIGITS)


async def close(store: SqliteStore) -> object:
    await store.close()
    return None


async def back_up(store: SqliteStore) -> object:
    path = store._file.path
    return await asyncio.to_thread(backup, path, path.with_name("backup.db"))


# what is done, and what is there before and after it
CHANGES: dict[str, tuple[Callable[[SqliteStore], Awaitable[object]], State, State]] = {
    "add": (add, BEFORE, {"a": 4, "b": 2, "c": 3, "d": 5}),
    "patch": (patch, BEFORE, {"a": 1, "b": 4, "c": 3}),
    "keep": (keep, BEFORE, {"a": 4, "b": 2, "c": 3, "d": 5}),
    "delete several": (delete_several, BEFORE, {"c": 3}),
    "delete": (delete, BEFORE, {"a": 1, "c": 3}),
    "direction": (put_direction, BEFORE, {"a": 1, "b": 2, "c": 3, "direction smile": 1}),
    "drop": (drop, BEFORE, None),
    "create": (create, None, {}),
    "close": (close, BEFORE, BEFORE),
    "backup": (back_up, BEFORE, BEFORE),
}


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path, 1 << 24)
    await store.open()
    return store


async def state(store: SqliteStore) -> State:
    """All that is there, which every way of reading must agree on."""
    if not await store.collections():
        return None
    found = await store.scan("digits")
    nearest = (await store.search("digits", DIGEST, LOOK)).neighbors[0].items
    collection = await store.collection("digits")
    assert sorted(nearest.ids) == found.ids, (nearest.ids, found.ids)
    assert collection.count == len(found.ids)
    with_original = 0
    for id in found.ids:
        with suppress(NoPicture):
            await store.picture("digits", id)
            with_original += 1
    assert with_original in (0, 2), with_original
    directions = {f"direction {one.name}": one.seq for one in await store.directions("digits")}
    return dict(zip(found.ids, found.seqs, strict=True)) | directions


async def state_of(path: Path) -> State:
    store = await opened(path)
    try:
        return await state(store)
    finally:
        await store.close()


async def one(directory: Path, change: str, nth: int, error: int) -> tuple[bool, str, list[str]]:
    """(whether the call was made, what the store said, what is wrong)."""
    path, wrong = directory / "latents.db", list[str]()
    act, before, after = CHANGES[change]
    store = await opened(path)
    if before is not None:
        await store.create(replace(DIGITS, keep="picture") if change == "keep" else DIGITS)
        await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a", "b", "c"]))
        assert await state(store) == before
    said, failed = "done", False
    with Faults().failing(directory, nth, error) as made:
        try:
            await act(store)
        except (StoreError, OSError) as refusal:
            said, failed = f"{type(refusal).__name__}: {refusal}", True
            expected_kinds = DiskFull | StoreUnavailable | (StoreUnusable if change == "create" else DiskFull)
            if not isinstance(refusal, expected_kinds) and change != "backup":  # the first change makes the file
                wrong.append(f"said {said}")
    killed = directory / "killed"
    killed.mkdir()
    for suffix in ("", "-wal"):  # what is left of a process that is killed now
        with suppress(FileNotFoundError):
            shutil.copy(f"{path}{suffix}", killed)
    expected = before if failed else after

    async def expect(wanted: State, found: Awaitable[State], when: str) -> None:
        try:
            value = await found
        except Exception as problem:
            value = {repr(problem): 0}
        if value != wanted:
            wrong.append(f"{when}: {value}, not {wanted}")

    await expect(expected, state_of(killed / "latents.db"), "after a kill")
    if change == "backup":
        wrong.extend(_wrong_with_backup(directory, failed))
    if change != "close":
        await expect(expected, state(store), "at once")
        if failed:
            await act(store)
            expected = after
        await expect(expected, state(store), "after another try")
        await store.close()
    await expect(expected, state_of(path), "after a restart")
    with closing(sqlite3.connect(path)) as connection:
        if (found := connection.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
            wrong.append(f"the file: {found}")
    return bool(made), said, wrong


def _wrong_with_backup(directory: Path, failed: bool) -> list[str]:
    """It is whole or not there at all, and if it failed nothing else is left."""
    out, wrong = directory / "backup.db", list[str]()
    if out.exists():
        with closing(sqlite3.connect(out)) as connection:
            if connection.execute("SELECT count(*) FROM items").fetchone() != (3,):
                wrong.append("the backup is not whole")
    elif not failed:
        wrong.append("there is no backup")
    parts = [name for name in os.listdir(directory) if ".vae-" in name]
    return wrong + [f"{name} is left" for name in parts]


def main(directory: Path, change: str, name: str) -> list[dict[str, Any]]:
    """Each call in turn, until there are no more."""
    found = list[dict[str, Any]]()
    for nth in itertools.count(1):
        (own := directory / f"{name}{nth}").mkdir()
        made, said, wrong = asyncio.run(one(own, change, nth, getattr(errno, name)))
        if not made:
            assert said == "done", said
            return found
        found.append({"error": name, "call": nth, "said": said, "wrong": wrong})
    raise AssertionError


if __name__ == "__main__":
    results = [result for name in sys.argv[3:] for result in main(Path(sys.argv[1]), sys.argv[2], name)]
    sys.stdout.buffer.write(orjson.dumps(results))
