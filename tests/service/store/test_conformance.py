"""What every latent store does, whichever engine is behind it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from service.distances import METRICS
from service.store.filters import BadFilter, parse_filter
from service.store.interface import (
    BadItem,
    LatentStore,
    ModelMismatch,
    Query,
    Search,
    UnknownCollection,
    UnknownItem,
)
from service.store.sqlite import SqliteStore
from tests.service.store.conftest import Opener
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items, same

AWKWARD = ["a/b", "ä", "z" * 512, " ", "%", "'; DROP TABLE items; --", '"', "\\", "0", "😀", "A", "b", "B"]


async def test_collections_are_made_listed_changed_and_dropped(store: LatentStore) -> None:
    assert await store.collections() == []
    assert await store.create(DIGITS) == DIGITS
    assert await store.create(DIGITS) == DIGITS
    other = replace(DIGITS, name="Clothes", digest="cd" * 32, dim=3, metric="w2")
    assert await store.create(other) == other
    assert await store.collections() == [other, DIGITS]
    changed = replace(DIGITS, metric="cosine", description="new")
    assert await store.create(changed) == changed == await store.collection("digits")
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
        lambda: store.count("digits"),
        lambda: store.changes("digits"),
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
    assert await store.upsert("digits", DIGEST, block) == len(AWKWARD)
    found = await store.get("digits", [*reversed(AWKWARD), "nobody"])
    assert found.ids == AWKWARD[::-1]
    assert found.mu[::-1].tobytes() == block.mu.tobytes()
    assert found.sigma[::-1].tobytes() == block.sigma.tobytes()
    assert found.has_sigma[::-1].tolist() == block.has_sigma.tolist()
    assert [orjson.loads(text) for text in found.metadata[::-1]] == metadata
    assert found.seqs == list(range(len(AWKWARD), 0, -1))
    assert await store.count("digits") == (await store.collection("digits")).count == len(AWKWARD)
    listed, after = [], ""
    while (page := await store.scan("digits", after, 4)).ids:
        listed += page.ids
        after = page.ids[-1]
    assert listed == sorted(AWKWARD, key=str.encode)


async def test_upsert_replaces_and_is_idempotent(store: LatentStore) -> None:
    await store.create(DIGITS)
    rng = np.random.default_rng(0)
    first, second = items(rng, ["a", "b", "c"], metadata=[{"x": 1}] * 3), items(rng, ["b", "d"])
    assert await store.upsert("digits", DIGEST, first) == 3
    for seq in (5, 7):
        assert await store.upsert("digits", DIGEST, second) == seq
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
    assert await store.upsert("digits", DIGEST, block) == 7
    assert (await store.search("digits", DIGEST, look)).neighbors[0].items.ids == ["b"]
    assert await store.count("digits") == 3


async def test_changes_since(store: LatentStore) -> None:
    await store.create(DIGITS)
    rng = np.random.default_rng(0)
    await store.upsert("digits", DIGEST, items(rng, ["a", "b", "c"]))
    await store.delete("digits", "a")
    await store.upsert("digits", DIGEST, items(rng, ["d", "b"]))
    everything = await store.changes("digits")
    assert (everything.items.ids, everything.items.seqs) == (["c", "d", "b"], [3, 5, 6])
    assert (everything.deleted, everything.seq, everything.complete) == ({"a": 4}, 6, True)
    later = await store.changes("digits", 3, limit=2)
    assert (later.items.ids, later.deleted, later.seq) == (["d"], {"a": 4}, 5)
    last = await store.changes("digits", 5)
    assert (last.items.ids, last.deleted, last.seq) == (["b"], {}, 6)
    none = await store.changes("digits", 6)
    assert (none.items.ids, none.seq) == ([], 6)


ODD: list[dict[str, Any]] = [{}, {"label": "4", "tag": None}, {"label": True, "tag": 1.5}, {}]


async def filled(store: LatentStore, count: int = 400) -> Twin:
    rng, twin = np.random.default_rng(3), Twin()
    await store.create(DIGITS)
    for start in range(0, count, 100):
        ids = [f"{i:04d}" for i in range(start, start + 100)]
        metadata: list[dict[str, Any]] = [
            {"label": i % 10, "tag": "ab"[i % 2] * (i % 3 + 1)} for i in range(start, start + 100)
        ]
        for i in range(0, 100, 7):
            odd: list[dict[str, Any]] = [
                {},
                {"label": str(i % 10), "tag": None},
                {"label": True, "tag": 1.5},
                {"label": i + 0.5},
            ]
            metadata[i] = odd[i % 4]
        block = items(rng, ids, metadata=metadata, sigmas=0.9)
        block.mu[5:10] = block.mu[5]
        block.sigma[5:10], block.has_sigma[5:10] = 0.5, True
        await store.upsert("digits", DIGEST, block)
        twin.upsert(block)
    for i in range(0, count, 50):
        await store.delete("digits", f"{i:04d}")
        del twin.rows[f"{i:04d}"]
    again = items(rng, [f"{i:04d}" for i in range(0, count, 25)], metadata=[{"label": 3}] * (count // 25))
    await store.upsert("digits", DIGEST, again)
    twin.upsert(again)
    return twin


FILTERS: list[dict[str, Any]] = [
    {},
    {"label": 7},
    {"label": 3.0},
    {"label": "7"},
    {"label": True},
    {"label": {"gte": 4, "lt": 6}},
    {"label": {"in": [1, "2", True, None, 5]}},
    {"label": {"ne": 7}},
    {"label": {"in": []}},
    {"label": {"gt": 2.5}, "tag": {"in": ["a", "aa"]}},
    {"tag": {"gte": "b"}},
    {"tag": {"lt": "b"}},
    {"tag": None},
    {"tag": {"ne": None}},
    {"tag": {"exists": False}},
    {"tag": {"exists": True}, "label": {"lte": 1e300}},
]


async def test_every_metric_and_filter_is_exact(store: LatentStore) -> None:
    """Also when it does not claim to be: so few items are all that an approximate index looks at."""
    twin, rng = await filled(store), np.random.default_rng(5)
    for metric in METRICS:
        for filter, exact in [(filter, exact) for filter in FILTERS for exact in (True, None)]:
            conditions = parse_filter(filter)
            mu = np.stack([rng.standard_normal(DIM), twin.rows["0005"][0]]).astype(np.float32)
            sigma = rng.uniform(0.1, 1, (2, DIM)).astype(np.float32)
            queries = [Query(mu[0], sigma[0]), Query(mu[1], sigma[1])]
            asked = Search(queries, 9, metric, conditions, exact=exact)
            found = await store.search("digits", DIGEST, asked)
            assert found.exact or (exact is None and metric == "l2")
            assert exact or found.exact == (metric != "l2" or isinstance(store, SqliteStore))
            for i in range(2):
                same(found.neighbors[i], twin.nearest(metric, mu[i], sigma[i], 9, conditions))


async def test_filters_count_and_list_what_they_find(store: LatentStore) -> None:
    twin = await filled(store, 100)
    for filter in FILTERS:
        conditions = parse_filter(filter)
        expected = {id for id, _ in twin.nearest("l2", np.zeros(DIM), np.zeros(DIM), 1000, conditions)}
        assert {*(await store.scan("digits", limit=1000, filter=conditions)).ids} == expected
        assert await store.count("digits", conditions) == len(expected)


async def test_unknown_keys_of_filters(store: LatentStore) -> None:
    await store.create(DIGITS)
    lable = parse_filter({"lable": 3})
    search = Search([Query(np.zeros(DIM, np.float32))], 1, "l2", lable)
    assert (await store.search("digits", DIGEST, search)).neighbors[0].items.ids == []
    await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a"], metadata=[{"label": 3}]))
    for call in (store.search("digits", DIGEST, search), store.count("digits", lable), store.scan("digits", filter=lable)):
        with pytest.raises(BadFilter, match="did you mean 'label'"):
            await call


async def test_ids_dimensions_vectors_and_candidates(store: LatentStore) -> None:
    twin = await filled(store)
    for metric in METRICS:
        await check_options(store, twin, metric)


async def check_options(store: LatentStore, twin: Twin, metric: str) -> None:
    mu, sigma = twin.rows["0007"][:2]
    by_id = await store.search("digits", DIGEST, Search([Query(id="0007")], 5, metric, exact=True, with_vectors=True))
    same(by_id.neighbors[0], twin.nearest(metric, mu, sigma, 5))
    neighbors = by_id.neighbors[0].items
    for i, id in enumerate(neighbors.ids):
        row = twin.rows[id]
        assert (neighbors.mu[i].tolist(), neighbors.sigma[i].tolist()) == (row[0].tolist(), row[1].tolist())
        assert orjson.loads(neighbors.metadata[i]) == row[3]
    part = await store.search("digits", DIGEST, Search([Query(id="0007")], 5, metric, exact=True, dimensions=(0, 3)))
    same(part.neighbors[0], twin.nearest(metric, mu, sigma, 5, dimensions=(0, 3)))
    all_of_them = await store.search("digits", DIGEST, Search([Query(id="0007")], 5, metric, candidates=10_000))
    same(all_of_them.neighbors[0], twin.nearest(metric, mu, sigma, 5))
    assert (by_id.exact, part.exact, all_of_them.exact) == (True, True, False)
    assert by_id.seq == (await store.collection("digits")).seq


async def test_ties_are_ordered_by_id(store: LatentStore) -> None:
    await store.create(DIGITS)
    rng = np.random.default_rng(0)
    ids = [f"{i:03d}" for i in rng.permutation(200)]
    block = items(rng, ids)
    block.mu[:], block.sigma[:] = 0.25, 0.5
    await store.upsert("digits", DIGEST, block)
    for metric in METRICS:
        query = Query(np.ones(DIM, np.float32), np.ones(DIM, np.float32))
        found = await store.search("digits", DIGEST, Search([query], 7, metric, exact=True))
        assert found.neighbors[0].items.ids == [f"{i:03d}" for i in range(7)]


async def test_queries_that_cannot_be(store: LatentStore) -> None:
    await filled(store, 100)
    for metric, entry in METRICS.items():
        plain = store.search("digits", DIGEST, Search([Query(np.zeros(DIM, np.float32))], 1, metric))
        if entry.needs_sigma:
            with pytest.raises(BadItem, match="needs a sigma"):
                await plain
        else:
            await plain
    with pytest.raises(BadItem, match=r"\(4,\)"):
        await store.search("digits", DIGEST, Search([Query(np.zeros(4, np.float32))], 1, "l2"))


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
    seen = await stores[0].changes("digits", limit=10_000)
    assert len(seen.items) == len(expected)
    assert len(seen.deleted) == 64


async def test_a_store_keeps_what_it_has(opener: Opener) -> None:
    first = await opener()
    twin = await filled(first)
    before = await first.collection("digits")
    await first.close()
    again = await opener()
    assert await again.collection("digits") == before
    query = Query(np.zeros(DIM, np.float32), np.ones(DIM, np.float32))
    for metric in METRICS:
        found = await again.search("digits", DIGEST, Search([query], 20, metric, exact=True))
        same(found.neighbors[0], twin.nearest(metric, query.mu, query.sigma, 20))
