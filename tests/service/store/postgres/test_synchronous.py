"""A primary that waits for a synchronous standby: no change is acknowledged that the standby may lack, and nobody waits on."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import numpy as np
import psycopg
import pytest

from service.store.interface import StoreBusy, StoreUnavailable
from service.store.postgres import transactions
from service.store.postgres.store import PgvectorStore
from tests.service.store.gaussians import DIGEST, DIGITS, items
from tests.service.store.postgres_server import Postgres, Replica

PATIENCE = 0.5
# so long nothing takes here, nor the end of a store
LONG = 10.0


@pytest.fixture(scope="module")
def waiting(primary: Postgres) -> Iterator[tuple[Postgres, Replica]]:
    primary = Postgres(programs=primary.programs)
    standby = Replica(primary)
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.execute("SELECT pg_reload_conf()")
    yield primary, standby
    standby.remove()
    primary.remove()


@pytest.fixture
async def store(waiting: tuple[Postgres, Replica]) -> AsyncIterator[PgvectorStore]:
    """With a collection; its standby is away."""
    primary, standby = waiting
    name = f"test_{time.monotonic_ns()}"
    found = PgvectorStore(primary.create(name), PATIENCE)
    await found.open()
    await found.create(DIGITS)
    standby.stop()
    yield found
    if not standby.is_running():
        standby.start()
    await found.close()


async def add(store: PgvectorStore, id: str) -> int:
    return (await store.upsert("digits", DIGEST, items(np.random.default_rng(0), [id]), "error")).seq


async def committing(primary: Postgres, count: int = 1) -> None:
    """Return when so many sessions wait for the standby."""
    give_up = time.monotonic() + LONG
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with psycopg.connect(primary.address(), autocommit=True) as connection:
        while connection.execute(waits).fetchone() != (count,):
            assert time.monotonic() < give_up
            await asyncio.sleep(0.01)


async def test_the_wait_is_bounded(
    waiting: tuple[Postgres, Replica], store: PgvectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "CONFIRM_SECONDS", 2.0)
    primary, standby = waiting
    first = asyncio.ensure_future(add(store, "a"))
    await committing(primary)
    with pytest.raises(StoreBusy, match="nothing was changed"):
        await add(store, "b")
    with pytest.raises(StoreUnavailable, match=r"not confirmed .* synchronous standby .* may or may not have been made"):
        await asyncio.wait_for(first, LONG)
    with pytest.raises(StoreBusy, match="nothing was changed"):  # the database still waits, and still holds its lock
        await add(store, "c")
    assert (await store.collection("digits")).count == 0
    standby.start()
    await committing(primary, 0)
    give_up = time.monotonic() + LONG
    while True:
        try:
            assert await add(store, "d") == 2
            break
        except StoreBusy:  # until the store has seen the end of what it has stopped
            assert time.monotonic() < give_up
            await asyncio.sleep(0.01)
    assert (await store.scan("digits")).ids == ["a", "d"]


async def test_a_wait_that_is_cancelled_in_the_database_is_no_acknowledgement(
    waiting: tuple[Postgres, Replica], store: PgvectorStore
) -> None:
    primary, _ = waiting
    change = asyncio.ensure_future(add(store, "a"))
    await committing(primary)
    primary.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    with pytest.raises(StoreUnavailable, match="was cancelled; the change may or may not have been made"):
        await asyncio.wait_for(change, LONG)


@pytest.mark.parametrize("leave", [True, False], ids=["cancelled", "waiting"])
async def test_nobody_cancels_the_wait_and_the_end_comes_in_time(
    waiting: tuple[Postgres, Replica], store: PgvectorStore, leave: bool
) -> None:
    """A cancelled wait would make the change visible, which the standby has not."""
    primary, _ = waiting
    change = asyncio.ensure_future(add(store, "a"))
    await committing(primary)
    if leave:
        change.cancel()
    else:
        await asyncio.wait_for(store.close(), LONG)
    with pytest.raises(asyncio.CancelledError if leave else StoreUnavailable):
        await asyncio.wait_for(change, LONG)
    await committing(primary)
