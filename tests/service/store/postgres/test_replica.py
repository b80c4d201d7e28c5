"""A replica answers reads, and no read is older than what was acknowledged before it: real servers stop and die."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from service.store.filters import parse_filter
from service.store.interface import Query, Search, StoreUnavailable, StoreUnusable, UnknownCollection
from service.store.postgres import schema
from service.store.postgres.replica import ReplicatedStore
from service.store.postgres.store import PgvectorStore
from service.store.snapshot import Wanted
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items, same
from tests.service.store.postgres_server import Postgres, Replica
from tests.service.store.test_http import serving

PATIENCE = 0.5
ORIGIN = np.zeros(DIM, np.float32)


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
async def store(primary: Postgres, replica: Replica, name: str, counts: Counter[str]) -> AsyncIterator[ReplicatedStore]:
    """An open store with an empty collection, both known to the replica. It never leaves a replica alone."""
    found = ReplicatedStore(primary.address(name), replica.address(name), PATIENCE, counts=counts, away=0)
    try:
        await found.open()
        await found.create(DIGITS)
        replica.catch_up()
        yield found
    finally:
        await found.close()


async def nearest(store: PgvectorStore, k: int = 10) -> list[str]:
    found = await store.search("digits", DIGEST, Search([Query(ORIGIN)], k, "l2"))
    return found.neighbors[0].items.ids


async def test_the_replica_answers_what_only_reads_items(
    store: ReplicatedStore, replica: Replica, counts: Counter[str]
) -> None:
    await store.create(replace(DIGITS, keep="picture"))
    block, twin = items(np.random.default_rng(0), [f"{i}" for i in range(50)], metadata=[{"n": i} for i in range(50)]), Twin()
    block.pictures = [b"picture"] * 50
    await store.upsert("digits", DIGEST, block)
    twin.upsert(block)
    replica.catch_up()
    some = parse_filter({"n": {"lt": 20}})
    found = await store.search("digits", DIGEST, Search([Query(ORIGIN), Query(id="3")], 5, "l2", some))
    same(found.neighbors[0], twin.nearest("l2", ORIGIN, ORIGIN, 5, some))
    assert (found.seq, found.neighbors[1].items.ids[0]) == (50, "3")
    assert (await store.get("digits", ["7", "no", "8"])).ids == ["7", "8"]
    assert (await store.scan("digits", limit=3)).ids == ["0", "1", "10"]
    assert await store.picture("digits", "9") == b"picture"
    (whole,) = await store.snapshots("digits", [Wanted()], [None], 1 << 20)
    assert (await store.snapshots("digits", [Wanted()], [whole], 1 << 20))[0] is whole
    assert counts == {"replica": 6}
    assert (await store.collection("digits")).count == 50
    assert await store.directions("digits") == []
    assert counts == {"replica": 6}


async def test_no_read_is_older_than_what_was_acknowledged(
    store: ReplicatedStore, primary: Postgres, replica: Replica, name: str, counts: Counter[str]
) -> None:
    """By whichever process, and whatever the change was, while the replica replays nothing."""
    rng, other = np.random.default_rng(0), PgvectorStore(primary.address(name))
    try:
        await store.upsert("digits", DIGEST, items(rng, ["a", "b"], metadata=[{"n": 1}, {"n": 2}]))
        replica.catch_up()
        assert sorted(await nearest(store)) == ["a", "b"]
        replica.pause()
        assert sorted(await nearest(store)) == ["a", "b"]
        assert counts == {"replica": 2}
        await store.upsert("digits", DIGEST, items(rng, ["c"]))
        assert sorted(await nearest(store)) == ["a", "b", "c"]
        await other.delete("digits", "a")
        assert sorted(await nearest(store)) == ["b", "c"]
        assert (await store.get("digits", ["a", "b"])).ids == ["b"]
        await other.patch("digits", "b", {"n": 3})
        assert (await store.scan("digits", filter=parse_filter({"n": 3}))).ids == ["b"]
        await other.drop("digits")
        with pytest.raises(UnknownCollection):
            await nearest(store)
        await other.create(DIGITS)  # of the same name, with a smaller sequence number
        assert await nearest(store) == []
        assert counts == {"replica": 2, "behind": 5}
        replica.resume()
        replica.catch_up()
        assert await nearest(store) == []
        assert counts["replica"] == 3
        replica.pause()
        await other.create(replace(DIGITS, metric="w2", sigma_weight=2.0))  # which is no change of items
        assert await nearest(store) == []
        assert counts["behind"] == 6
    finally:
        replica.resume()
        await other.close()


@pytest.mark.parametrize("writes", [150, pytest.param(5000, marks=pytest.mark.soak)])
async def test_readers_see_every_acknowledged_item_while_the_replica_lags(
    store: ReplicatedStore, primary: Postgres, replica: Replica, name: str, counts: Counter[str], writes: int
) -> None:
    """Another process writes; the replica follows with its own delay, and stands still now and then."""
    other, acknowledged, rng = PgvectorStore(primary.address(name)), list[str](), np.random.default_rng(0)

    async def write() -> None:
        for i in range(writes):
            await other.upsert("digits", DIGEST, items(rng, [f"{i:05d}"]))
            acknowledged.append(f"{i:05d}")
            if i % 50 in (20, 40):
                await asyncio.to_thread(replica.pause if i % 50 == 20 else replica.resume)

    async def read() -> None:
        while not writing.done():
            wanted = acknowledged[-20:]
            assert (await store.get("digits", wanted)).ids == wanted

    try:
        writing = asyncio.create_task(write())
        await asyncio.gather(writing, read(), read())
        replica.resume()
        replica.catch_up()
        assert len((await store.scan("digits", limit=writes + 1)).ids) == writes
    finally:
        await other.close()
    assert counts["replica"] > 0
    assert counts["behind"] > 0
    assert set(counts) <= {"replica", "behind", "busy"}


async def test_reads_go_on_without_the_replica(
    store: ReplicatedStore, replica: Replica, counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a"]))
    replica.catch_up()
    assert await nearest(store) == ["a"]
    replica.kill()
    assert [await nearest(store) for _ in range(3)] == [["a"]] * 3
    assert counts == {"replica": 1, "away": 3}
    assert [one.levelname for one in caplog.records if "replica" in one.message] == ["WARNING"]
    replica.restart()
    replica.catch_up()
    assert [await nearest(store) for _ in range(2)] == [["a"]] * 2  # the first one may meet a connection that is lost
    assert counts["replica"] >= 2
    assert "answers reads again" in caplog.text
    counts.clear()
    with replica.frozen():
        assert [await nearest(store) for _ in range(2)] == [["a"]] * 2
    assert counts == {"away": 2}
    assert [await nearest(store) for _ in range(2)] == [["a"]] * 2
    assert counts["replica"] >= 1


async def test_a_replica_that_could_not_be_used_is_left_alone(
    primary: Postgres, replica: Replica, name: str, counts: Counter[str]
) -> None:
    store = ReplicatedStore(primary.address(name), replica.address(name), PATIENCE, counts=counts, away=3600)
    try:
        replica.stop()
        await store.open()
        await store.create(DIGITS)
        replica.start()
        replica.catch_up()
        assert await nearest(store) == []
        assert counts == {"away": 1}
    finally:
        await store.close()


async def test_reads_wait_for_the_primary(store: ReplicatedStore, primary: Postgres, replica: Replica) -> None:
    """Without it nobody knows whether the replica has everything."""
    await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a"]))
    replica.catch_up()
    primary.kill()
    try:
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await nearest(store)
    finally:
        primary.restart()
    assert await nearest(store) == ["a"]


async def test_the_replica_gets_no_changes(
    store: ReplicatedStore, primary: Postgres, replica: Replica, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even if it can be changed: here its address is the primary's, by mistake."""
    with pytest.raises(StoreUnusable, match="read-only transaction"):
        await store._replica.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a"]))
    counts = Counter[str]()
    mistaken = ReplicatedStore(primary.address(name), primary.address(name), PATIENCE, counts=counts, away=0)
    try:
        await mistaken.open()
        assert "it does not follow a primary" in caplog.text
        with pytest.raises(StoreUnusable, match="read-only transaction"):
            await mistaken._replica.create(replace(DIGITS, name="other"))
        await mistaken.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a"]))
        assert await nearest(mistaken) == ["a"]
        assert counts == {"away": 1}
    finally:
        await mistaken.close()


async def test_the_replica_of_another_database_never_answers(
    store: ReplicatedStore, primary: Postgres, replica: Replica, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Though its collection has the same name, number and sequence number."""
    rng = np.random.default_rng(0)
    second = f"{name}_second"
    mistaken = ReplicatedStore(primary.create(second), replica.address(name), PATIENCE, away=0)
    try:
        await mistaken.open()
        await mistaken.create(DIGITS)
        await mistaken.upsert("digits", DIGEST, items(rng, ["mine"]))
        await store.upsert("digits", DIGEST, items(rng, ["theirs"]))
        replica.catch_up()
        assert await nearest(mistaken) == ["mine"]
        assert "the replica of another database" in caplog.text
    finally:
        await mistaken.close()


async def test_a_user_who_may_not_read_is_told_so(
    store: ReplicatedStore, primary: Postgres, replica: Replica, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    primary.execute("CREATE USER stranger")
    replica.catch_up()
    reads = replica.address(name).replace("postgres@", "stranger@")
    mistaken = ReplicatedStore(primary.address(name), reads, PATIENCE, away=0)
    try:
        await mistaken.open()
        assert await nearest(mistaken) == []
        (warning,) = [one.message for one in caplog.records if "replica" in one.message]
        assert "lacks a right, GRANT it: permission denied for table vae_collections" in warning
        assert "writable" not in warning
    finally:
        await mistaken.close()


async def test_a_replica_that_has_not_the_latest_schema_yet(
    primary: Postgres, replica: Replica, name: str, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ReplicatedStore(primary.address(name), replica.address(name), PATIENCE, counts=counts, away=0)
    with psycopg.connect(primary.address(name)) as connection:
        monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:-1])
        schema.migrate(connection)
        monkeypatch.undo()
    replica.catch_up()
    replica.pause()
    try:
        await store.open()
        await store.create(DIGITS)
        assert await nearest(store) == []
        assert counts == {"behind": 1}
    finally:
        replica.resume()
        await store.close()


async def test_what_takes_too_long_on_the_replica_is_not_begun_again(store: ReplicatedStore, counts: Counter[str]) -> None:
    def slow(connection: psycopg.Connection[object]) -> None:
        connection.execute("SET LOCAL statement_timeout = 1")
        connection.execute("SELECT pg_sleep(60)")

    with pytest.raises(StoreUnavailable, match="took too long"):
        await store._read(slow, "digits")
    assert counts == {}


async def test_the_service_reads_from_it_and_counts(primary: Postgres, replica: Replica, name: str, weights: Path) -> None:
    async with serving(weights, primary.address(name), store_reads=replica.address(name)) as (_, client):
        (await client.put("/collections/digits")).raise_for_status()
        item = {"id": "a", "mu": [0.0] * 3}
        (await client.post("/collections/digits/items", json={"items": [item]})).raise_for_status()
        replica.catch_up()
        found = (await client.get("/collections/digits/items/a")).raise_for_status()
        assert found.json()["id"] == "a"
        assert 'vae_store_reads_total{answered="replica"} ' in (await client.get("/metrics")).text
