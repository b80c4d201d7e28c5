"""A sqlite file that another program has locked for ever: all who wait are told so together, and the end does not wait."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.store.interface import StoreBusy, StoreUnusable
from service.store.sqlite import file as sqlite_file
from service.store.sqlite.file import _set_wal
from service.store.sqlite.store import SqliteStore
from tests.service.rest.test_errors import check
from tests.service.store.conftest import MAX_BYTES
from tests.service.store.gaussians import DIGEST, DIGITS, items
from tests.service.store.test_http import serving

LONG = 30.0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def add(store: SqliteStore, id: str) -> int:
    return (await store.upsert("digits", DIGEST, items(np.random.default_rng(0), [id]))).seq


async def test_all_who_wait_are_refused_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.2)
    store, turns = SqliteStore(tmp_path / "latents.db", MAX_BYTES), 0
    commit = store._commit

    def counted(*arguments: object) -> None:
        nonlocal turns
        turns += 1
        commit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_commit", counted)
    await store.open()
    await store.create(DIGITS)
    turns = 0
    with locked(tmp_path / "latents.db"):
        outcomes = await asyncio.gather(*(add(store, f"{i}") for i in range(50)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreBusy}
        assert turns <= 2  # those who came first, and all the others
    assert await add(store, "a") == 1
    await store.close()


async def test_the_end_does_not_wait_for_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 10 * LONG)
    store = SqliteStore(tmp_path / "latents.db", MAX_BYTES)
    await store.open()
    await store.create(DIGITS)
    with locked(tmp_path / "latents.db"):
        stuck = [asyncio.ensure_future(add(store, f"{i}")) for i in range(3)]
        await asyncio.sleep(0.05)
        await asyncio.wait_for(store.close(), LONG)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


async def test_the_answer_is_that_of_a_lock_in_postgresql(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.2)
    async with serving(weights, str(tmp_path / "latents.db")) as (_, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        with locked(tmp_path / "latents.db"):
            answer = await client.delete("/collections/some")
            check(answer, 503, "busy", "another process has held the database lock for over 0.2 s")
            assert answer.headers["retry-after"] == "5"
        (await client.delete("/collections/some")).raise_for_status()


def test_a_file_system_without_the_write_ahead_log() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(StoreUnusable, match=r"some\.db: the file system does not support sqlite's WAL mode .*'memory'"):
        _set_wal(connection, Path("some.db"))
    connection.close()
