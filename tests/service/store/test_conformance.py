"""What every latent store does, whichever engine is behind it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from service.store.interface import (
    LatentStore,
    ModelMismatch,
    Query,
    Search,
    UnknownCollection,
    UnknownItem,
)
from tests.service.store.conftest import Opener
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items, same

AWKWARD = ["a/b", "ä", "z" * 512, " ", "%", "'; DROP TABLE items; --", '"', "\\", "0", "😀", "A", "b", "B"]


async def test_collections_are_made_listed_changed_and_dropped(store: LatentStore) -> None:
    assert await store.collections() == []
    assert await store.create(DIGITS) == DIGITS
    assert await store.create(DIGITS) == DIGITS
    other = replace(DIGITS, name="Clothes", digest="cd" * 32, dim=3, metric="w2", sigma_weight=2.5)
    assert await store.create(other) == other
    assert await store.collections() == [other, DIGITS]
    changed = replace(DIGITS, metric="cosine", description="new")
    assert await store.create(changed) == changed == await store.collection("digits")
    for weight in (3.0, 0.1 + 0.2, 1.0):
        weighted = replace(changed, metric="w2", sigma_weight=weight)
        assert await store.create(weighted) == weighted == await store.collection("digits")
    with pytest.raises(ModelMismatch, match=f"{DIGEST}.*{'cd' * 32}"):
        await store.create(replace(DIGITS, digest="cd" * 32))
    await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a", "b"]))
    assert (await store.drop("digits")).count == 2
    assert await store.collections() == [other]
    for call in calls(store):
        with pytest.raises(UnknownCollection, match="digits"):
            await call()
    await store.create(replace(DIGITS, dim=2, digest="ee"))
    assert (await store.collection("digits")).count == 0
    assert (await store.get("digits", ["a"])).ids == []


def calls(store: LatentStore) -> list[Callable[[], Any]]:
    rng = np.random.default_rng(0)
    return [
        lambda: store.collection("digits"),
        lambda: store.drop("digits"),
        lambda: store.upsert("digits", DIGEST, items(rng, ["a"])),
        lambda: store.get("digits", ["a"]),
        lambda: store.delete("digits", "a"),
        lambda: store.search("digits", DIGEST, Search([Query(np.zeros(DIM, np.float32))], 1, "l2")),
        lambda: store.scan("digits"),
    ]


async def test_nothing_is_there_before_it_is_made(store: LatentStore) -> None:
    for call in calls(store):
        with pytest.raises(UnknownCollection):
            await call()


async def test_items_come_back_as_they_went_in(store: LatentStore) -> None:
    await store.create(DIGITS)
    metadata = [{"n": i, "ü": ["x", None, {"y": 1.5}], "t": 'a"\\\n'} for i in range(len(AWKWARD))]
    block = items(np.random.default_rng(0), AWKWARD, metadata=metadata, sigmas=0.5)
    block.mu[0] = [1e-40, -1e4, 3.4e-5, 1 / 3, -0.0]
    assert (await store.upsert("digits", DIGEST, block)).seq == len(AWKWARD)
    found = await store.get("digits", [*reversed(AWKWARD), "nobody"])
    assert found.ids == AWKWARD[::-1]
    assert found.mu[::-1].tobytes() == block.mu.tobytes()
    assert found.sigma[::-1].tobytes() == block.sigma.tobytes()
    assert found.has_sigma[::-1].tolist() == block.has_sigma.tolist()
    assert [orjson.loads(text) for text in found.metadata[::-1]] == metadata
    assert found.seqs == list(range(len(AWKWARD), 0, -1))
    assert (await store.collection("digits")).count == len(AWKWARD)
    listed, after = [], ""
    while (page := await store.scan("digits", after, 4)).ids:
        listed += page.ids
        after = page.ids[-1]
    assert listed == sorted(AWKWARD, key=str.encode)


async def test_upsert_replaces_and_is_idempotent(store: LatentStore) -> None:
    await store.create(DIGITS)
    rng = np.random.default_rng(0)
    first, second = items(rng, ["a", "b", "c"], metadata=[{"x": 1}] * 3), items(rng, ["b", "d"])
    assert (await store.upsert("digits", DIGEST, first)).seq == 3
    for seq in (5, 7):
        assert (await store.upsert("digits", DIGEST, second)).seq == seq
        found = await store.get("digits", ["a", "b", "c", "d"])
        assert found.mu.tobytes() == np.stack([first.mu[0], second.mu[0], first.mu[2], second.mu[1]]).tobytes()
        assert found.metadata[1] == b"{}"
        assert (await store.collection("digits")).count == 4
    with pytest.raises(ModelMismatch, match=f"{DIGEST}.*{'cd' * 32}"):
        await store.upsert("digits", "cd" * 32, second)
    with pytest.raises(ModelMismatch):
        await store.search("digits", "cd" * 32, Search([Query(id="a")], 1, "l2"))
    assert (await store.collection("digits")).seq == 7


async def test_deleted_is_gone_until_it_comes_back(store: LatentStore) -> None:
    await store.create(DIGITS)
    rng = np.random.default_rng(0)
    block = items(rng, ["a", "b", "c"])
    await store.upsert("digits", DIGEST, block)
    look = Search([Query(block.mu[1])], 1, "l2")
    assert (await store.search("digits", DIGEST, look)).neighbors[0].items.ids == ["b"]
    assert await store.delete("digits", "b") == 4
    for _ in range(2):
        with pytest.raises(UnknownItem, match="'b'"):
            await store.delete("digits", "b")
    assert (await store.search("digits", DIGEST, look)).neighbors[0].items.ids != ["b"]
    assert ((await store.get("digits", ["b"])).ids, (await store.scan("digits")).ids) == ([], ["a", "c"])
    with pytest.raises(UnknownItem, match="'b'"):
        await store.search("digits", DIGEST, Search([Query(id="b")], 1, "l2"))
    assert (await store.upsert("digits", DIGEST, block)).seq == 7
    assert (await store.search("digits", DIGEST, look)).neighbors[0].items.ids == ["b"]
    assert (await store.collection("digits")).count == 3


async def test_what_one_store_acknowledges_the_other_finds(opener: Opener) -> None:
    one, other = await opener(), await opener()
    await one.create(DIGITS)
    rng, twin = np.random.default_rng(0), Twin()
    for i in range(20):
        writer, reader = (one, other) if i % 2 else (other, one)
        block = items(rng, list(dict.fromkeys([f"{i}", f"{i // 2}", "x"])))
        await writer.upsert("digits", DIGEST, block)
        twin.upsert(block)
        if i % 5 == 4:
            await writer.delete("digits", "x")
            del twin.rows["x"]
        found = await reader.search("digits", DIGEST, Search([Query(block.mu[0])], 5, "l2", exact=True))
        same(found.neighbors[0], twin.nearest("l2", block.mu[0], np.zeros(DIM), 5))
    await one.drop("digits")
    with pytest.raises(UnknownCollection):
        await other.search("digits", DIGEST, Search([Query(id="x")], 1, "l2"))


async def test_concurrent_changes_and_searches(opener: Opener) -> None:
    """Nothing acknowledged is missed, nothing is found half."""
    stores = [await opener(), await opener()]
    await stores[0].create(DIGITS)

    async def work(worker: int) -> list[str]:
        rng, store = np.random.default_rng(worker), stores[worker % 2]
        for i in range(8):
            ids = [f"{worker}-{i}-{j}" for j in range(5)]
            block = items(rng, ids)
            await store.upsert("digits", DIGEST, block)
            search = Search([Query(block.mu[0])], 1, "l2", exact=True, with_vectors=True)
            (neighbors,) = (await stores[i % 2].search("digits", DIGEST, search)).neighbors
            assert neighbors.items.ids == [ids[0]]
            assert neighbors.items.mu[0].tolist() == block.mu[0].tolist()
            await store.delete("digits", ids[4])
        return [f"{worker}-{i}-{j}" for i in range(8) for j in range(4)]

    kept = await asyncio.gather(*(work(worker) for worker in range(8)))
    expected = sorted(id for ids in kept for id in ids)
    assert (await stores[0].scan("digits", limit=1000)).ids == expected
    collection = await stores[1].collection("digits")
    assert (collection.count, collection.seq) == (len(expected), 8 * 8 * 6)
