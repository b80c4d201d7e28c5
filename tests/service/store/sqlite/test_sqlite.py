"""What only the sqlite file has: its origin, its bounds, its full disk, and commits that are shared."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.store.interface import (
    DiskFull,
    LatentStore,
    Query,
    Search,
    StoreFull,
    StoreUnavailable,
    StoreUnusable,
    UnknownItem,
    Upserted,
)
from service.store.sqlite.file import MIGRATIONS
from service.store.sqlite.store import SqliteStore
from service.store.vectors.chunk import row_bytes
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items, same

RNG = np.random.default_rng(0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "latents.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, 100 * row_bytes(DIM))
    await store.open()
    yield store
    await store.close()


async def opened(path: Path, max_bytes: int = 1 << 20) -> None:
    store = SqliteStore(path, max_bytes)
    try:
        await store.open()
    finally:
        await store.close()


async def test_the_file_is_made_with_the_first_collection(store: SqliteStore, path: Path) -> None:
    assert await store.collections() == []
    assert not os.path.exists(path)  # noqa: ASYNC240
    await store.create(DIGITS)
    assert os.path.exists(path)  # noqa: ASYNC240


async def test_what_is_durable_is_said_to_sqlite(store: SqliteStore, path: Path) -> None:
    await store.create(DIGITS)
    connection = store._file.connection()
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


async def test_the_bound_on_memory(store: SqliteStore, path: Path) -> None:
    await store.create(DIGITS)
    ids = [f"{i}" for i in range(100)]
    await store.upsert("digits", DIGEST, items(RNG, ids))
    with pytest.raises(StoreFull, match="VAE_STORE_MAX_BYTES"):
        await store.upsert("digits", DIGEST, items(RNG, ["one more"]))
    await store.upsert("digits", DIGEST, items(RNG, ids[:50]))  # replacing needs no room
    await store.delete("digits", "0")
    await store.upsert("digits", DIGEST, items(RNG, ["one more"]))
    assert (await store.collection("digits")).count == 100
    with pytest.raises(StoreUnusable, match="VAE_STORE_MAX_BYTES"):
        await opened(path, 99 * row_bytes(DIM))


async def test_a_full_disk_stores_nothing_and_loses_nothing(store: SqliteStore) -> None:
    await store.create(DIGITS)
    twin, first = Twin(), items(RNG, ["a", "b"])
    await store.upsert("digits", DIGEST, first)
    twin.upsert(first)

    def limit(connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    (pages,) = await store._read(lambda connection: connection.execute("PRAGMA page_count").fetchone())
    await store._write(lambda connection: limit(connection, pages))
    huge = items(RNG, [f"{i}" for i in range(50)], metadata=[{"text": "x" * 5000}] * 50)
    small = items(RNG, ["c"])
    outcomes = await asyncio.gather(
        *(store.upsert("digits", DIGEST, block) for block in (huge, small, huge)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [DiskFull, Upserted, DiskFull]
    twin.upsert(small)
    found = await store.search("digits", DIGEST, Search([Query(np.zeros(DIM, np.float32))], 9, "l2"))
    same(found.neighbors[0], twin.nearest("l2", np.zeros(DIM), np.zeros(DIM), 9))
    await store._write(lambda connection: limit(connection, 1 << 30))
    await store.upsert("digits", DIGEST, huge)
    assert (await store.collection("digits")).count == 53


async def test_one_bad_change_does_not_spoil_those_that_share_its_commit(store: SqliteStore) -> None:
    await store.create(DIGITS)
    outcomes = await asyncio.gather(
        store.upsert("digits", DIGEST, items(RNG, ["a"])),
        store.delete("digits", "nobody"),
        store.upsert("digits", DIGEST, items(RNG, [f"{i}" for i in range(200)])),
        store.upsert("digits", DIGEST, items(RNG, ["b"])),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [Upserted, UnknownItem, StoreFull, Upserted]
    assert (await store.scan("digits")).ids == ["a", "b"]


async def test_concurrent_changes_share_commits(store: SqliteStore) -> None:
    await store.create(DIGITS)
    commits: list[str] = []
    store._file.connection().close()  # this thread's own, which nobody needs
    await store._write(
        lambda connection: connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    )
    await asyncio.gather(*(store.upsert("digits", DIGEST, items(RNG, [f"{i}"])) for i in range(50)))
    assert len(commits) <= 10


@pytest.mark.parametrize("kind", ["text", "foreign", "newer", "directory", "nowhere"])
async def test_files_that_are_no_store(path: Path, kind: str) -> None:
    path = spoiled(path, kind)
    words = {
        "text": "not a latent store",
        "foreign": "another program",
        "newer": "newer service",
        "directory": "is a directory",
        "nowhere": "cannot be opened",
    }[kind]
    if kind == "nowhere":
        store = SqliteStore(path, 1 << 20)
        with pytest.raises(StoreUnusable, match=words):
            await store.create(DIGITS)
        await store.close()
    else:
        with pytest.raises(StoreUnusable, match=words):
            await opened(path)


def spoiled(path: Path, kind: str) -> Path:
    if kind == "text":
        path.write_text("hello, this is no database at all. " * 100)
    elif kind == "directory":
        path.mkdir()
    elif kind == "nowhere":
        path = path / "deeper" / "latents.db"
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE songs (title TEXT)" if kind == "foreign" else "PRAGMA user_version = 99")
            if kind == "newer":
                connection.execute(f"PRAGMA application_id = {0x56414531}")
        connection.close()
    return path


async def test_a_corrupt_file_is_named(store: SqliteStore, path: Path) -> None:
    await store.create(DIGITS)
    await store.upsert("digits", DIGEST, items(RNG, [f"{i}" for i in range(90)]))
    await store.close()
    overwrite(path)
    with pytest.raises(StoreUnusable, match=r"latents\.db is corrupt"):
        await opened(path)


def overwrite(path: Path) -> None:
    """All but the first page."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


async def test_vectors_of_a_wrong_length_are_corruption(store: SqliteStore, path: Path) -> None:
    await store.create(DIGITS)
    await store.upsert("digits", DIGEST, items(RNG, ["a", "b"]))
    await store._write(lambda connection: connection.execute("UPDATE items SET mu = x'00' WHERE id = 'a'"))
    with pytest.raises(StoreUnusable, match="corrupt"):
        await opened(path)


async def test_traces_of_deletions_are_forgotten_in_the_end(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.sqlite.deletes.MAX_TRACES", 5)
    behind: LatentStore = SqliteStore(path, 1 << 20)
    await store.create(DIGITS)
    twin = Twin()
    block = items(RNG, [f"{i}" for i in range(20)])
    await store.upsert("digits", DIGEST, block)
    twin.upsert(block)
    look = Search([Query(np.zeros(DIM, np.float32))], 30, "l2")
    await behind.search("digits", DIGEST, look)
    for i in range(17):
        await store.delete("digits", f"{i}")
        del twin.rows[f"{i}"]
    look_up = "SELECT forgotten, (SELECT count(*) FROM items WHERE mu IS NULL) FROM collections"
    forgotten, traces = await store._read(lambda connection: connection.execute(look_up).fetchone())
    assert forgotten > 20
    assert traces < 17
    for one in (behind, store):
        found = await one.search("digits", DIGEST, look)
        same(found.neighbors[0], twin.nearest("l2", np.zeros(DIM), np.zeros(DIM), 30))
    await behind.close()


async def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteStore(path, 1 << 20)
    await store.create(DIGITS)
    await store.close()
    for call in (
        store.create(replace(DIGITS, name="x")),
        store.collections(),
        store.search("digits", DIGEST, Search([], 1, "l2")),
    ):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call
