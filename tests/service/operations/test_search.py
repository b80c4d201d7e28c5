"""What is nearest, without HTTP."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.errors import Overloaded
from service.formats import png
from service.inference.inference import Inference
from service.operations import search as operations
from service.operations.collection_model import NoSigmaWeight
from service.operations.generate import decode
from service.operations.items import Entries, add_items
from service.operations.search import SearchOptions, SearchResult, TooManyNeighbors
from service.operations.service import Service
from service.store.interface import Collection, UnknownItem


def points(ids: list[str | None], mu: NDArray[np.float32]) -> Entries:
    count = len(ids)
    return Entries(ids, [None] * count, mu, np.zeros_like(mu), np.zeros(count, np.bool_), [b"{}"] * count)


@pytest.fixture
async def filled(service: Service, inference: Inference, collection: Collection) -> Collection:
    """A collection of 20 items on a line: item i lies at (i, i, i)."""
    items = points([f"{i:02}" for i in range(20)], np.repeat(np.arange(20, dtype=np.float32), 3).reshape(20, 3))
    await add_items(service.pipeline, service.store, inference, collection, collection.digest, items)
    return await service.store.collection(collection.name)


async def search(
    service: Service, inference: Inference, filled: Collection, queries: Entries, wanted: SearchOptions
) -> SearchResult:
    asked = service.pipeline, service.store, inference, filled, filled.digest, queries, wanted
    async with operations.search(*asked) as nearest:
        assert service.store.searches.rows == len(queries)  # until the answer is written
    assert service.store.searches.rows == 0
    return nearest


async def test_the_nearest_come_first(service: Service, inference: Inference, filled: Collection) -> None:
    queries = points([None, "07"], np.array([[3.2] * 3, [0] * 3], np.float32))
    nearest = await search(service, inference, filled, queries, SearchOptions(k=3))
    assert [one.items.ids for one in nearest.found.neighbors] == [["03", "04", "02"], ["07", "06", "08"]]
    np.testing.assert_allclose(nearest.found.neighbors[1].distances, np.sqrt([0, 3, 3]))
    assert (nearest.asked.metric, nearest.found.exact, nearest.decoded) == ("l2", True, None)
    assert nearest.found.neighbors[0].items.mu.shape == (3, 0)


async def test_a_picture_is_encoded_first(
    service: Service, inference: Inference, filled: Collection, x: NDArray[np.uint8]
) -> None:
    for id in ("picture", None):
        some = points([id], np.zeros((1, 3), np.float32))
        some.raw[0] = png.write(x[0].transpose(1, 2, 0))
        if id is not None:
            await add_items(service.pipeline, service.store, inference, filled, filled.digest, some)
    nearest = await search(service, inference, filled, some, SearchOptions(k=1, metric="w2"))
    assert nearest.found.neighbors[0].items.ids == ["picture"]
    assert (nearest.asked.metric, nearest.asked.sigma_weight) == ("w2", 1.0)


async def test_neighbours_may_be_seen(service: Service, inference: Inference, filled: Collection) -> None:
    queries = points(["03", "15"], np.zeros((2, 3), np.float32))
    nearest = await search(service, inference, filled, queries, SearchOptions(k=2, with_vectors=True, with_data=True))
    z = np.concatenate([one.items.mu for one in nearest.found.neighbors])
    assert z.shape == (4, 3)
    assert nearest.decoded is not None
    np.testing.assert_array_equal(nearest.decoded, await decode(service.pipeline, inference, z))


async def test_of_nothing_there_are_no_pictures(service: Service, inference: Inference, collection: Collection) -> None:
    queries = points([None], np.zeros((1, 3), np.float32))
    nearest = await search(service, inference, collection, queries, SearchOptions(with_data=True))
    assert nearest.decoded is not None
    assert (len(nearest.decoded), len(nearest.found.neighbors[0].items)) == (0, 0)


async def test_errors_are_those_of_the_domain(
    service: Service, inference: Inference, filled: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = points([None], np.zeros((1, 3), np.float32))
    with pytest.raises(
        NoSigmaWeight, match="sigma_weight is a parameter of the metric w2, but the metric is l2: leave it out"
    ):
        await search(service, inference, filled, query, SearchOptions(sigma_weight=2.0))
    with pytest.raises(UnknownItem):
        await search(service, inference, filled, points(["nobody"], query.mu), SearchOptions())
    with service.store.searches.admit(64), pytest.raises(Overloaded):
        await search(service, inference, filled, query, SearchOptions())
    two = points([None, None], np.zeros((2, 3), np.float32))
    with pytest.raises(TooManyNeighbors, match="34 neighbours in all; one answer may have 32"):
        await search(service, inference, filled, two, SearchOptions(k=17, with_data=True))
    monkeypatch.setattr(operations, "MOST_NEIGHBORS", 12)
    with pytest.raises(TooManyNeighbors, match="13 neighbours in all; one answer may have 12"):
        await search(service, inference, filled, query, SearchOptions(k=13))
