"""python -m benchmarks.exact_search: compare exact search over a million latents with numpy's product and partition alone.

It runs in one process without HTTP, and shows the overhead of the store. Rounds are interleaved, medians are printed.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from models.train.flag_types import whole
from service.latents.distances import METRICS
from service.store import LatentStore, make_store
from service.store.interface import Collection, Items, Query, Search

DIGEST = "0" * 64
BATCH = 4096
MAX_BYTES = 16 << 30


async def fill(store: LatentStore, count: int, dim: int) -> None:
    """Fill the store with random Gaussians."""
    rng = np.random.default_rng(0)
    await store.create(Collection("bench", "none", DIGEST, dim))
    for start in range(0, count, BATCH):
        rows = min(BATCH, count - start)
        mu = rng.standard_normal((rows, dim), dtype=np.float32)
        sigma = rng.uniform(0.1, 1, (rows, dim)).astype(np.float32)
        ids = [f"{i:09d}" for i in range(start, start + rows)]
        await store.upsert("bench", DIGEST, Items(ids, mu, sigma, np.ones(rows, np.bool_), [b"{}"] * rows))


def bare(matrix: np.ndarray, query: np.ndarray, k: int) -> np.ndarray:
    """Compute the necessary arithmetic with numpy: one product, one partition."""
    return np.argpartition(matrix @ query, k)[:k]


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds."""
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


async def measure(path: Path, count: int, dim: int, k: int, rounds: int) -> None:
    """Measure and print the table."""
    store = make_store(str(path), MAX_BYTES)
    await store.open()
    took = await timed(lambda: fill(store, count, dim))
    print(f"filled with {count} items of D = {dim} in {took:.1f} s")
    await store.close()
    store = make_store(str(path), MAX_BYTES)
    print(f"opened, all vectors in memory: {await timed(store.open):.2f} s")
    rng = np.random.default_rng(1)
    matrix = np.random.default_rng(0).standard_normal((count, dim), dtype=np.float32)

    def query(metric: str = "l2") -> Search:
        return Search([Query(rng.standard_normal(dim, dtype=np.float32), np.full(dim, 0.5, np.float32))], k, metric)

    alone, numpy_alone, together = [], [], []
    for _ in range(rounds):
        for _ in range(20):
            vector = rng.standard_normal(dim, dtype=np.float32)
            start = time.perf_counter()
            bare(matrix, vector, k)
            numpy_alone.append(time.perf_counter() - start)
            alone.append(await timed(lambda: store.search("bench", DIGEST, query())))

        async def many() -> None:
            await asyncio.gather(*(store.search("bench", DIGEST, query()) for _ in range(64)))

        together.append(await timed(many) / 64)
    one, limit, shared = (statistics.median(values) for values in (alone, numpy_alone, together))
    print("| | ms |\n|---|---|")
    print(f"| bare product and partition, p50 | {limit * 1e3:.2f} |")
    print(f"| one l2 query, p50 | {one * 1e3:.2f} ({one / limit:.2f} x the bare one) |")
    print(f"| each of 64 concurrent l2 queries | {shared * 1e3:.2f} ({one / shared:.1f} x the throughput) |")
    for metric in METRICS:
        values = [await timed(lambda metric=metric: store.search("bench", DIGEST, query(metric))) for _ in range(5)]  # type: ignore[misc]
        print(f"| one {metric} query, p50 | {statistics.median(values) * 1e3:.1f} |")
    await store.close()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact_search", description=__doc__)
    parser.add_argument("--items", type=whole(1, 100_000_000), default=1_000_000)
    parser.add_argument("--dim", type=whole(1, 1024), default=32)
    parser.add_argument("--k", type=whole(1, 1000), default=10)
    parser.add_argument("--rounds", type=whole(1, 100), default=5)
    options = parser.parse_args()
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        print("set OPENBLAS_NUM_THREADS=1, as the service does; then numpy alone is measured with one thread too")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "latents.db"
        asyncio.run(measure(path, options.items, options.dim, options.k, options.rounds))


if __name__ == "__main__":
    main()
