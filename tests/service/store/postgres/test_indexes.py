"""Indexes of large collections: of 16-bit numbers, and of the frequent values of a key of filters."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from service.store.filters import parse_filter
from service.store.interface import BadItem, Query, Search, StoreBusy, StoreError
from service.store.postgres import key_plan, search
from service.store.postgres.build_indexes import Wanted, build_indexes
from service.store.postgres.schema import LOCK
from service.store.postgres.store import PgvectorStore
from service.store_command import main
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items, same
from tests.service.store.postgres_server import Postgres

COUNT = 3000


async def filled(database: str) -> tuple[PgvectorStore, Twin]:
    """Two kinds of items that are far apart, a rare kind, and a list."""
    store, twin, rng = PgvectorStore(database), Twin(), np.random.default_rng(0)
    await store.open()
    await store.create(replace(DIGITS, metric="w2", sigma_weight=2.0))
    metadata = [
        {"kind": "rare" if i % 1000 == 0 else i % 2, "tags": ["x", i % 2 == 0], "at": 20 * (i % 2 == 0)} for i in range(COUNT)
    ]
    block = items(rng, [f"{i:05d}" for i in range(COUNT)], metadata=metadata)
    block.mu[::2] += 20
    await store.upsert("digits", DIGEST, block)
    twin.upsert(block)
    return store, twin


def graphs(database: str) -> dict[str, bool]:
    """Indexes of vectors, and whether they are valid."""
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid JOIN pg_am a ON a.oid = relam "
            "WHERE amname IN ('hnsw', 'ivfflat')"
        )
        return dict(rows.fetchall())


async def test_filters_keep_recall_where_they_go_with_position(database: str) -> None:
    """The queries are near one kind, and the filter wants the other, the rare one, both, or an element of a list."""
    store, twin = await filled(database)
    try:
        command = ["index", "--store", database, "--collection", "digits", "--numbers", "float16"]
        assert await asyncio.to_thread(main, [*command, "--filter-key", "kind", "--filter-key", "tags"]) == 0
        there = graphs(database)
        assert all(there.values())
        assert len(there) == 6  # all, 0, 1, "x", true, false
        rng = np.random.default_rng(1)
        for filter in (
            {},
            {"kind": 0},
            {"kind": 0.0},
            {"kind": {"in": [1, "rare"]}},
            {"kind": "rare"},
            {"tags": True},
            {"at": {"gte": 10}},
        ):
            conditions, shared, k = parse_filter(filter), 0, 3 if filter == {"kind": "rare"} else 10
            for _ in range(10):
                mu, sigma = rng.standard_normal(DIM).astype(np.float32), rng.uniform(0.1, 1, DIM).astype(np.float32)
                asked = Search([Query(mu, sigma)], k, "w2", conditions, sigma_weight=2.0)
                found = await store.search("digits", DIGEST, asked)
                assert not found.exact
                exact = twin.nearest("w2", mu, sigma, k, conditions, sigma_weight=2.0)
                shared += len({*found.neighbors[0].items.ids} & {id for id, _ in exact})
            assert shared >= 0.97 * 10 * k, filter
    finally:
        await store.close()


async def test_where_nothing_near_passes_all_that_pass_are_measured(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index gives up before it comes to the other kind: only a search of all that pass finds them."""
    monkeypatch.setattr(search, "SCANNED_LEAST", 500)
    monkeypatch.setattr(search, "SCANNED", 1)
    store, twin = await filled(database)
    try:
        conditions, rng = parse_filter({"at": {"gte": 10}}), np.random.default_rng(1)
        for _ in range(10):
            mu, sigma = rng.standard_normal(DIM).astype(np.float32), rng.uniform(0.1, 1, DIM).astype(np.float32)
            found = await store.search("digits", DIGEST, Search([Query(mu, sigma)], 10, "w2", conditions, sigma_weight=2.0))
            same(found.neighbors[0], twin.nearest("w2", mu, sigma, 10, conditions, sigma_weight=2.0))
    finally:
        await store.close()


async def test_numbers_that_16_bits_do_not_have(database: str) -> None:
    """Such items are refused, such queries are answered exactly, and an index over such items cannot be made."""
    store, twin = await filled(database)
    try:
        build_indexes(database, "digits", Wanted(half=True), print)
        large = items(np.random.default_rng(2), ["large"])
        large.mu[0, 0] = 1e5
        with pytest.raises(BadItem, match="at most 65504"):
            await store.upsert("digits", DIGEST, large)
        assert (await store.collection("digits")).count == COUNT
        query = Query(np.full(DIM, 1e5, np.float32), np.ones(DIM, np.float32))
        found = await store.search("digits", DIGEST, Search([query], 5, "w2", sigma_weight=2.0))
        assert found.exact
        same(found.neighbors[0], twin.nearest("w2", np.full(DIM, 1e5), np.ones(DIM), 5, sigma_weight=2.0))
        found = await store.search("digits", DIGEST, Search([query], 5, "jeffreys", sigma_weight=2.0, candidates=COUNT))
        same(found.neighbors[0], twin.nearest("jeffreys", np.full(DIM, 1e5), np.ones(DIM), 5, sigma_weight=2.0))
        build_indexes(database, "digits", Wanted(half=False), print)
        assert len(graphs(database)) == 1
        await store.upsert("digits", DIGEST, large)
        with pytest.raises(BadItem, match="float32"):
            build_indexes(database, "digits", Wanted(half=True), print)
        found = await store.search("digits", DIGEST, Search([Query(id="large")], 1, "w2", sigma_weight=2.0))
        assert (found.neighbors[0].items.ids, found.exact) == (["large"], False)
        build_indexes(database, "digits", Wanted(half=False), print)  # removes what was not finished
        assert list(graphs(database).values()) == [True]
    finally:
        await store.close()


async def test_without_an_index_searches_are_exact_until_there_is_one(database: str) -> None:
    store, _ = await filled(database)
    try:
        asked = Search([Query(id="00001")], 3, "w2", sigma_weight=2.0)
        assert not (await store.search("digits", DIGEST, asked)).exact
        build_indexes(database, "digits", Wanted(no_graphs=True), print)
        await store.create(replace(DIGITS, metric="w2", sigma_weight=2.0, description="new"))
        assert not graphs(database)
        assert (await store.search("digits", DIGEST, asked)).exact
        with psycopg.connect(database) as connection:  # as another command would
            connection.execute("SELECT pg_advisory_lock(%s, 1)", (LOCK,))
            with pytest.raises(StoreBusy, match="another command"):
                build_indexes(database, "digits", Wanted(), print)
            # The end of the connection would release the lock some time later.
            connection.execute("SELECT pg_advisory_unlock(%s, 1)", (LOCK,))
        build_indexes(database, "digits", Wanted(), print)
        assert not (await store.search("digits", DIGEST, asked)).exact
        with pytest.raises(StoreError, match="memory"):
            build_indexes(database, "digits", Wanted(memory="much"), print)
    finally:
        await store.close()


async def test_the_command_says_what_it_did(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its last line is that it is done, with the numbers of indexes; a wrong memory and a wrong name are called so."""
    store, _ = await filled(database)
    try:
        command = ["index", "--store", database, "--collection", "digits"]
        for more, last in (
            (["--filter-key", "kind"], "done; indexes made: 3, there already: 1, dropped: 0"),
            (["--filter-key", "kind"], "done; indexes made: 0, there already: 4, dropped: 0"),
            (["--filter-key", "other"], "done; indexes made: 0, there already: 1, dropped: 0"),
            (["--filter-key", "at"], "done; indexes made: 3, there already: 1, dropped: 2"),
            (["--drop"], "done; vector indexes dropped: 3. Searches are exact now, and slow in a large collection; run the "),
        ):
            assert await asyncio.to_thread(main, [*command, *more]) == 0
            said = capsys.readouterr().out.splitlines()
            assert said[-1].startswith(last)
        assert "dropping the HNSW index over all items" in said
        assert not graphs(database)
        assert await asyncio.to_thread(main, [*command, "--memory", "much"]) == 1
        assert "error: PostgreSQL does not accept the memory 'much': " in capsys.readouterr().err
        assert await asyncio.to_thread(main, [*command[:-1], "digit", "--drop"]) == 1
        there = "its collections are digits; choose one of them"
        assert capsys.readouterr().err == f"error: the store has no collection 'digit': {there}\n"
    finally:
        await store.close()


async def test_a_key_that_no_item_has_gets_no_index(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does one without numbers, if ranges are to be found by it."""
    store, _ = await filled(database)
    try:
        build_indexes(database, "digits", Wanted(keys=("kind",)), print)
        command = ["index", "--store", database, "--collection", "digits", "--filter-key", "knid"]
        assert await asyncio.to_thread(main, [*command, "--range-key", "tags", "--range-key", "aat", "--range-key", "at"]) == 0
        said = capsys.readouterr().out.splitlines()
        advice = "so no index of it is made; check how the key is written"
        for what in ("the key 'knid'", "a number at the key 'tags'", "a number at the key 'aat'"):
            assert f"no item has {what}, {advice}" in said
        assert said[-2] == "no index is dropped, since no item has a key that was named; name others and run the command again"
        assert said[-1] == "done; indexes made: 1, there already: 1, dropped: 0"
        with psycopg.connect(database) as connection:
            rows = connection.execute("SELECT count(*) FROM pg_class WHERE relname ~ '_(range|key)_[0-9a-f]+$'")
            assert rows.fetchone() == (2,)
    finally:
        await store.close()


async def test_each_value_is_looked_at(postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two values have indexes of HNSW; nothing near the query passes among those of one, and enough far away of the other."""
    monkeypatch.setattr(key_plan, "FLAT_MOST", 100)
    monkeypatch.setattr(key_plan, "LEAST_ITEMS", 100)
    postgres.plan_as_if_large(database)
    store, twin = PgvectorStore(database), Twin()
    await store.open()
    try:
        await store.create(DIGITS)
        metadata = [{"side": "ab"[i % 2], "kind": "z" if i % 4 == 1 and i < 2400 else "xyw"[i % 3]} for i in range(COUNT)]
        rng = np.random.default_rng(1)
        block = items(rng, [f"{i}" for i in range(COUNT)], metadata=metadata)
        block.mu[:, 0] += [30 if own["side"] == "a" else 0 if own["kind"] == "z" else 10 for own in metadata]
        await store.upsert("digits", DIGEST, block)
        twin.upsert(block)
        build_indexes(database, "digits", Wanted(keys=("side", "kind")), print)
        for kinds in (["x", "y"], ["x", "y", "w"]):
            mu = rng.standard_normal(DIM).astype(np.float32)
            conditions = parse_filter({"side": {"in": ["a", "b"]}, "kind": {"in": kinds}})
            found = await store.search("digits", DIGEST, Search([Query(mu)], 5, "l2", conditions))
            near = {id for id, _ in twin.nearest("l2", mu, np.zeros(DIM), 5, conditions)}
            assert len(near & set(found.neighbors[0].items.ids)) >= 4
    finally:
        await store.close()


async def test_the_metric_stays_while_indexes_are_made(database: str) -> None:
    store, _ = await filled(database)
    now = replace(DIGITS, metric="w2", sigma_weight=2.0)
    try:
        with psycopg.connect(database, autocommit=True) as other:
            [(number,)] = other.execute("SELECT number FROM vae_collections")
            other.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK, number))  # as `index` does
            with pytest.raises(StoreBusy, match=r"service\.store index` makes indexes of the collection 'digits'"):
                await store.create(replace(now, metric="cosine"))
            await store.create(replace(now, description="another"))
        await store.create(replace(now, metric="cosine"))
    finally:
        await store.close()


async def test_few_items_are_searched_exactly(database: str) -> None:
    store = PgvectorStore(database)
    try:
        await store.open()
        await store.create(DIGITS)
        await store.upsert("digits", DIGEST, items(np.random.default_rng(0), ["a", "b"]))
        assert (await store.search("digits", DIGEST, Search([Query(id="a")], 1, "l2"))).exact
    finally:
        await store.close()


async def test_narrow_ranges_of_a_range_key_are_measured(
    postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index of the key finds them, the planner knows how many they are, and wider ranges come from the HNSW index."""
    store, twin = await filled(database)
    rng, ways = np.random.default_rng(1), list[bool]()
    try:
        numbers = items(
            rng,
            [f"n{i}" for i in range(COUNT)],
            metadata=[{"n": i} if i % 3 else {"n": str(i), "a": {"b": 50}} for i in range(COUNT)],
        )
        await store.upsert("digits", DIGEST, numbers)
        twin.upsert(numbers)
        command = ["index", "--store", database, "--collection", "digits", "--range-key", "n", "--range-key", "a.b"]
        assert await asyncio.to_thread(main, command) == 0
        monkeypatch.setattr("service.store.postgres.ways.MEASURED_AT_ONCE", 500)
        found_by = search._Task._found

        def noted(task: search._Task, *arguments: Any) -> list[tuple[Any, ...]]:
            ways.append(arguments[3].graph is None)
            return found_by(task, *arguments)

        monkeypatch.setattr(search._Task, "_found", noted)
        for filter, is_measured in (
            ({"n": {"lt": 30}}, True),
            ({"n": {"gte": 100, "lt": 400.5}}, True),
            ({"n": {"gt": 2990}, "kind": {"exists": False}}, True),
            ({"n": {"lt": -1}}, True),
            ({"n": {"gte": 5}}, False),
            ({"n": {"lt": "30"}}, False),
            ({"a.b": {"lt": 30}}, True),
            ({"at": {"lt": 30}}, False),
        ):
            conditions = parse_filter(filter)
            for _ in range(3):
                mu, sigma = rng.standard_normal(DIM).astype(np.float32), rng.uniform(0.1, 1, DIM).astype(np.float32)
                asked = Search([Query(mu, sigma)], 10, "w2", conditions, sigma_weight=2.0)
                found = await store.search("digits", DIGEST, asked)
                same(found.neighbors[0], twin.nearest("w2", mu, sigma, 10, conditions, sigma_weight=2.0))
            assert ways[-3:] == [is_measured] * 3, filter
        rows = "SELECT idx_scan > 0 FROM pg_stat_user_indexes WHERE indexrelname ~ '_range_'"
        await store.close()
        postgres.wait_until_left(database)
        with psycopg.connect(database) as connection:
            assert connection.execute(rows).fetchall() == [(True,), (True,)]
    finally:
        await store.close()
