"""Flat indexes of values and intervals, which `index` makes for the keys that filters may use, though nobody named them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from service.load_command import advise
from service.store.filters import parse_filter
from service.store.interface import Query, Search
from service.store.postgres import filter_keys, key_plan, search, ways
from service.store.postgres.build_indexes import Wanted, build_indexes
from service.store.postgres.store import PgvectorStore
from service.store_command import main
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items, same
from tests.service.store.postgres_server import Postgres

COUNT = 3000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a small collection be treated as a large one."""
    monkeypatch.setattr(key_plan, "LEAST_EXPECTED", 1000)
    monkeypatch.setattr(key_plan, "LEAST_ITEMS", 100)
    monkeypatch.setattr(filter_keys, "INTERVAL_ITEMS", 500)


@pytest.fixture
async def filled(database: str, small: None) -> AsyncIterator[tuple[PgvectorStore, Twin]]:
    """Two halves that are far apart, at different numbers `n`; texts that differ, and what all items have."""
    store, twin = PgvectorStore(database), Twin()
    await store.open()
    await store.create(DIGITS)
    await add(store, twin, 0)
    yield store, twin
    await store.close()


async def add(store: PgvectorStore, twin: Twin, start: int) -> None:
    metadata = [
        {
            "half": "far" if i >= COUNT // 2 else "near",
            "n": i if i % 10 else [i] if i % 20 else str(i),
            "batch": i % 20,
            "note": f"note {i}",
            "all": True,
            "deep": {"n": i},
        }
        for i in range(COUNT)
    ]
    block = items(np.random.default_rng(start), [f"{start + i:05d}" for i in range(COUNT)], metadata=metadata)
    block.mu[COUNT // 2 :] += 20
    await store.upsert("digits", DIGEST, block)
    twin.upsert(block)


async def check(store: PgvectorStore, twin: Twin, filter: dict[str, Any]) -> None:
    """Compare with the exact answers for queries near the first half."""
    conditions, rng = parse_filter(filter), np.random.default_rng(9)
    for _ in range(3):
        mu = rng.standard_normal(DIM).astype(np.float32)
        found = await store.search("digits", DIGEST, Search([Query(mu)], 10, "l2", conditions))
        same(found.neighbors[0], twin.nearest("l2", mu, np.zeros(DIM), 10, conditions))


def scans(database: str) -> dict[str, int]:
    """How many searches have used each kind of index of vectors."""
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT amname, sum(idx_scan)::int FROM pg_stat_user_indexes JOIN pg_class ON oid = indexrelid "
            "JOIN pg_am ON pg_am.oid = relam WHERE amname IN ('hnsw', 'ivfflat') GROUP BY amname"
        ).fetchall()
    return dict(rows)


def without_sorting(postgres: Postgres, database: str) -> PgvectorStore:
    """In so small a collection the planner would sort all that pass, which it does not in a large one."""
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    postgres.execute(f'ALTER DATABASE "{name}" SET enable_sort = off')
    return PgvectorStore(database)


FILTERS: list[dict[str, Any]] = [
    {"half": "far"},
    {"half": {"in": ["far", "near"]}, "batch": {"in": [3, 5, 7]}},
    {"batch": 3.0},
    {"half": "far", "batch": 3},
    {"n": {"gte": 2600}},
    {"n": {"gt": 1999, "lte": 2100.5}},
    {"n": {"lt": -1}},
    {"n": {"gte": 2000, "lt": 2400}, "half": "far"},
    {"half": "far", "note": "note 2001"},
]


async def test_searches_read_them(
    filled: tuple[PgvectorStore, Twin], postgres: Postgres, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that pass are found, though none is near the query; also what is added afterwards."""
    store, twin = filled
    command = ["index", "--store", database, "--collection", "digits"]
    assert await asyncio.to_thread(main, command) == 0
    said = capsys.readouterr().out
    assert "keys that filters may use: 'n', 'half', 'batch'; ranges of numbers: 'n', 'batch'" in said
    assert 'flat index over the 1,500 items with half = "far"' in said
    for filter in FILTERS:
        await check(store, twin, filter)
    await add(store, twin, COUNT)
    for filter in [*FILTERS, {"n": 2001}]:
        await check(store, twin, filter)
    await store.close()
    postgres.wait_until_left(database)
    used = scans(database)
    assert used["hnsw"] == 0
    assert used["ivfflat"] >= 6 * (len(FILTERS) - 1)  # where nothing passes, the B-tree index says so


async def test_wide_ranges_are_read_if_what_is_near_does_not_pass(
    filled: tuple[PgvectorStore, Twin], postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "WHOLE_COST", 1000)
    monkeypatch.setattr(ways, "MEASURED_AT_ONCE", 100)
    store, twin = filled
    build_indexes(database, "digits", Wanted(), print)
    await store.close()
    store = without_sorting(postgres, database)
    await check(store, twin, {"n": {"gte": 1000}, "deep.n": {"gte": 1500}})  # far from the queries
    await store.close()
    postgres.wait_until_left(database)
    used = scans(database)
    assert used["hnsw"] == 3 * 2  # the one over all items, and that of the wide interval, where too few pass
    assert used["ivfflat"] == 3 * 4  # intervals


async def test_wide_intervals_have_indexes_together(
    filled: tuple[PgvectorStore, Twin], postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where too few of their candidates pass, flat indexes are read; also by a connection that has searched before."""
    store, twin = filled
    await store.close()
    store = without_sorting(postgres, database)
    await check(store, twin, {"half": "near"})
    lines: list[str] = []
    build_indexes(database, "digits", Wanted(), lines.append)
    assert len([line for line in lines if line.startswith("making the HNSW index over the ") and " with n " in line]) == 1
    read = list[tuple[str, int]]()
    found_by = search._Task._found

    def noted(task: search._Task, *arguments: Any, **named: Any) -> list[tuple[Any, ...]]:
        rows = found_by(task, *arguments, **named)
        graph = arguments[3].graph
        read.append(("flat" if graph.flat else "wide" if graph.part else "all", len(rows)))
        return rows

    monkeypatch.setattr(search._Task, "_found", noted)
    for filter, first, last in (
        ({"n": {"lt": 1400}}, "wide", "wide"),
        ({"n": {"gt": 300, "lte": 1300}}, "wide", "wide"),
        ({"n": {"gte": 1000, "lt": 2900.5}}, "wide", "flat"),
        ({"n": {"gte": 1600, "lt": 1700}}, "flat", "flat"),
        ({"n": {"gte": 1510, "lt": 2300}}, "wide", "flat"),  # nothing near the queries
        ({"n": {"gte": 1100, "lt": 1900}, "half": {"ne": "near"}}, "wide", "flat"),
        ({"n": {"gte": 0}}, "wide", "flat"),
    ):
        read.clear()
        await check(store, twin, filter)
        assert (read[0][0], read[-1][0]) == (first, last), (filter, read)
    await add(store, twin, COUNT)
    gone = [f"{i:05d}" for i in range(0, 900, 2)]
    await store.delete_ids("digits", gone)
    for id in gone:
        del twin.rows[id]
    await check(store, twin, {"n": {"gte": 100, "lt": 1400}})
    await store.close()


async def test_the_command_repeats_nothing(filled: tuple[PgvectorStore, Twin], database: str) -> None:
    """Again it makes nothing. Where a value has become too frequent for a flat index, one of HNSW takes its place."""
    store, twin = filled
    lines: list[str] = []
    build_indexes(database, "digits", Wanted(), lines.append)
    build_indexes(database, "digits", Wanted(), lines.append)
    assert lines[-1].startswith("done; indexes made: 0, there already: ")
    assert lines[-1].endswith(", dropped: 0")
    build_indexes(database, "digits", Wanted(no_keys=True), lines.append)
    assert lines[-1] == "done; indexes made: 0, there already: 1, dropped: 0"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_plan, "FLAT_MOST", 1000)
        build_indexes(database, "digits", Wanted(), lines.append)
    assert lines[-1].startswith("done; indexes made: 2, there already: ")
    assert lines[-1].endswith(", dropped: 2")
    await check(store, twin, {"half": "far", "batch": 3})


async def test_keys_that_would_cost_too_much_are_left_out_and_named(
    filled: tuple[PgvectorStore, Twin], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, twin = filled
    monkeypatch.setattr(key_plan, "MOST_PARTS", 10)
    lines: list[str] = []
    build_indexes(database, "digits", Wanted(), lines.append)
    assert any("left out" in line and "'batch'" in line for line in lines)
    await check(store, twin, {"batch": 3})


async def test_a_number_that_very_many_items_have_is_not_divided(
    filled: tuple[PgvectorStore, Twin], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, twin = filled
    monkeypatch.setattr(key_plan, "FLAT_MOST", 100)
    lines: list[str] = []
    build_indexes(database, "digits", Wanted(range_keys=("batch",)), lines.append)
    assert any(line.startswith("the numbers at 'batch' are not divided for ranges, since ") for line in lines)
    await check(store, twin, {"batch": {"lt": 3}})


@pytest.mark.parametrize(
    ("key", "scale"), [("rating", 0.5), ("fat %", 1), ("50%s", 1), ("large", 1e30), ("most", -1e304)], ids=str
)
async def test_any_names_and_numbers(
    database: str, small: None, monkeypatch: pytest.MonkeyPatch, key: str, scale: float
) -> None:
    """Bounds that are whole numbers and fractions, names that look like parameters, and more than 64 bits."""
    monkeypatch.setattr(filter_keys, "INTERVAL_ITEMS", 200)
    store, twin = PgvectorStore(database), Twin()
    await store.open()
    await store.create(DIGITS)
    metadata = [{key: i % 21 * scale} for i in range(1050)]
    block = items(np.random.default_rng(0), [f"{i:05d}" for i in range(1050)], metadata=metadata)
    await store.upsert("digits", DIGEST, block)
    twin.upsert(block)
    lines: list[str] = []
    for _ in range(2):
        build_indexes(database, "digits", Wanted(), lines.append)
    assert lines[-1].startswith("done; indexes made: 0")
    assert sum(line.startswith("making the flat index") and ">=" in line for line in lines) >= 1
    for filter in ({"gte": 3 * scale, "lt": 6.5 * scale}, {"gt": 5 * scale}, {"lte": 11 * scale}):
        await check(store, twin, {key: filter})
    await store.close()


async def test_a_very_large_collection_has_larger_intervals(
    filled: tuple[PgvectorStore, Twin], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, twin = filled
    monkeypatch.setattr(key_plan, "FLAT_MOST", 100)
    monkeypatch.setattr(filter_keys, "MOST_INTERVALS", 4)
    lines: list[str] = []
    build_indexes(database, "digits", Wanted(range_keys=("n",)), lines.append)
    assert sum("flat index over the 750 items with n " in line for line in lines) == 4
    await check(store, twin, {"n": {"gte": 100, "lt": 200}})


async def test_means_without_a_direction_are_found_by_cosine(
    filled: tuple[PgvectorStore, Twin], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No index of cosines has them."""
    monkeypatch.setattr(key_plan, "LEAST_ITEMS", 5)
    store, _ = filled
    twin = Twin()
    await store.create(replace(DIGITS, name="angles", metric="cosine"))
    block = items(np.random.default_rng(1), [f"{i}" for i in range(1500)], metadata=[{"few": i < 9} for i in range(1500)])
    block.mu[:4] = 0
    await store.upsert("angles", DIGEST, block)
    twin.upsert(block)
    build_indexes(database, "angles", Wanted(keys=("few",)), print)
    few, mu = parse_filter({"few": True}), np.ones(DIM, np.float32)
    found = await store.search("angles", DIGEST, Search([Query(mu)], 9, "cosine", few))
    same(found.neighbors[0], twin.nearest("cosine", mu, np.zeros(DIM), 9, few))
    # now they are nearer than all others
    block.mu[4:] = -np.abs(block.mu[4:]) * np.where(np.arange(4, 1500) % 2, 1, 1e-24)[:, None]
    await store.upsert("angles", DIGEST, block)
    twin.upsert(block)
    for filter in ({}, {"few": True}, {"few": False}, {"missing": {"exists": False}}, {"few": {"in": [True, False]}}):
        for k in (2, 9):
            found = await store.search("angles", DIGEST, Search([Query(mu)], k, "cosine", parse_filter(filter)))
            same(found.neighbors[0], twin.nearest("cosine", mu, np.zeros(DIM), k, parse_filter(filter)))


async def test_another_metric_drops_them(filled: tuple[PgvectorStore, Twin], database: str) -> None:
    store, _ = filled
    build_indexes(database, "digits", Wanted(), print)
    await store.create(replace(DIGITS, metric="cosine"))
    assert set(scans(database)) == {"hnsw"}


async def test_a_load_says_how_filters_become_fast(
    filled: tuple[PgvectorStore, Twin], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only if the collection is large."""
    store, _ = filled
    await advise(store, "digits")
    assert "`python -m service.store index --collection digits`" in capsys.readouterr().out
    monkeypatch.setattr(key_plan, "LEAST_EXPECTED", COUNT + 1)
    await advise(store, "digits")
    assert not capsys.readouterr().out
