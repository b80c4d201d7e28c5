"""What only PostgreSQL has: it can be away, come back, die in the middle, and search by an index."""

import asyncio
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from service.store.interface import Query, Search, StoreUnavailable, StoreUnusable
from service.store.pgvector import PgvectorStore
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items, same
from tests.service.store.postgres import Postgres

PATIENCE = 0.5


@pytest.fixture(scope="module")
def durable() -> Iterator[Postgres]:
    server = Postgres(durable=True)
    yield server
    server.remove()


async def test_it_comes_back_with_the_database(durable: Postgres) -> None:
    address = durable.create("away")
    durable.stop()
    store = PgvectorStore(address, PATIENCE)
    try:
        await store.open()  # the database may come later
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="away"):
                await store.collections()
        durable.start()
        assert await store.create(DIGITS) == DIGITS
        for _ in range(2):
            durable.stop()
            with pytest.raises(StoreUnavailable):
                await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a"]))
            durable.start()
            assert await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a"])) > 0
        assert await store.count("digits") == 1
    finally:
        await store.close()


async def test_what_was_acknowledged_survives_the_death_of_the_server(durable: Postgres) -> None:
    store = PgvectorStore(durable.create("killed"), 60)
    try:
        await store.open()
        await store.create(DIGITS)
        twin, reached = Twin(), {count: asyncio.Event() for count in (21, 60, 120)}

        async def add(worker: int) -> None:
            rng = np.random.default_rng(worker)
            for i in range(30):
                block = items(rng, [f"{worker}-{i}-{j}" for j in range(3)])
                await store.upsert("digits", DIGEST, block)
                twin.upsert(block)
                for count, event in reached.items():
                    if len(twin.rows) >= count:
                        event.set()

        async def kill() -> None:
            for event in reached.values():
                await event.wait()
                durable.kill()
                await asyncio.to_thread(durable.restart)

        await asyncio.gather(kill(), *(add(worker) for worker in range(4)))
        assert await store.count("digits") == len(twin.rows) == 360
        zero = np.zeros(DIM)
        found = await store.search("digits", DIGEST, Search([Query(np.zeros(DIM, np.float32))], 360, "l2", exact=True))
        same(found.neighbors[0], twin.nearest("l2", zero, zero, 360))
    finally:
        await store.close()


async def test_the_index_is_used_and_finds_nearly_all(database: str) -> None:
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
        with psycopg.connect(database, autocommit=True) as connection:
            used = connection.execute(
                "SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE indexrelname LIKE '%_l2'"
            ).fetchone()
        assert used is not None
        assert used[0] is not None
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
