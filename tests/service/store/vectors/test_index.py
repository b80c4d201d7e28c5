"""The index answers as its slow twin does: a full scan in float64 of whatever is in it."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.latents.distances import METRICS, distance_metric
from service.store.vectors import chunk
from service.store.vectors.candidates import Nearest, Queries
from service.store.vectors.chunk import Floats
from service.store.vectors.index import Index

POOL = ThreadPoolExecutor(3)


class Twin:
    """The same by a dictionary and a sort."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[Floats, Floats, bool]] = {}

    def nearest(
        self,
        metric: str,
        mu: Floats,
        sigma: Floats,
        count: int,
        allowed: set[int] | None = None,
        sigma_weight: float = 1.0,
    ) -> dict[int, float]:
        needs = METRICS[metric].needs_sigma
        numbers = [n for n, row in self.rows.items() if (row[2] or not needs) and (allowed is None or n in allowed)]
        if not numbers:
            return {}
        others = [np.stack([self.rows[n][i] for n in numbers]).astype(np.float64) for i in (0, 1)]
        own = [v.astype(np.float64) for v in (mu, sigma)]
        ranks = distance_metric(metric, sigma_weight).rank(*own, *others)
        bound = np.sort(ranks)[min(count, len(ranks)) - 1]
        return {n: d for n, d in zip(numbers, ranks, strict=True) if d <= bound}


def as_dict(found: Nearest) -> dict[int, float]:
    return dict(zip(found.numbers.tolist(), found.ranks.tolist(), strict=True))


def same(found: Nearest, expected: dict[int, float]) -> None:
    got = as_dict(found)
    assert got.keys() == expected.keys()
    np.testing.assert_allclose([got[n] for n in expected], list(expected.values()), rtol=1e-12, atol=1e-12)


def filled(rng: np.random.Generator, steps: int, dim: int, scale: float = 1.0, shift: float = 0.0) -> tuple[Index, Twin]:
    index, twin, next_number = Index(dim, POOL, 3), Twin(), 3
    for _ in range(steps):
        known = np.array(sorted(twin.rows), np.int64)
        if len(known) and rng.random() < 0.3:
            gone = np.sort(rng.choice(known, rng.integers(1, len(known) + 1) // 2 + 1, replace=False))
            index.remove(np.append(gone, next_number + 10))
            for n in gone.tolist():
                del twin.rows[n]
            known = np.array(sorted(twin.rows), np.int64)
        fresh = next_number + np.cumsum(rng.integers(1, 4, rng.integers(0, 300)))
        old = np.sort(rng.choice(known, min(len(known), 20), replace=False)) if len(known) else known
        between = rng.integers(0, next_number, rng.integers(0, 50))  # some were removed, and some never seen
        numbers = np.unique(np.concatenate([old, between, fresh])).astype(np.int64)
        next_number = int(fresh[-1]) + 1 if len(fresh) else next_number
        mu = (rng.standard_normal((len(numbers), dim)) * scale + shift).astype(np.float32)
        mu[rng.random(len(mu)) < 0.05] = 0
        repeated = rng.random(len(mu)) < 0.2
        mu[repeated] = mu[:1]
        has_sigma = rng.random(len(numbers)) < 0.9
        sigma = np.where(has_sigma[:, None], rng.uniform(0.05, 1, (len(numbers), dim)), 0).astype(np.float32)
        sigma[repeated & has_sigma] = 0.5
        index.put(numbers, mu, sigma, has_sigma)
        twin.rows |= {n: (m, s, h) for n, m, s, h in zip(numbers.tolist(), mu, sigma, has_sigma.tolist(), strict=True)}
    return index, twin


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small collection has several."""
    for module in ("chunk", "index"):
        for name, value in (("CHUNK", 512), ("SMALLEST", 64)):
            monkeypatch.setattr(f"service.store.vectors.{module}.{name}", value)
    monkeypatch.setattr("service.store.vectors.index.FEW", 100)
    monkeypatch.setattr("service.store.vectors.index.SLICE", 200)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(4))
def test_every_metric_is_exact(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    index, twin = filled(rng, 12, 5)
    assert len(index) == len(twin.rows) > 512
    mu = np.concatenate([rng.standard_normal((3, 5)), np.stack([row[0] for row in list(twin.rows.values())[:3]])])
    queries, sigma = mu.astype(np.float32), rng.uniform(0.1, 1, (6, 5)).astype(np.float32)
    counts = [1, 7, 30, 1, 10, 5000]
    for allowed in (None, set(list(twin.rows)[::2]), set(list(twin.rows)[:40]), set()):
        masks = None if allowed is None else index.mask(np.array(sorted(allowed), np.int64))
        for weight in (1.0, 0.001, 2.5, 1000.0):
            found = index.nearest(Queries(metric, queries, sigma, counts, weight), masks)
            for i, one in enumerate(found):
                same(one, twin.nearest(metric, queries[i], sigma[i], counts[i], allowed, weight))


@given(
    seed=st.integers(0, 2**32),
    metric=st.sampled_from(["l2", "cosine", "w2"]),
    scale=st.sampled_from([1e-44, 1e-30, 1e-21, 1e-6, 1.0, 3e3, 1e18, 1e37]),
    shift=st.sampled_from([0.0, 1e-42, 1.0, 5e3]),
    dim=st.integers(1, 8),
    weight=st.sampled_from([1.0, 0.001, 3.0, 1000.0]),
)
@settings(max_examples=120, deadline=None)
def test_the_bounds_hold_where_float32_does_not_tell_rows_apart(
    seed: int, metric: str, scale: float, shift: float, dim: int, weight: float
) -> None:
    rng = np.random.default_rng(seed)
    index, twin = filled(rng, 6, dim, scale, shift)
    query = (rng.standard_normal((2, dim)) * scale + shift).astype(np.float32)
    sigma = np.full((2, dim), 0.5, np.float32)
    for one, i in zip(index.nearest(Queries(metric, query, sigma, [3, 20], weight)), (0, 1), strict=True):
        same(one, twin.nearest(metric, query[i], sigma[i], (3, 20)[i], None, weight))


MAGNITUDES = np.array([0, 1e-45, 1e-40, 1e-30, 1e-24, 1e-12, 1, 1, 1, 1e4])


@pytest.mark.parametrize("dim", [2, 20, 256])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak), pytest.param(2, marks=pytest.mark.soak)])
def test_rows_of_all_magnitudes_lie_side_by_side(metric: str, dim: int, seed: int) -> None:
    """Denormal, zero and huge means beside normal ones, and sigmas from the smallest float32 to the largest latent."""
    rng = np.random.default_rng(seed)
    index, twin, count = Index(dim, POOL, 3), Twin(), 1200

    def some(n: int, least: float) -> Floats:
        rows = rng.standard_normal((n, dim)) * rng.choice(MAGNITUDES, (n, 1))
        rows = np.where(rng.random((n, dim)) < 0.1, rng.choice(MAGNITUDES, (n, dim)), rows)
        return np.maximum(rows, least).astype(np.float32) if least else rows.astype(np.float32)

    mu, sigma = some(count, 0), some(count, 1e-45)
    mu[::7] = mu[3]
    sigma[::14] = sigma[3]
    index.put(np.arange(count), mu, sigma, np.ones(count, np.bool_))
    twin.rows = {n: (mu[n], sigma[n], True) for n in range(count)}
    queries, own = np.concatenate([some(6, 0), mu[:3]]), np.concatenate([some(6, 1e-45), sigma[:3]])
    with np.errstate(all="raise", under="ignore", divide="warn"):
        found = {w: index.nearest(Queries(metric, queries, own, [10] * len(queries), w)) for w in (1.0, 1e-3, 1e3)}
    for weight, i in itertools.product(found, range(len(queries))):
        one = found[weight][i]
        assert not np.isnan(one.ranks).any()
        assert np.isfinite(METRICS[metric].of_rank(one.ranks)).all()
        same(one, twin.nearest(metric, queries[i], own[i], 10, None, weight))


def test_the_order_of_changes_and_those_not_seen_make_no_difference() -> None:
    """One index sees each change, another one only what is left of them, and a third the later rows first."""
    rng = np.random.default_rng(3)
    mu, sigma, known = rng.standard_normal((900, 3)).astype(np.float32), np.ones((900, 3), np.float32), np.ones(900, np.bool_)
    numbers = np.arange(900)
    all_of_them, late, reverse = (Index(3) for _ in range(3))
    all_of_them.put(numbers, mu, sigma, known)
    all_of_them.remove(numbers[::2])
    late.put(numbers[1::2], mu[1::2], sigma[1::2], known[1::2])
    for start in range(800, -1, -100):
        part = slice(start + 1, start + 100, 2)
        reverse.put(numbers[part], mu[part], sigma[part], known[part])
    again = numbers[::20]
    for index in (all_of_them, late, reverse):
        index.put(again, mu[again] + 1, sigma[again], known[again])
        assert len(index) == 450 + 45
    for metric in METRICS:
        query = Queries(metric, mu[:1], sigma[:1], [600])
        found = [as_dict(index.nearest(query)[0]) for index in (all_of_them, late, reverse)]
        assert found[0] == found[1] == found[2]
        assert len(found[0]) == 495


def test_what_is_removed_gives_its_memory_back() -> None:
    index, row, known = Index(2), np.ones((100, 2), np.float32), np.ones(100, np.bool_)
    for start in range(0, 20_000, 100):
        index.put(np.arange(start, start + 100), row, row, known)
        index.remove(np.arange(start, start + 99))
    assert len(index) == 200
    assert sum(chunk.room for chunk in index._chunks) < 2000
    index.remove(np.arange(20_000))
    assert (len(index), index._chunks) == (0, [])
    index.put(np.arange(5, 9), row[:4], row[:4], known[:4])
    assert len(index) == 4


def test_one_query_finds_the_same_among_many() -> None:
    rng = np.random.default_rng(7)
    index, _ = filled(rng, 12, 5)
    mu, sigma = rng.standard_normal((40, 5)).astype(np.float32), np.full((40, 5), 0.3, np.float32)
    for metric in METRICS:
        queries = Queries(metric, mu, sigma, [9] * 40)
        together = index.nearest(queries)
        for i in range(0, 40, 7):
            assert as_dict(index.nearest(queries[i : i + 1])[0]) == as_dict(together[i])


def test_an_empty_index_finds_nothing() -> None:
    zeros = np.zeros((1, 3), np.float32)
    for metric in METRICS:
        assert as_dict(Index(3).nearest(Queries(metric, zeros, zeros + 1, [5]))[0]) == {}
    assert chunk.row_bytes(3) > 24


@pytest.mark.parametrize("metric", METRICS)
def test_reranking_measures_the_nearest_by_w2(metric: str) -> None:
    index, twin = filled(np.random.default_rng(1), 8, 4)
    query, sigma = np.ones((2, 4), np.float32), np.full((2, 4), 0.4, np.float32)
    queries = Queries(metric, query, sigma, [9, 2])
    whole = index.nearest(queries)
    for one, two in zip(index.rerank(queries, [10**6] * len(queries.counts), 1.0), whole, strict=True):
        assert as_dict(one) == as_dict(two)
    able = {n for n, row in twin.rows.items() if row[2] or not METRICS[metric].needs_sigma}
    for weight in (1.0, 10.0):
        near = twin.nearest("w2", query[0], sigma[0], 30, able, weight)
        assert as_dict(index.rerank(queries, [30] * len(queries.counts), weight)[0]).keys() <= near.keys()


def test_its_length_is_that_before_a_change_until_the_change_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may ask in the middle of it."""
    index, seen, put = Index(2), [], chunk.Chunk.put

    def watched(self: chunk.Chunk, *arguments: NDArray[np.generic]) -> None:
        seen.append(len(index))
        put(self, *arguments)  # type: ignore[arg-type]
        seen.append(len(index))

    monkeypatch.setattr(chunk.Chunk, "put", watched)
    rows, known = np.ones((10, 2), np.float32), np.ones(10, np.bool_)
    index.put(np.arange(10), rows, rows, known)
    index.put(np.arange(5, 15), rows, rows, known)
    assert seen == [0, 0, 10, 10, 10, 10]
    index.remove(np.arange(3))
    assert len(index) == 12
