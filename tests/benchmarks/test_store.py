"""The benchmark of large collections: its items arrive as made, and its exact answers are those of the store."""

from argparse import Namespace
from collections.abc import Iterator

import numpy as np
import orjson
import pytest

from benchmarks import store as benchmark
from benchmarks.store_items import DIM, make_items
from service.store.postgres import key_plan
from service.store.postgres.store import PgvectorStore
from tests.service.store.postgres_server import Postgres

ROWS = 1500


@pytest.fixture
def server() -> Iterator[Postgres]:
    server = Postgres(benchmark.OPTIONS.replace("2GB", "64MB", 1))
    try:
        yield server
    finally:
        server.remove()


async def test_the_table(server: Postgres, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Collections as small as this are searched exactly or by an index that looks at nearly everything."""
    monkeypatch.setattr(key_plan, "LEAST_EXPECTED", ROWS)
    monkeypatch.setattr(key_plan, "LEAST_ITEMS", 300)
    options = Namespace(rows=ROWS, queries=3, numbers="float16", memory="64MB", only="", no_keys=True)
    address = server.create("large")
    await benchmark.run(address, options)
    await benchmark.run(address, Namespace(**{**vars(options), "no_keys": False}))  # measures what is there
    printed = capsys.readouterr().out
    assert "making the index of the key 'split'" in printed
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("|")]
    assert len(rows) == 2 * (2 + len([*benchmark.cases(make_items(ROWS))]))
    assert all(float(row[2]) >= 0.9 for row in rows if len(row) == 6 and row[1] == "3"), printed
    assert printed.count("filled by COPY") == 1
    with pytest.raises(SystemExit, match="1500 items, not 7"):
        await benchmark.run(address, Namespace(**{**vars(options), "rows": 7}))

    store, items = PgvectorStore(address), make_items(ROWS)
    await store.open()
    try:
        found = await store.get("bench", ["000000007"])
    finally:
        await store.close()
    np.testing.assert_array_equal(np.hstack([found.mu, found.sigma])[0], items.both[7])
    assert found.mu.shape == (1, DIM)
    metadata = orjson.loads(found.metadata[0])
    assert metadata["region"] == f"r{items.place[7]:02d}"
    assert (metadata["n"], metadata["at"]) == (items.n[7], items.at[7])
