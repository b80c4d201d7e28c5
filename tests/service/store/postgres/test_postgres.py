"""What only PostgreSQL has: it can be away, come back, die in the middle, and search by an index."""

import asyncio
import itertools
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from service.store.filters import parse_filter
from service.store.interface import DiskFull, Query, Search, StoreUnavailable, StoreUnusable, UnknownCollection
from service.store.postgres.schema import PgConnection
from service.store.postgres.slots import Slots
from service.store.postgres.store import PgvectorStore
from service.store.postgres.work import find
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items, same
from tests.service.store.postgres_server import Postgres

PATIENCE = 0.5


async def test_it_comes_back_with_the_database(postgres: Postgres) -> None:
    address = postgres.create("away")
    postgres.stop()
    store = PgvectorStore(address, PATIENCE)
    try:
        await store.open()  # the database may come later
        outcomes = await asyncio.gather(*(store.collections() for _ in range(40)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert "cannot be reached" in str(outcomes[0])
        postgres.start()
        assert await store.create(DIGITS) == DIGITS
        postgres.stop()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a"]))
        postgres.start()
        assert (await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a"]))).seq > 0
        assert (await store.collection("digits")).count == 1
    finally:
        await store.close()


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.soak)])
async def test_what_was_acknowledged_survives_the_death_of_the_server(postgres: Postgres, database: str, kills: int) -> None:
    store = PgvectorStore(database, 60)
    try:
        await store.open()
        await store.create(DIGITS)
        twin, dead, chance = Twin(), asyncio.Event(), random.Random(0)
        steps = itertools.accumulate(chance.randrange(10, 60) * 3 for _ in range(kills))
        reached = {count: asyncio.Event() for count in steps}

        async def add(worker: int) -> None:
            rng, count = np.random.default_rng(worker), 0
            while not dead.is_set() or count < 30:
                block = items(rng, [f"{worker}-{count}-{j}" for j in range(3)])
                await store.upsert("digits", DIGEST, block)
                twin.upsert(block)
                count += 1
                for wanted, event in reached.items():
                    if len(twin.rows) >= wanted:
                        event.set()

        async def kill() -> None:
            for event in reached.values():
                await event.wait()
                postgres.kill()
                await asyncio.to_thread(postgres.restart)
            dead.set()

        await asyncio.gather(kill(), *(add(worker) for worker in range(4)))
        count = len(twin.rows)
        assert (await store.collection("digits")).count == count
        found = await store.search("digits", DIGEST, Search([Query(np.zeros(DIM, np.float32))], count, "l2", exact=True))
        same(found.neighbors[0], twin.nearest("l2", np.zeros(DIM), np.zeros(DIM), count))
        stored = await store.get("digits", list(twin.rows))
        assert stored.mu.tobytes() == np.stack([row[0] for row in twin.rows.values()]).tobytes()
    finally:
        await store.close()


async def test_a_full_disk_stores_nothing_and_loses_nothing(postgres: Postgres, database: str, small_disk: Path) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    postgres.own(small_disk)
    postgres.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    postgres.execute(f'ALTER DATABASE "{name}" SET default_tablespace = small')
    store, twin = PgvectorStore(database), Twin()
    try:
        await store.open()
        await store.create(DIGITS)
        rng = np.random.default_rng(0)
        first = items(rng, ["a", "b"])
        await store.upsert("digits", DIGEST, first)
        twin.upsert(first)
        texts = [rng.bytes(30_000).hex() for _ in range(200)]
        huge = items(rng, [f"{i}" for i in range(200)], metadata=[{"text": text} for text in texts])
        with pytest.raises(DiskFull, match="no room"):
            await store.upsert("digits", DIGEST, huge)
        small = items(rng, ["c"])
        await store.upsert("digits", DIGEST, small)
        twin.upsert(small)
        found = await store.search("digits", DIGEST, Search([Query(np.zeros(DIM, np.float32))], 9, "l2", exact=True))
        same(found.neighbors[0], twin.nearest("l2", np.zeros(DIM), np.zeros(DIM), 9))
        await store.drop("digits")
    finally:
        await store.close()
        postgres.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        postgres.execute("DROP TABLESPACE small")


async def test_a_database_that_becomes_one_for_reading_only(postgres: Postgres, database: str) -> None:
    store, block = PgvectorStore(database), items(np.random.default_rng(0), ["a"])
    try:
        await store.open()
        await store.create(DIGITS)
        await store.upsert("digits", DIGEST, block)
        name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
        postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        with pytest.raises(StoreUnusable, match="is not writable"):
            await store.upsert("digits", DIGEST, block)
        found = await store.search("digits", DIGEST, Search([Query(id="a")], 1, "l2"))
        assert found.neighbors[0].items.ids == ["a"]
    finally:
        await store.close()


async def test_what_the_index_leaves_out_is_found_without_it(postgres: Postgres, database: str) -> None:
    """A filter that hardly anything passes, and means without a direction, which no index of cosines has."""
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    postgres.execute(f'ALTER DATABASE "{name}" SET hnsw.max_scan_tuples = 100')
    store = PgvectorStore(database)
    try:
        await store.open()
        rng = np.random.default_rng(0)
        for collection, metric in (("digits", "l2"), ("angles", "cosine")):
            twin = Twin()
            await store.create(replace(DIGITS, name=collection, metric=metric))
            block = items(rng, [f"{i:05d}" for i in range(900)], metadata=[{"rare": i % 300 == 0} for i in range(900)])
            block.mu[::300] = 0 if metric == "cosine" else 40
            await store.upsert(collection, DIGEST, block)
            twin.upsert(block)
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute("ANALYZE")
            rare = parse_filter({"rare": True})
            found = await store.search(collection, DIGEST, Search([Query(np.ones(DIM, np.float32))], 3, metric, rare))
            same(found.neighbors[0], twin.nearest(metric, np.ones(DIM), np.zeros(DIM), 3, rare))
    finally:
        await store.close()


def index_scans(postgres: Postgres, database: str) -> list[tuple[Any, ...]]:
    """Return (name, scans) of each index of vectors, once the store that has used them is closed."""
    postgres.wait_until_left(database)
    scans = "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes JOIN pg_indexes ON indexname = indexrelname"
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(f"{scans} WHERE indexdef LIKE '%USING hnsw%'").fetchall()


async def test_the_index_is_used_and_finds_nearly_all(postgres: Postgres, database: str) -> None:
    store = PgvectorStore(database)
    try:
        await store.open()
        await store.create(DIGITS)
        rng, twin = np.random.default_rng(0), Twin()
        block = items(rng, [f"{i:05d}" for i in range(2000)], metadata=[{"even": i % 2 == 0} for i in range(2000)])
        await store.upsert("digits", DIGEST, block)
        twin.upsert(block)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("ANALYZE")
        queries = rng.standard_normal((20, DIM)).astype(np.float32)
        found = await store.search("digits", DIGEST, Search([Query(query) for query in queries], 10, "l2"))
        exact = [twin.nearest("l2", query, np.zeros(DIM), 10) for query in queries]
        shared = [len({*one.items.ids} & {id for id, _ in best}) for one, best in zip(found.neighbors, exact, strict=True)]
        assert not found.exact
        assert sum(shared) >= 0.95 * 200
    finally:
        await store.close()
    ((_, scans),) = index_scans(postgres, database)
    assert scans >= 20


async def test_the_index_is_of_the_weight_of_the_collection(postgres: Postgres, database: str) -> None:
    """It is used, finds nearly all, and there is only one, whatever the weight was before."""
    store = PgvectorStore(database)
    try:
        await store.open()
        for weight in (1.0, 2.5, 3.0):
            await store.create(replace(DIGITS, metric="w2", sigma_weight=weight))
        rng, twin = np.random.default_rng(0), Twin()
        block = items(rng, [f"{i:05d}" for i in range(2000)])
        await store.upsert("digits", DIGEST, block)
        twin.upsert(block)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("ANALYZE")
        queries = rng.standard_normal((20, DIM)).astype(np.float32), rng.uniform(0.1, 1, (20, DIM)).astype(np.float32)
        asked = Search([Query(mu, sigma) for mu, sigma in zip(*queries, strict=True)], 10, "w2", sigma_weight=3.0)
        found = await store.search("digits", DIGEST, asked)
        exact = [twin.nearest("w2", mu, sigma, 10, sigma_weight=3.0) for mu, sigma in zip(*queries, strict=True)]
        shared = [len({*one.items.ids} & {id for id, _ in best}) for one, best in zip(found.neighbors, exact, strict=True)]
        assert not found.exact
        assert sum(shared) >= 0.95 * 200
    finally:
        await store.close()
    ((name, scans),) = index_scans(postgres, database)
    assert "_w2_" in name
    assert scans >= 20


async def test_a_collection_that_is_dropped_while_a_read_is_late_is_unknown(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is over when it finds no table, and still it does not say that the database is damaged."""
    store = PgvectorStore(database)
    take, reading = Slots.take, store._transactions.reading
    tries: list[str] = []

    async def late(slots: Slots, key: str) -> float:
        await take(slots, key)
        return time.monotonic()

    def read(connection: PgConnection) -> None:
        tries.append("")
        if len(tries) == 1:
            connection.execute("SELECT FROM vae_items_0")
        find(connection, "digits")

    try:
        await store.open()
        monkeypatch.setattr(Slots, "take", late)
        with pytest.raises(UnknownCollection):
            await store._transactions.run(read, "digits", reading)
        assert len(tries) == 2
    finally:
        await store.close()


async def test_a_newer_schema_is_refused(database: str) -> None:
    store = PgvectorStore(database)
    await store.open()
    await store.close()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE vae_schema SET version = 99")
    store = PgvectorStore(database)
    with pytest.raises(StoreUnusable, match="version 99"):
        await store.open()
    await store.close()


async def test_a_backup_as_the_operations_page_has_it(postgres: Postgres, database: str) -> None:
    """Restored over what has come since, and then used as before."""
    store = PgvectorStore(database, 60)
    await store.open()
    await store.create(DIGITS)
    rng, twin = np.random.default_rng(0), Twin()
    block = items(rng, [f"{i}" for i in range(50)])
    seq = (await store.upsert("digits", DIGEST, block)).seq
    twin.upsert(block)
    file = str(postgres.directory / "latents.dump")
    postgres.run("pg_dump", "-d", database, "-Fc", "-f", file)
    await store.upsert("digits", DIGEST, items(rng, ["later"]))
    await store.close()
    postgres.run("pg_restore", "-d", database, "--clean", "--if-exists", file)
    store = PgvectorStore(database, 60)
    try:
        await store.open()
        assert (await store.collection("digits")).count == 50
        found = await store.search("digits", DIGEST, Search([Query(np.zeros(DIM, np.float32))], 50, "l2", exact=False))
        same(found.neighbors[0], twin.nearest("l2", np.zeros(DIM), np.zeros(DIM), 50))
        assert (await store.upsert("digits", DIGEST, items(rng, ["new"]))).seq > seq
    finally:
        await store.close()
