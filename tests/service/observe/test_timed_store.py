"""TimedStore: the wrapped store does the work, and four operations are timed, also when they fail."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.observe.metrics import Metrics
from service.observe.timed_store import TimedStore
from service.store.filters import parse_filter
from service.store.forwarding import ForwardingStore
from service.store.interface import LatentStore, Query, Search, StoreUnusable, UnknownItem
from service.store.snapshot import Wanted
from service.store.sqlite.store import SqliteStore
from tests.service.store.gaussians import DIGEST, DIGITS, items


def test_every_method_is_passed_on() -> None:
    own = {name for name in vars(LatentStore) if not name.startswith("_")}
    assert own - {"delete"} <= vars(ForwardingStore).keys()  # delete is made of delete_ids


async def test_operations_are_timed(tmp_path: Path) -> None:
    metrics = Metrics()
    path = tmp_path / "latents.db"
    store = TimedStore(SqliteStore(path, 1 << 20), metrics.store_seconds)
    await store.open()
    assert await store.create(DIGITS) == DIGITS
    block = items(np.random.default_rng(0), ["a", "b"])
    assert (await store.upsert("digits", DIGEST, block)).seq == 2
    assert (await store.get("digits", ["b"])).ids == ["b"]
    found = await store.search("digits", DIGEST, Search([Query(block.mu[0])], 1, "l2"))
    assert found.neighbors[0].items.ids == ["a"]
    assert await store.delete("digits", "b") == 3
    with pytest.raises(UnknownItem):
        await store.delete("digits", "b")
    assert (await store.scan("digits", "", 1)).ids == ["a"]
    assert await store.collections() == [await store.collection("digits")] == [replace(DIGITS, count=1, seq=3)]
    assert (await store.patch("digits", "a", {"n": 1})).metadata == b'{"n":1}'
    assert (await store.delete_ids("digits", ["a", "b"])).ids == ["a"]
    assert (await store.delete_matching("digits", parse_filter({"n": 1}))).ids == []
    with pytest.raises(UnknownItem):
        await store.picture("digits", "a")
    counts = {name: sum(histogram.read().counts) for name, histogram in metrics.store_seconds.items()}
    assert counts == {"upsert": 1, "patch": 1, "get": 2, "delete": 4, "search": 1}
    assert (await store.snapshots("digits", [Wanted()], [None], 1 << 20))[0].ids == []
    assert (await store.drop("digits")).count == 0
    store.check()
    path.unlink()
    with pytest.raises(StoreUnusable):
        store.check()
    await store.close()
