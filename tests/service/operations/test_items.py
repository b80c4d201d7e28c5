"""Items into a collection and out of it, without HTTP."""

import asyncio
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.errors import DeadlineExceeded, Overloaded
from service.formats import png
from service.formats.errors import Undecodable, Unusable
from service.formats.pictures import EncodedPicture
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.operations.collection_model import ModelNotLoaded
from service.operations.encode import encode
from service.operations.items import METADATA_PER_ROW, Entries, add_items, page_of_items
from service.operations.service import Service
from service.store.interface import Collection, ModelMismatch, UnknownCollection, UnknownItem


def entries(ids: list[str | None], images: list[EncodedPicture | None], dim: int = 3) -> Entries:
    blank = np.zeros((len(ids), dim), np.float32)
    return Entries(ids, images, blank, blank.copy(), np.zeros(len(ids), np.bool_), [b"{}"] * len(ids))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_posterior_that_is_not_finite_is_not_stored(value: float) -> None:
    some = entries([None] * 3, [b"1", None, b"2"], 2)
    rows = np.ones((2, 3, 2), np.float32)
    some.encoded(rows)
    assert some.has_sigma.tolist() == [True, False, True]
    rows[1, 1, 0] = value
    with pytest.raises(Unusable, match="not finite") as error:
        some.encoded(rows)
    assert error.value.item == 2


def test_long_metadata_weighs_as_much_as_rows() -> None:
    some = entries(["a", "b"], [None, None])
    assert some.weight == 2
    some.metadata[1] = b" " * 3 * METADATA_PER_ROW
    assert some.weight == 5


async def test_pictures_and_vectors_come_out_as_they_went_in(
    service: Service, inference: Inference, collection: Collection, x: NDArray[np.uint8]
) -> None:
    some = entries(["picture", "vector", None], [png.write(x[0].transpose(1, 2, 0)), None, png.write(x[1].transpose(1, 2, 0))])
    some.mu[1] = (1, 2, 3)
    stored = await add_items(service.pipeline, service.store, inference, collection, collection.digest, some)
    assert stored.ids[:2] == ["picture", "vector"]
    assert stored.result.seq == (await service.store.collection("some")).seq
    found = await encode(service.pipeline, inference, RawItems(rows=x[:2]))
    for id, mu, sigma in (("picture", found.mu[0], found.sigma[0]), (stored.ids[2], found.mu[1], found.sigma[1])):
        item = await service.store.item("some", id)
        np.testing.assert_array_equal((item.mu[0], item.sigma[0]), (mu, sigma))
    vector = await service.store.item("some", "vector")
    assert (vector.mu.tolist(), vector.has_sigma.tolist()) == ([[1, 2, 3]], [False])


async def test_pages_follow_each_other(service: Service, inference: Inference, collection: Collection) -> None:
    some = entries([f"item {i}" for i in range(5)], [None] * 5)
    await add_items(service.pipeline, service.store, inference, collection, collection.digest, some)
    seen, cursor, cursors = list[str](), "", list[str | None]()
    while True:
        page = await page_of_items(service.store, "some", cursor, 2)
        seen += page.items.ids[: page.count]
        cursors.append(page.cursor)
        if page.cursor is None:
            break
        cursor = page.cursor
    assert seen == some.ids
    assert cursors == ["item 1", "item 3", None]


async def test_all_or_none_are_added(
    service: Service, inference: Inference, collection: Collection, x: NDArray[np.uint8]
) -> None:
    good = png.write(x[0].transpose(1, 2, 0))
    some = entries([None] * 3, [good, None, b"\x89PNG, but no more"])
    with pytest.raises(Undecodable) as error:
        await add_items(service.pipeline, service.store, inference, collection, collection.digest, some)
    assert error.value.item == 2  # of the items, not of the pictures
    strange = Collection("other", "gone", "0" * 64, 3)
    with pytest.raises(ModelNotLoaded):
        await add_items(service.pipeline, service.store, inference, strange, strange.digest, entries([None], [good]))
    with pytest.raises(ModelMismatch):
        await add_items(service.pipeline, service.store, inference, collection, "0" * 64, entries([None], [None]))
    assert (await service.store.collection("some")).count == 0


async def test_what_waits_for_the_store_is_bounded_and_has_deadlines(
    service: Service, inference: Inference, collection: Collection
) -> None:
    store, late = service.store, time.monotonic() - 1
    with store.writes.admit(64), pytest.raises(Overloaded):
        await add_items(service.pipeline, store, inference, collection, collection.digest, entries([None], [b"unseen"]))
    with store.writes.admit(64), pytest.raises(Overloaded):
        await store.drop("some")
    with store.reads.admit(64), pytest.raises(Overloaded):
        await store.collections()
    with pytest.raises(DeadlineExceeded, match=r"before the store had answered$"):
        await store.collection("some", late)
    with pytest.raises(DeadlineExceeded, match="may or may not have been made"):
        await store.create(collection, late)
    assert (store.reads.rows, store.writes.rows) == (0, 0)


async def test_a_store_says_what_it_does_not_have(service: Service, collection: Collection) -> None:
    with pytest.raises(UnknownItem):
        await service.store.item("some", "nobody")
    with pytest.raises(UnknownItem):
        await service.store.delete("some", "nobody")
    assert [one.name for one in await service.store.collections()] == ["some"]
    assert (await service.store.drop("some")).name == "some"
    with pytest.raises(UnknownCollection):
        await asyncio.wait_for(service.store.collection("some"), 10)
