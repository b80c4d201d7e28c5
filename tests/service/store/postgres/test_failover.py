"""A replica is promoted, and the former primary stands still, stays away, or comes back: nothing acknowledged is hidden."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import psycopg
import pytest

from service.store.interface import StoreUnavailable
from service.store.postgres.replica import ReplicatedStore
from service.store.postgres.store import PgvectorStore
from service.store.postgres.timelines import FormerPrimary, Timelines
from service.store.snapshot import Wanted
from tests.service.store.gaussians import DIGEST, DIGITS, items
from tests.service.store.postgres_server import Postgres, Replica

PATIENCE = 0.5
# so long no change takes here once a server that takes changes is there
LONG = 30.0


class Pair:
    """A primary and a replica of it, which may be promoted."""

    def __init__(self, programs: Path) -> None:
        self.first = Postgres(programs=programs)
        self.first.create("vae")
        self.second = Replica(self.first)
        self.second.catch_up()
        places = f"{self.first.directory},{self.second.directory}"
        self.address = f"postgresql://postgres@/vae?host={places}&target_session_attrs=read-write"

    def ids(self, server: Postgres) -> set[str]:
        """What a server has."""
        with psycopg.connect(server.address("vae")) as connection:
            return {id for (id,) in connection.execute("SELECT id FROM vae_items_1")}

    def fail_over(self) -> None:
        """The primary dies, and the replica takes its place."""
        self.first.kill()
        self.second.promote()


@pytest.fixture
def pair(primary: Postgres) -> Iterator[Pair]:
    found = Pair(primary.programs)
    yield found
    for server in (found.second, found.first):
        if not server.is_running():
            server.restart()
        server.remove()


@asynccontextmanager
async def opened(store: PgvectorStore) -> AsyncIterator[PgvectorStore]:
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def add(store: PgvectorStore, *ids: str) -> int:
    return (await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ids))).seq


async def add_in_the_end(store: PgvectorStore, *ids: str) -> None:
    """However often it takes, until the new primary is found."""
    give_up = time.monotonic() + LONG
    while True:
        try:
            await add(store, *ids)
            return
        except StoreUnavailable:
            assert time.monotonic() < give_up


async def scanned(store: PgvectorStore) -> list[str]:
    return (await store.scan("digits")).ids


async def test_a_replica_of_the_dead_primary_shows_nothing_that_the_new_one_lacks(pair: Pair) -> None:
    """Though its sequence number is higher, and then equal."""
    third, counts = Replica(pair.first), Counter[str]()
    try:
        async with (
            opened(ReplicatedStore(pair.address, third.address("vae"), PATIENCE, counts=counts, away=0)) as store,
            opened(PgvectorStore(pair.address, LONG)) as cautious,
        ):
            await store.create(DIGITS)
            await add(store, "a")
            for replica in (pair.second, third):
                replica.catch_up()
            assert await scanned(store) == ["a"]
            assert counts == {"replica": 1}
            pair.second.stop()
            await add(store, "lost 1", "lost 2")
            (known,) = await cautious.snapshots("digits", [Wanted()], [None], 1 << 20)
            third.catch_up()
            pair.first.kill()
            pair.second.start()
            pair.second.promote()
            assert (await cautious.scan("digits")).ids == ["a"]
            assert await scanned(store) == ["a"]
            await add(store, "new 1")
            assert await scanned(store) == ["a", "new 1"]
            assert await add(store, "new 2") == known.seq
            assert await scanned(store) == ["a", "new 1", "new 2"]
            assert (await store.get("digits", ["lost 1", "new 2"])).ids == ["new 2"]
            assert counts["replica"] == 1
            (current,) = await cautious.snapshots("digits", [Wanted()], [known], 1 << 20)
            assert current.ids == ["a", "new 1", "new 2"]
    finally:
        third.remove()


async def test_a_replica_that_became_a_primary_answers_no_more(primary: Postgres, name: str) -> None:
    """Its later changes are not those of the primary."""
    replica, counts = Replica(primary), Counter[str]()
    store = ReplicatedStore(primary.address(name), replica.address(name), PATIENCE, counts=counts, away=0)
    other = PgvectorStore(replica.address(name))
    try:
        await store.open()
        await store.create(DIGITS)
        replica.catch_up()
        assert await scanned(store) == []
        replica.promote()
        await other.upsert("digits", DIGEST, items(np.random.default_rng(0), ["elsewhere"]))
        assert await scanned(store) == []
        assert counts == {"replica": 1, "away": 1}
    finally:
        await store.close()
        await other.close()
        replica.remove()


async def test_addresses_with_several_servers(primary: Postgres, name: str) -> None:
    """The one for changes finds the replica that was promoted, and the one for reads may mean any of several replicas."""
    first, second, counts = Replica(primary), Replica(primary), Counter[str]()
    changed = f"{primary.address(name)},{first.directory}&target_session_attrs=read-write"
    read = f"{first.address(name)},{second.directory}&load_balance_hosts=random"
    store = ReplicatedStore(changed, read, 30, counts=counts, away=0)
    try:
        await store.open()
        await store.create(DIGITS)
        await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a"]))
        for replica in (first, second):
            replica.catch_up()
        assert await asyncio.gather(*(scanned(store) for _ in range(16))) == [["a"]] * 16
        assert counts["replica"] > 0
        assert counts["away"] == counts["behind"] == 0
        primary.kill()
        first.promote()
        await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["b"]))
        assert await scanned(store) == ["a", "b"]
    finally:
        await store.close()
        primary.restart()
        for replica in (first, second):
            replica.remove()


async def test_a_primary_that_stands_still_is_left_and_not_returned_to(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """A change is in the middle of its transaction, and other servers of the address answer."""
    async with opened(PgvectorStore(pair.address, PATIENCE)) as store:
        await store.create(DIGITS)
        await add(store, "a")
        with psycopg.connect(pair.first.address("vae")) as other:
            other.execute("SELECT * FROM vae_collections FOR UPDATE")
            stuck = asyncio.ensure_future(add(store, "stuck"))
            await asyncio.sleep(0.1)
            pair.second.catch_up()
            with pair.first.frozen():
                pair.second.promote()
                with pytest.raises(StoreUnavailable, match="does not answer; the change may or may not have been made"):
                    await asyncio.wait_for(stuck, LONG)
                await add_in_the_end(store, "b")
                assert await scanned(store) == ["a", "b"]
            await asyncio.gather(*(add_in_the_end(store, f"{i}") for i in range(12)))
    assert {"a", "b", *(f"{i}" for i in range(12))} <= pair.ids(pair.second)
    assert pair.ids(pair.first) <= {"a", "stuck"}


async def test_a_former_primary_that_comes_back_gets_nothing(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Not from who has seen the new one, nor from who has been idle, nor from who starts now, though it is named first.

    While it alone is there, changes are refused.
    """
    async with (
        opened(PgvectorStore(pair.address, LONG)) as store,
        opened(PgvectorStore(pair.address, LONG)) as idle,
        opened(PgvectorStore(pair.address, PATIENCE)) as hasty,
    ):
        await store.create(DIGITS)
        await add(store, "a")
        await idle.collections()
        pair.second.catch_up()
        pair.fail_over()
        await add(store, "b")
        pair.first.restart()
        async with opened(PgvectorStore(pair.address, LONG)) as late:
            for one, name in ((store, "c"), (idle, "d"), (late, "e")):
                await asyncio.gather(*(add(one, f"{name}{i}") for i in range(4)))
                assert len(await scanned(one)) == len(pair.ids(pair.second))
        assert pair.ids(pair.first) == {"a"}
        assert pair.ids(pair.second) == {"a", "b", *(f"{name}{i}" for name in "cde" for i in range(4))}
        await add_in_the_end(hasty, "f")
        pair.second.stop()
        told = caplog.text.count("former primary")
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"is on timeline 1, and another server .* on timeline 2"):
                await add(hasty, "g")
        assert caplog.text.count("former primary") == told  # once is enough
        pair.second.start()
        await add_in_the_end(hasty, "h")
        assert pair.ids(pair.first) == {"a"}


def test_a_connection_pooler_may_change_the_server(primary: Postgres) -> None:
    """What is asked in each transaction that changes something counts, and not what the connection began with."""
    promoted: list[str | None] = []
    timelines = Timelines(primary.address(), promoted.append)
    with psycopg.connect(primary.address(), autocommit=True) as connection:
        timelines.ask(connection)
        timelines.check(connection)
        timelines.acknowledge(connection)
        assert promoted == []
        timelines.check(connection, "0000001F")
        timelines.acknowledge(connection)
        assert len(promoted) == 1
        with pytest.raises(FormerPrimary, match=r"on timeline 1, and another .* on timeline 31"):
            timelines.check(connection, "00000001")
        assert connection.closed
