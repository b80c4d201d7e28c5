"""Snapshots: all items in one state, whichever engine is behind the store, and never a mixture of two states."""

import asyncio

import numpy as np
import pytest

from service.operations.snapshots import Snapshots
from service.store.filters import UnknownKey, parse_filter
from service.store.interface import LatentStore, SnapshotTooLarge, UnknownCollection
from service.store.snapshot import Snapshot, Wanted
from tests.service.store.conftest import Opener
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, items
from tests.service.store.test_conformance_search import filled

MANY = 1 << 20
SEVENS = parse_filter({"label": 7})
IDS = tuple(f"{i:04d}" for i in range(0, 400, 9))


async def taken(store: LatentStore, *wanted: Wanted, known: Snapshot | None = None) -> list[Snapshot]:
    return await store.snapshots("digits", wanted, [known] * len(wanted), MANY)


async def test_a_snapshot_is_what_a_scan_finds(store: LatentStore) -> None:
    await filled(store)
    for filter in ((), SEVENS, parse_filter({"nothing": 1})):
        (found,) = await taken(store, Wanted(filter, with_metadata=True))
        there = await store.scan("digits", limit=1000, filter=filter)
        assert (found.ids, found.metadata, found.unknown) == (there.ids, there.metadata, there.unknown)
        assert np.array_equal(found.mu, there.mu)
        assert np.array_equal(found.sigma, there.sigma)
        assert np.array_equal(found.has_sigma, there.has_sigma)
        assert len(found) == len(there.ids)
        assert found.mu.shape == found.sigma.shape == (len(found), DIM)
        assert found.collection == await store.collection("digits")
        assert found.seq == found.collection.seq
        assert (await taken(store, Wanted(filter)))[0].metadata == []


async def test_a_snapshot_of_ids_has_those_that_are_there(store: LatentStore) -> None:
    await filled(store)
    whole, some, nothing = await taken(store, Wanted(), Wanted(ids=("x", "é", *IDS[::-1])), Wanted(ids=()))
    assert some.ids == [id for id in whole.ids if id in IDS]
    assert len(some) == len(IDS)
    rows = [whole.ids.index(id) for id in some.ids]
    assert np.array_equal(some.mu, whole.mu[rows])
    assert np.array_equal(some.sigma, whole.sigma[rows])
    assert len(nothing) == 0
    assert (await taken(store, Wanted(SEVENS, ids=tuple(whole.ids))))[0].ids == (await taken(store, Wanted(SEVENS)))[0].ids
    snapshots = Snapshots(store)
    async with (
        snapshots.lent_of("digits", [Wanted(ids=IDS)]) as [first],
        snapshots.lent_of("digits", [Wanted(ids=IDS)]) as [again],
    ):
        assert first is not again


async def test_it_is_read_again_only_after_a_change(store: LatentStore) -> None:
    await store.create(DIGITS)
    block = items(np.random.default_rng(1), ["b", "a"])
    await store.upsert("digits", DIGEST, block)
    (first,) = await taken(store, Wanted())
    assert first.ids == ["a", "b"]
    assert (await taken(store, Wanted(), known=first))[0] is first
    assert (await taken(store, Wanted(with_metadata=True), known=first))[0] is not first
    await store.patch("digits", "a", {"label": 7})
    (second,) = await taken(store, Wanted(), known=first)
    assert second is not first
    assert second.seq == first.seq + 1
    await store.drop("digits")
    await store.create(DIGITS)
    await store.upsert("digits", DIGEST, items(np.random.default_rng(2), ["c", "d"]))
    (third,) = await taken(store, Wanted(), known=first)  # another collection at the same sequence number
    assert third.seq == first.seq
    assert third.ids == ["c", "d"]


async def test_one_that_is_too_large_is_refused(store: LatentStore) -> None:
    await filled(store)
    with pytest.raises(SnapshotTooLarge, match=r"collection 'digits' take more than the 0 MiB"):
        await store.snapshots("digits", [Wanted()], [None], 10_000)
    with pytest.raises(SnapshotTooLarge, match="ask for no metadata"):
        await store.snapshots("digits", [Wanted(with_metadata=True)], [None], 10_000)
    (found,) = await store.snapshots("digits", [Wanted(SEVENS)], [None], 10_000)
    assert 0 < found.nbytes <= 10_000


async def test_states_are_not_mixed(opener: Opener) -> None:
    """All items change at once, again and again; a snapshot never has two versions, nor do two of one call."""
    store, writer = await opener(), await opener()
    await store.create(DIGITS)
    block = items(np.random.default_rng(0), [f"{i:03d}" for i in range(300)], metadata=[{"label": i % 2} for i in range(300)])

    async def change() -> None:
        for version in range(20):
            block.mu[:] = version
            await writer.upsert("digits", DIGEST, block)

    changing, seen = asyncio.ensure_future(change()), set[float]()
    while not changing.done():
        found = await taken(store, *(Wanted(parse_filter(one)) for one in ({}, {"label": 0}, {"label": 1})))
        versions = np.unique(np.concatenate([one.mu for one in found]))
        assert len(versions) <= 1
        assert len({one.seq for one in found}) == 1
        seen |= set(versions.tolist())
    await changing
    assert len(seen) > 1


async def test_nothing_is_found(store: LatentStore) -> None:
    with pytest.raises(UnknownCollection):
        await taken(store, Wanted())
    await store.create(DIGITS)
    (found,) = await taken(store, Wanted())
    assert len(found) == 0
    assert found.mu.shape == (0, DIM)


async def test_they_are_kept_within_the_bound(opener: Opener) -> None:
    store = await opener()
    await filled(store)
    (whole,) = await taken(store, Wanted())
    snapshots = Snapshots(store, whole.nbytes + 100)
    async with snapshots.lent("digits") as [first], snapshots.lent("digits") as [again]:
        assert first is again
        assert first.ids == whole.ids
    async with snapshots.lent("digits", [(), SEVENS]) as [all_of_them, sevens]:
        assert all_of_them is first
        assert set(sevens.ids) < set(first.ids)
    async with snapshots.lent("digits") as [after]:
        assert after is not first  # there was room for one of the two
    with pytest.raises(UnknownKey):
        async with snapshots.lent("digits", [parse_filter({"lable": 7})], strict=True):
            pass
    async with snapshots.lent("digits", [parse_filter({"lable": 7})]) as [nothing]:
        assert len(nothing) == 0
        assert nothing.unknown[0].similar == "label"
