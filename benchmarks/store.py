"""python -m benchmarks.store: recall and latency of searches in a large collection in PostgreSQL, with and without filters.

It fills a collection of posteriors by COPY, makes the indexes as `python -m service.store index` does, and compares what
searches by w2 find with the exact answers in float64. It runs in one process without HTTP.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import psycopg

from benchmarks.store_items import AT_LEAST, AT_STEP, DIM, N_LEAST, N_MOST, SPLITS, Items, copy_items, make_items
from models.train.flag_types import whole
from service.store.filters import parse_filter
from service.store.interface import Collection, Query, Search, UnknownCollection
from service.store.postgres.build_indexes import Wanted, build_indexes
from service.store.postgres.schema import table
from service.store.postgres.store import PgvectorStore
from service.store.postgres.work import find
from tests.service.store.postgres_server import Postgres

NAME, DIGEST, K = "bench", "0" * 64, 10
# A case ends after this time if it has at least this number of queries.
CASE_SECONDS, LEAST = 10, 20
OPTIONS = "-c shared_buffers=2GB -c effective_cache_size=4GB -c random_page_cost=1.1 -c jit=off -c max_wal_size=8GB"


@dataclass(frozen=True)
class Case:
    """Searches with one filter. The places of their queries are `first` to `last`."""

    what: str
    filter: dict[str, Any]
    passes: np.ndarray  # (N,)
    first: int = 0
    last: int = 99


def cases(items: Items) -> Iterator[Case]:
    """Make the cases. A far query lies at another place than all items that pass the filter."""
    yield Case("no filter", {}, np.ones(len(items.place), np.bool_))
    shares = {name: (share, items.split == index) for index, (name, share) in enumerate(SPLITS.items())}
    for name, (share, passes) in shares.items():
        yield Case(f"value, {share} %, random", {"split": name}, passes)
    tenth, one = items.place < 10, items.place == 50
    yield Case("value, 10 %, near", {"label": "l0"}, tenth, 0, 9)
    yield Case("value, 10 %, far", {"label": "l0"}, tenth, 10, 99)
    yield Case("value, 1 %, near", {"region": "r50"}, one, 50, 50)
    yield Case("value, 1 %, far", {"region": "r50"}, one, 60, 99)
    for percent in (50, 10, 5, 2, 1):
        low = N_LEAST + 123_456
        high = low + percent * (N_MOST - N_LEAST) // 100
        yield Case(f"range, {percent} %, random", {"n": {"gte": low, "lt": high}}, (items.n >= low) & (items.n < high))
    for percent in (10, 1):
        below = AT_LEAST + AT_STEP * percent
        for what, places in (("near", (0, percent - 1)), ("far", (10, 99))):
            yield Case(f"range, {percent} %, {what}", {"at": {"lt": below}}, items.at < below, *places)
    half, fiftieth = (N_LEAST + (N_MOST - N_LEAST) // part for part in (2, 50))
    yield Case("10 % and 10 %, random", {"label": "l0", "split": "tenth"}, tenth & shares["tenth"][1])
    yield Case("10 % and range of 50 %", {"label": "l0", "n": {"lt": half}}, tenth & (items.n < half))
    yield Case("10 % and range of 2 %", {"label": "l0", "n": {"lt": fiftieth}}, tenth & (items.n < fiftieth))
    yield Case("50 % and range of 2 %", {"split": "train", "n": {"lt": fiftieth}}, shares["train"][1] & (items.n < fiftieth))


async def measure(store: PgvectorStore, items: Items, case: Case, queries: int, cpu: Callable[[], float]) -> str:
    """Return a row of the table."""
    rng = np.random.default_rng(1)
    places = rng.integers(case.first, case.last + 1, queries)
    conditions = parse_filter(case.filter)
    numbers = np.flatnonzero(case.passes)
    if not len(numbers):
        return f"| {case.what} | 0 | | | | |"
    passing = items.both[numbers]
    squares = np.einsum("ij,ij->i", passing, passing)
    took, shared, wanted, begin, busy = list[float](), 0, 0, time.monotonic(), 0.0
    for i in range(-5, queries):  # the first ones warm up
        query = items.near(rng, int(places[i % queries]))
        asked = Search([Query(query[:DIM], query[DIM:])], K, "w2", conditions)
        start, before = time.perf_counter(), cpu()
        found = await store.search(NAME, DIGEST, asked)
        if i < 0:
            continue
        took.append(time.perf_counter() - start)
        busy += cpu() - before
        likely = np.argpartition(squares - 2 * passing @ query, min(10 * K, len(passing) - 1))[: 10 * K]
        distances = ((passing[likely].astype(np.float64) - query.astype(np.float64)) ** 2).sum(1)
        exact = numbers[likely[np.argsort(distances)[:K]]]
        shared += len({int(id) for id in found.neighbors[0].items.ids} & set(exact.tolist()))
        wanted += len(exact)
        if time.monotonic() - begin > CASE_SECONDS and len(took) >= LEAST:
            break
    p50, p99 = np.percentile(took, [50, 99]) * 1e3
    return f"| {case.what} | {len(took)} | {shared / wanted:.3f} | {p50:.1f} | {p99:.1f} | {1e3 * busy / len(took):.1f} |"


def cpu_of(address: str) -> Callable[[], float]:
    """Return a function that returns the CPU seconds of this process and of all of the server's that have a connection."""
    known: dict[int, psutil.Process] = {}
    with psycopg.connect(address) as connection:
        [(running,)] = connection.execute("SELECT array_agg(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    for pid in running:
        with suppress(psutil.NoSuchProcess):
            known[pid] = psutil.Process(pid)

    def seconds() -> float:
        total = time.process_time()
        for process in known.values():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    return seconds


async def fill(store: PgvectorStore, address: str, items: Items, numbers: str, memory: str, no_keys: bool = False) -> None:
    """Make, fill and index the collection, unless it is there with as many items."""
    try:
        there = await store.collection(NAME)
        if there.count != len(items.both):
            raise SystemExit(f"the collection {NAME!r} has {there.count} items, not {len(items.both)}; delete it")
    except UnknownCollection:
        await store.create(Collection(NAME, "none", DIGEST, DIM, "w2"))
        build_indexes(address, NAME, Wanted(no_graphs=True), print)
        with psycopg.connect(address, autocommit=True) as connection, timed("filled by COPY, and analyzed"):
            copy_items(connection, find(connection, NAME)[0], items)
    with timed("all indexes"):
        wanted = Wanted(half=numbers == "float16", memory=memory, no_keys=no_keys)
        start = [time.perf_counter()]

        def tell(line: str) -> None:
            print(f"{time.perf_counter() - start[0]:7.1f} s  {line}", flush=True)

        build_indexes(address, NAME, wanted, tell)
    with psycopg.connect(address) as connection:
        number, _ = find(connection, NAME)
        sizes = "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relname ~ %s AND relkind IN ('r', 'i') ORDER BY 1"
        for name, size in connection.execute(sizes, (f"^{table(number)}(_|$)",)):
            print(f"{name}: {size / 1e6:,.0f} MB")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the block takes."""
    start = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - start:.1f} s", flush=True)


async def run(address: str, options: argparse.Namespace) -> None:
    """Fill, and measure each case."""
    items = make_items(options.rows)
    store = PgvectorStore(address)
    await store.open()
    try:
        await fill(store, address, items, options.numbers, options.memory, options.no_keys)
        print(f"\n| filter | queries | recall@{K} | p50 ms | p99 ms | CPU ms |\n|---|---:|---:|---:|---:|---:|", flush=True)
        for case in cases(items):
            if options.only in case.what:
                print(await measure(store, items, case, options.queries, cpu_of(address)), flush=True)
    finally:
        await store.close()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--rows", type=whole(100, 100_000_000), default=1_000_000)
    parser.add_argument("--queries", type=whole(1, 100_000), default=200, help="of each case")
    parser.add_argument("--numbers", choices=("float16", "float32"), default="float16", help="of the HNSW indexes")
    parser.add_argument("--no-keys", action="store_true", help="make no indexes for keys")
    parser.add_argument("--memory", default="1GB", help="maintenance_work_mem")
    parser.add_argument("--only", default="", help="cases with this in their names")
    parser.add_argument("--store", help="a PostgreSQL database; by default a server is started with shared_buffers of 2 GB")
    options = parser.parse_args()
    if options.store:
        asyncio.run(run(options.store, options))
        return
    server = Postgres(OPTIONS)
    try:
        asyncio.run(run(server.address(), options))
    finally:
        server.remove()


if __name__ == "__main__":
    main()
