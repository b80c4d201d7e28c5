"""What every latent store finds, whichever engine is behind it: the same as brute force."""

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from service.latents.distances import METRICS
from service.store.filters import BadFilter, parse_filter
from service.store.interface import (
    BadItem,
    LatentStore,
    Query,
    Search,
)
from service.store.sqlite.store import SqliteStore
from tests.service.store.conftest import Opener
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items, same


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
        for i in range(3, 100, 9):
            metadata[i] |= {"tags": ["red", "b" * (i % 3), i], "geo": {"city": "ab"[i % 2] * 2, "at": {"x": i}}}
            metadata[i + 1] |= {"geo.city": "bb", "geo": {"city": ["aa", "b"]}}
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
    {"tags": "red"},
    {"tags": {"in": ["bb", 12]}},
    {"tags": {"ne": "red"}},
    {"tags": {"contains": 12}},
    {"tag": {"contains": "aa"}},
    {"geo.city": "bb"},
    {"geo.city": {"contains": "a"}, "geo.at.x": {"lt": 60}},
    {"geo.at.x": {"exists": True}},
    {"geo.city": {"exists": False}},
    {"geo.street": 1},
    {"lable": {"ne": 3}},
    {"lable": {"exists": False}},
]


async def test_every_metric_and_filter_is_exact(store: LatentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it does not claim to be: so few items are all that an approximate index looks at."""
    monkeypatch.setattr("service.store.postgres.search.EXACT_BELOW", 0)
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


async def test_filters_list_what_they_find(store: LatentStore) -> None:
    twin = await filled(store, 100)
    for filter in FILTERS:
        conditions = parse_filter(filter)
        expected = {id for id, _ in twin.nearest("l2", np.zeros(DIM), np.zeros(DIM), 1000, conditions)}
        assert {*(await store.scan("digits", limit=1000, filter=conditions)).ids} == expected


async def test_unknown_keys_of_filters(store: LatentStore) -> None:
    """They match nothing and are named, also in an empty collection; a strict filter is refused unless that is empty."""
    await store.create(DIGITS)
    lable = parse_filter({"lable": 3})
    search = Search([Query(np.zeros(DIM, np.float32))], 1, "l2", lable, strict=True)
    assert await found_by(store, search) == ([], [("lable", None)])
    block = items(np.random.default_rng(0), ["a"], metadata=[{"label": 3, "geo": {"city": 1}, "q.r": 2}])
    await store.upsert("digits", DIGEST, block)
    for call in (store.search("digits", DIGEST, search), store.scan("digits", filter=lable, strict=True)):
        with pytest.raises(BadFilter, match="did you mean 'label'"):
            await call
    for filter, ids, unknown in (
        ({"lable": 3}, [], [("lable", "label")]),
        ({"label": 3, "x": {"ne": 3}, "lable": {"exists": False}}, ["a"], [("x", None), ("lable", "label")]),
        ({"geo.city": 1, "q.r": 2}, ["a"], []),
        ({"geo.city": 2}, [], []),
        ({"geo.street": 1, "goe.city": 1}, [], [("geo.street", None), ("goe.city", "geo.city")]),
        ({"geo.cty": 1, "goe.town": 1, "q.s": 1}, [], [("geo.cty", None), ("goe.town", None), ("q.s", "q.r")]),
        ({"geo.": 1}, [], [("geo.", "geo")]),
    ):
        assert await found_by(store, replace(search, filter=parse_filter(filter), strict=False)) == (ids, unknown), filter
    await store.delete("digits", "a")
    assert await found_by(store, replace(search, filter=parse_filter({"label": 3, "geo.city": 1}))) == (
        [],
        [("geo.city", None)],
    )


async def found_by(store: LatentStore, search: Search) -> tuple[list[str], list[tuple[str, str | None]]]:
    """The ids that a search and a list find, and the unknown keys of the filter with what is similar to them."""
    found, listed = (
        await store.search("digits", DIGEST, search),
        await store.scan("digits", filter=search.filter, strict=search.strict),
    )
    assert (found.neighbors[0].items.ids, found.unknown) == (listed.ids, listed.unknown)
    return listed.ids, [(one.key, one.similar) for one in found.unknown]


async def test_an_unknown_key_among_very_many(store: LatentStore) -> None:
    """It is compared with some of them only, those that are about as long."""
    await store.create(DIGITS)
    many = [{f"{letter * 30}{i}": 0 for i in range(3000)} for letter in "xy"]
    await store.upsert(
        "digits", DIGEST, items(np.random.default_rng(0), ["a", "b"], metadata=[{**many[0], "label": 3}, many[1]])
    )
    with pytest.raises(BadFilter, match="did you mean 'label'"):
        await store.scan("digits", filter=parse_filter({"lable": 3}), strict=True)
    assert (await store.scan("digits", filter=parse_filter({"label": 3, "x" * 30 + "7": 0}))).ids == ["a"]


async def test_an_item_is_not_its_own_neighbor(store: LatentStore) -> None:
    """Neither where others are as near as it is itself; other queries of the same search are not affected."""
    twin = await filled(store)
    for metric in METRICS:
        for k, exact, candidates in ((3, True, None), (400, True, None), (3, None, None), (3, None, 390)):
            queries = [Query(id="0007"), Query(*twin.rows["0007"][:2]), Query(id="0005")]
            search = Search(queries, k, metric, (), candidates, exact, exclude_self=True)
            found = await store.search("digits", DIGEST, search)
            for neighbors, id, excluded in zip(found.neighbors, ("0007", "0007", "0005"), (True, False, True), strict=True):
                nearest = twin.nearest(metric, *twin.rows[id][:2], 1000)
                same(neighbors, [pair for pair in nearest if not excluded or pair[0] != id][:k])
                assert (id in neighbors.items.ids) is not excluded
    await store.create(replace(DIGITS, name="lonely"))
    await store.upsert("lonely", DIGEST, items(np.random.default_rng(0), ["only"]))
    alone = await store.search("lonely", DIGEST, Search([Query(id="only")], 3, "l2", exclude_self=True))
    assert alone.neighbors[0].items.ids == []


async def test_ids_weights_vectors_and_candidates(store: LatentStore) -> None:
    twin = await filled(store)
    for metric in METRICS:
        await check_options(store, twin, metric)


async def test_the_weight_of_sigma_is_that_of_the_search(store: LatentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is the collection's, for which there may be an approximate index, or another one."""
    monkeypatch.setattr("service.store.postgres.search.EXACT_BELOW", 0)
    twin, rng = await filled(store), np.random.default_rng(7)
    mu, sigma = rng.standard_normal((6, DIM)).astype(np.float32), rng.uniform(0.1, 1, (6, DIM)).astype(np.float32)
    queries = [Query(mu[i], sigma[i]) for i in range(6)]
    orders = set()
    for own in (1.0, 4.0, 0.001, 1000.0):
        await store.create(replace(DIGITS, metric="w2", sigma_weight=own))
        for weight in (1.0, 4.0, 1000.0):
            found = await store.search("digits", DIGEST, Search(queries, 9, "w2", sigma_weight=weight))
            for i in range(6):
                same(found.neighbors[i], twin.nearest("w2", mu[i], sigma[i], 9, sigma_weight=weight))
            assert found.exact is (isinstance(store, SqliteStore) or weight != own)
            orders.add((weight, tuple(found.neighbors[0].items.ids)))
        few = await store.search("digits", DIGEST, Search(queries[:1], 9, "l2", candidates=9))
        assert {*few.neighbors[0].items.ids} == {id for id, _ in twin.nearest("w2", mu[0], sigma[0], 9, sigma_weight=own)}
    assert len(orders) == 3  # Each weight has its own neighbours.


async def check_options(store: LatentStore, twin: Twin, metric: str) -> None:
    mu, sigma = twin.rows["0007"][:2]
    by_id = await store.search("digits", DIGEST, Search([Query(id="0007")], 5, metric, exact=True, with_vectors=True))
    same(by_id.neighbors[0], twin.nearest(metric, mu, sigma, 5))
    neighbors = by_id.neighbors[0].items
    for i, id in enumerate(neighbors.ids):
        row = twin.rows[id]
        assert (neighbors.mu[i].tolist(), neighbors.sigma[i].tolist()) == (row[0].tolist(), row[1].tolist())
        assert orjson.loads(neighbors.metadata[i]) == row[3]
    part = await store.search("digits", DIGEST, Search([Query(id="0007")], 5, metric, exact=True, sigma_weight=2.5))
    same(part.neighbors[0], twin.nearest(metric, mu, sigma, 5, sigma_weight=2.5))
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
