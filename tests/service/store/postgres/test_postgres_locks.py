"""PostgreSQL where something is held for ever, or where nobody answers: everybody else goes on, and the end comes in time."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from service.store.interface import Query, Search, StoreBusy, StoreUnavailable
from service.store.postgres.schema import LOCK
from service.store.postgres.store import PgvectorStore
from service.store.postgres.transactions import READERS, WRITERS
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, items
from tests.service.store.postgres_server import Postgres

PATIENCE = 0.6
# so long nothing takes here that does not wait for a lock, nor the end of a store
LONG = 10.0
OTHER = replace(DIGITS, name="other")
FOR_UPDATE = "SELECT * FROM vae_collections WHERE name = 'digits' FOR UPDATE"
EVERYTHING = Search([Query(np.zeros(DIM, np.float32))], 1, "l2", exact=True)


@pytest.fixture
async def store(database: str) -> AsyncIterator[PgvectorStore]:
    """With two collections of one item each."""
    store = PgvectorStore(database, PATIENCE)
    await store.open()
    for collection in (DIGITS, OTHER):
        await store.create(collection)
        await add(store, collection.name, "a")
    yield store
    await store.close()


@pytest.fixture
async def patient(database: str, store: PgvectorStore) -> AsyncIterator[PgvectorStore]:
    """Another store on the same collections, whose callers wait for longer than any test takes."""
    patient = PgvectorStore(database, 3600)
    await patient.open()
    yield patient
    await patient.close()


async def leave(stuck: Sequence["asyncio.Future[Any]"]) -> None:
    for task in stuck:
        assert not task.done()
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def add(store: PgvectorStore, name: str, id: str) -> int:
    return (await store.upsert(name, DIGEST, items(np.random.default_rng(0), [id]))).seq


@contextmanager
def holding(database: str, *statements: str) -> Iterator[None]:
    """Another session has run the statements and forgotten its transaction."""
    with psycopg.connect(database) as other:
        for statement in statements:
            other.execute(statement.encode())
        yield
        other.rollback()


def items_table(database: str) -> str:
    """Where the items of DIGITS are, which was made first."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT number FROM vae_collections WHERE name = 'digits'").fetchone()
    assert row is not None
    return f"vae_items_{row[0]}"


def backends(database: str, state: str = "active") -> int:
    """How many sessions of the store do something in the database."""
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = %s "
            "AND pid <> pg_backend_pid()",
            (state,),
        ).fetchone()
    assert row is not None
    return int(row[0])


async def test_while_writers_wait_for_a_locked_collection_the_others_write(database: str, patient: PgvectorStore) -> None:
    with holding(database, FOR_UPDATE):
        stuck = [asyncio.ensure_future(add(patient, "digits", f"{i}")) for i in range(3 * WRITERS)]
        await asyncio.sleep(0.1)
        assert await add(patient, "other", "b") == 2
        assert (await patient.create(replace(OTHER, name="new"))).count == 0
        assert await patient.delete("other", "b") == 3
        assert (await patient.search("digits", DIGEST, EVERYTHING)).neighbors[0].items.ids == ["a"]
        await leave(stuck)


async def test_writers_of_a_locked_collection_are_refused(database: str, store: PgvectorStore) -> None:
    with holding(database, FOR_UPDATE):
        outcomes = await asyncio.wait_for(
            asyncio.gather(*(add(store, "digits", f"{i}") for i in range(3 * WRITERS)), return_exceptions=True), LONG
        )
        assert {type(outcome) for outcome in outcomes} == {StoreBusy}
        assert all("nothing was changed" in str(outcome) for outcome in outcomes)
    assert await add(store, "digits", "b") == 2
    assert (await store.collection("digits")).count == 2


async def test_readers_of_a_locked_table_leave_room_for_others(database: str, patient: PgvectorStore) -> None:
    """As VACUUM FULL, ALTER TABLE and pg_restore lock it."""
    with holding(database, f"LOCK TABLE {items_table(database)} IN ACCESS EXCLUSIVE MODE"):
        stuck = [asyncio.ensure_future(patient.search("digits", DIGEST, EVERYTHING)) for _ in range(3 * READERS)]
        await asyncio.sleep(0.1)
        assert (await patient.search("other", DIGEST, EVERYTHING)).neighbors[0].items.ids == ["a"]
        assert len(await patient.collections()) == 2
        assert (await patient.collection("digits")).count == 1
        await leave(stuck)


async def test_readers_of_a_locked_table_are_refused_until_it_is_free(database: str, store: PgvectorStore) -> None:
    with holding(database, f"LOCK TABLE {items_table(database)} IN ACCESS EXCLUSIVE MODE"):
        calls = [store.search("digits", DIGEST, EVERYTHING) for _ in range(3 * READERS)]
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), LONG)
        assert {type(outcome) for outcome in outcomes} == {StoreBusy}
        assert not [outcome for outcome in outcomes if "changed" in str(outcome)]  # they wanted to change nothing
        one = asyncio.ensure_future(store.scan("digits"))  # it tries whether the table is free again
        await asyncio.sleep(0)
        with pytest.raises(StoreBusy):  # the next one does not even wait
            await asyncio.wait_for(store.scan("digits"), PATIENCE / 2)
        with pytest.raises(StoreBusy):
            await one
    assert (await store.scan("digits")).ids == ["a"]
    both = await asyncio.gather(store.scan("digits"), store.scan("digits"))
    assert [found.ids for found in both] == [["a"], ["a"]]


async def test_who_leaves_gives_the_connection_back(database: str, store: PgvectorStore) -> None:
    with holding(database, FOR_UPDATE):
        for _ in range(2 * WRITERS):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(add(store, "digits", "b"), 0.05)
        give_up = time.monotonic() + LONG
        while backends(database) + backends(database, "idle in transaction") > 1:  # the one that holds the lock
            assert time.monotonic() < give_up
            await asyncio.sleep(0.02)
    assert await add(store, "digits", "c") == 2
    assert (await store.collection("digits")).count == 2


async def test_a_lock_that_is_released_in_time_is_waited_for(database: str, patient: PgvectorStore) -> None:
    with holding(database, FOR_UPDATE):
        waiting = asyncio.gather(*(add(patient, "digits", f"{i}") for i in range(2 * WRITERS)))
        await asyncio.sleep(0.1)
    assert sorted(await waiting) == list(range(2, 2 + 2 * WRITERS))


async def test_the_lock_of_a_migration_is_waited_for_only_where_there_is_something_to_do(database: str) -> None:
    store = PgvectorStore(database, PATIENCE)
    with holding(database, f"SELECT pg_advisory_xact_lock({LOCK})"):
        await asyncio.wait_for(store.open(), LONG)
        with pytest.raises(StoreBusy):
            await asyncio.wait_for(store.collections(), LONG)
    await store.create(DIGITS)
    await store.close()
    second = PgvectorStore(database, PATIENCE)
    with holding(database, f"SELECT pg_advisory_xact_lock({LOCK})"):
        await second.open()
        assert [collection.name for collection in await second.collections()] == ["digits"]
    await second.close()


@pytest.mark.parametrize("leave", [True, False], ids=["cancelled", "waiting"])
async def test_the_end_waits_for_no_lock(database: str, leave: bool) -> None:
    store = PgvectorStore(database, 3600)
    await store.open()
    await store.create(DIGITS)
    with holding(database, FOR_UPDATE):
        stuck = [asyncio.ensure_future(add(store, "digits", f"{i}")) for i in range(2 * WRITERS)]
        await asyncio.sleep(0.1)
        if leave:
            for task in stuck:
                task.cancel()
        await asyncio.wait_for(store.close(), LONG)
        outcomes = await asyncio.wait_for(asyncio.gather(*stuck, return_exceptions=True), LONG)
        assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError if leave else StoreUnavailable}
        give_up = time.monotonic() + LONG
        while backends(database) + backends(database, "idle"):
            assert time.monotonic() < give_up
            await asyncio.sleep(0.02)
    with pytest.raises(StoreUnavailable, match="closed"):
        await add(store, "digits", "b")


async def test_a_server_that_stands_still(postgres: Postgres, database: str, store: PgvectorStore) -> None:
    """Callers who come before, while it waits for a lock, and after; and when it goes on, so does the store."""
    closing = PgvectorStore(database, PATIENCE)
    await closing.open()
    with psycopg.connect(database) as other:
        other.execute(FOR_UPDATE.encode())
        waiting = asyncio.ensure_future(add(store, "digits", "b"))
        await asyncio.sleep(0.1)
        with postgres.frozen():
            calls: list[Any] = [store.collections() for _ in range(3 * READERS)]
            outcomes = await asyncio.wait_for(asyncio.gather(*calls, waiting, return_exceptions=True), LONG)
            assert {type(outcome) for outcome in outcomes[:-1]} <= {StoreUnavailable, StoreBusy}
            assert type(outcomes[-1]) is StoreUnavailable
            assert "may or may not" in str(outcomes[-1])
            assert not [outcome for outcome in outcomes[:-1] if "changed" in str(outcome)]
            under_way = asyncio.ensure_future(closing.collections())
            await asyncio.sleep(0.1)
            await asyncio.wait_for(closing.close(), LONG)
            with pytest.raises(StoreUnavailable):
                await under_way
        with suppress(psycopg.Error):  # whoever was silent for so long
            other.rollback()
    give_up = time.monotonic() + LONG
    while True:
        try:
            assert {collection.name for collection in await store.collections()} == {"digits", "other"}
            await add(store, "digits", "c")
            return
        except StoreUnavailable:
            assert time.monotonic() < give_up


async def test_a_port_where_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = PgvectorStore(f"postgresql://vae@127.0.0.1:{silent.getsockname()[1]}/vae", PATIENCE)
        await asyncio.wait_for(store.open(), LONG)
        calls = [store.collections() for _ in range(3 * READERS)]
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), LONG)
        assert {type(outcome) for outcome in outcomes} <= {StoreUnavailable, StoreBusy}
        await asyncio.wait_for(store.close(), LONG)
