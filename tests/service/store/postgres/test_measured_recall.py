"""`index` measures how many candidates searches have to ask for, and searches do so."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from service.store.interface import Query, Search
from service.store.postgres import build_indexes, measured_recall, search
from service.store.postgres.build_indexes import Wanted
from service.store.postgres.indexes import indexes
from service.store.postgres.store import PgvectorStore
from service.store.postgres.work import find
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items

COUNT = 1500


@pytest.fixture
async def store(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PgvectorStore]:
    """A collection that is large enough to be measured."""
    monkeypatch.setattr(measured_recall, "LEAST_ITEMS", COUNT)
    store = PgvectorStore(database)
    await store.open()
    yield store
    await store.close()


async def fill(store: PgvectorStore, metric: str, start: int = 0) -> Twin:
    twin, block = Twin(), items(np.random.default_rng(start), [f"{start + i}" for i in range(COUNT)])
    await store.create(replace(DIGITS, metric=metric, sigma_weight=2.0 if metric == "w2" else 1.0))
    await store.upsert("digits", DIGEST, block)
    twin.upsert(block)
    return twin


def build(database: str) -> list[str]:
    lines: list[str] = []
    build_indexes.build_indexes(database, "digits", Wanted(), lines.append)
    return lines


@pytest.mark.parametrize("metric", ["l2", "cosine", "w2"])
async def test_the_exact_answers_are_exact(store: PgvectorStore, database: str, metric: str) -> None:
    twin = await fill(store, metric)
    with psycopg.connect(database, autocommit=True) as connection:
        number, collection = find(connection, "digits")
        graph = indexes(connection, number, collection).graph
        queries = measured_recall._queries(connection, graph, COUNT)
        assert len(queries) == measured_recall.QUERIES
        farthest = measured_recall._exact(connection, graph, queries)
        for query, found in zip(queries[:20], farthest, strict=False):
            sigma = query[DIM:] / 2 if metric == "w2" else np.ones(DIM)
            expected = twin.nearest(metric, query[:DIM], sigma, measured_recall.K, sigma_weight=2.0)[-1][1]
            assert found == pytest.approx(expected if metric == "cosine" else expected**2, abs=1e-4)
        few, many = (measured_recall._recall(connection, graph, queries, farthest, count) for count in (5, 1000))
        assert few < 0.9 < 0.99 < many


async def test_searches_look_at_as_many_candidates(
    store: PgvectorStore, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of a connection that has searched before. It is measured again where the items are half as many more."""
    monkeypatch.setattr(measured_recall, "CHOICES", (5, 60, 70))
    await fill(store, "l2")
    asked: list[int] = []
    set_by = search._Task._set

    def noted(task: search._Task, *arguments: Any) -> None:
        set_by(task, *arguments)
        [(found,)] = task.connection.execute("SHOW hnsw.ef_search")
        asked.append(int(found))

    monkeypatch.setattr(search._Task, "_set", noted)
    for k, least, before in ((1, 275, True), (1, 60, False), (100, 400, False)):
        if not before and k == 1:
            lines = build(database)
            assert lines[1].startswith("measuring how many candidates")
            assert lines[2].startswith("searches look at 60 candidates or more, which find ")
            assert not any("measuring" in line for line in build(database))
        await store.search("digits", DIGEST, Search([Query(np.zeros(DIM, np.float32))], k, "l2"))
        assert asked.pop() == least
    await fill(store, "l2", COUNT)
    assert any("measuring" in line for line in build(database))


async def test_too_many_that_are_missed_are_told(store: PgvectorStore, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_recall, "CHOICES", (2, 4))
    await fill(store, "l2")
    lines = build(database)
    assert any(line.startswith("warning: searches may miss more than 3% of the nearest items") for line in lines)


@pytest.mark.parametrize("comment", ["ours, do not drop", "[1]", '{"owner": "search"}', '{"candidates": 7}'])
async def test_comments_of_others_are_left_out(store: PgvectorStore, database: str, comment: str) -> None:
    await fill(store, "l2")
    with psycopg.connect(database, autocommit=True) as connection:
        number, collection = find(connection, "digits")
        connection.execute(f"COMMENT ON INDEX {indexes(connection, number, collection).graph.name} IS '{comment}'".encode())
        assert indexes(connection, number, collection).measured is None
    assert len((await store.search("digits", DIGEST, Search([Query(np.zeros(DIM, np.float32))], 3, "l2"))).neighbors) == 1
    assert any("measuring" in line for line in build(database))
