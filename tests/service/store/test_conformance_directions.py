"""Directions of a collection, on every backend: kept to the last bit, bounded, and gone with their collection."""

from dataclasses import replace

import numpy as np
import pytest

from service.store import directions as bounds
from service.store.directions import Direction, Side
from service.store.interface import (
    BadName,
    CollectionReplaced,
    DirectionsFull,
    LatentStore,
    ModelMismatch,
    StoreUnusable,
    UnknownCollection,
    UnknownDirection,
)
from service.store.names import check_name
from service.store.postgres import directions as of_postgres
from service.store.sqlite import directions as of_sqlite
from tests.service.store.conftest import Opener
from tests.service.store.gaussians import DIGEST, DIGITS, DIM


def direction(name: str = "smile", seed: int = 0, **fields: object) -> Direction:
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    vector[0] = 1e-42  # subnormal
    positive, negative = Side("filter", 70_000, 10_000, {"label": {"in": [7, 'ü"\\', None]}}), Side("ids", 3, 3)
    made = Direction(name, vector, 0.1 + 0.2, "mean_difference", 1 / 3, 41, positive, negative, ("hat", "A.b-c_9"))
    return replace(made, **fields)  # type: ignore[arg-type]


def same(found: Direction, wanted: Direction) -> bool:
    return (found.name, *found.record()) == (wanted.name, *wanted.record()) and found.vector.dtype == np.float32


async def test_directions_are_kept_listed_replaced_and_deleted(store: LatentStore, opener: Opener) -> None:
    await store.create(DIGITS)
    assert await store.directions("digits") == []
    one, two, three = direction(), direction("Smile", 1), direction("0", 2, orthogonal_to=(), auc=None)
    for new in (one, two, three):
        await store.put_direction("digits", DIGEST, new)
    other = await opener()  # as another worker sees it
    assert all(map(same, await other.directions("digits"), [three, two, one]))
    found = await other.directions("digits", ["smile", "0", "smile"])
    assert [known.name for known in found] == ["smile", "0", "smile"]
    assert (found[0].positive, found[0].negative, found[0].orthogonal_to) == (one.positive, one.negative, one.orthogonal_to)
    assert (found[0].unit, found[0].auc, found[0].seq, found[0].method) == (one.unit, one.auc, one.seq, one.method)
    assert await other.directions("digits", []) == []
    new = direction(seed=3, method="logistic_regression")
    await other.put_direction("digits", DIGEST, new)
    assert same((await store.directions("digits", ["smile"]))[0], new)
    assert same(await store.delete_direction("digits", "smile"), new)
    with pytest.raises(UnknownDirection, match="did you mean Smile"):
        await other.directions("digits", ["0", "smile"])
    with pytest.raises(UnknownDirection, match="'digits' has no direction 'x'; GET /collections/digits/directions"):
        await store.delete_direction("digits", "x")
    assert [known.name for known in await other.directions("digits")] == ["0", "Smile"]
    assert (await store.collection("digits")).seq == 0  # it counts the changes of items


async def test_directions_belong_to_a_collection_and_its_model(store: LatentStore) -> None:
    for call in (
        store.directions("digits"),
        store.put_direction("digits", DIGEST, direction()),
        store.delete_direction("digits", "smile"),
    ):
        with pytest.raises(UnknownCollection):
            await call
    await store.create(DIGITS)
    await store.create(replace(DIGITS, name="others"))
    await store.put_direction("digits", DIGEST, direction())
    with pytest.raises(ModelMismatch):
        await store.put_direction("digits", "cd" * 32, direction("x"))
    with pytest.raises(ModelMismatch):
        await store.directions("digits", ["smile"], "cd" * 32)
    assert len(await store.directions("digits", digest=DIGEST)) == 1
    assert await store.directions("others") == []
    await store.put_direction("others", DIGEST, direction(seed=5))
    await store.drop("digits")
    await store.create(DIGITS)
    assert await store.directions("digits") == []
    assert same((await store.directions("others"))[0], direction(seed=5))


async def test_directions_are_not_put_into_another_collection_of_the_same_name(store: LatentStore, opener: Opener) -> None:
    number = (await store.create(DIGITS)).number
    assert number is not None
    assert (await store.collection("digits")).number == number
    await store.put_direction("digits", DIGEST, direction(), number)
    await store.create(replace(DIGITS, description="changed, but the same"))
    await store.put_direction("digits", DIGEST, direction(), number)
    other = await opener()
    await other.drop("digits")
    with pytest.raises(UnknownCollection, match="there is no collection"):
        await store.put_direction("digits", DIGEST, direction(), number)
    assert (await other.create(DIGITS)).number != number
    with pytest.raises(CollectionReplaced, match="'digits' was deleted while this request worked with it"):
        await store.put_direction("digits", DIGEST, direction(), number)
    assert await store.directions("digits") == []


async def test_a_collection_has_a_bounded_number_of_directions(store: LatentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bounds, of_sqlite, of_postgres):
        monkeypatch.setattr(module, "MAX_DIRECTIONS", 2)
    await store.create(DIGITS)
    for name in ("a", "b", "a"):
        await store.put_direction("digits", DIGEST, direction(name))
    with pytest.raises(DirectionsFull, match="2 directions already"):
        await store.put_direction("digits", DIGEST, direction("c"))
    assert [known.name for known in await store.directions("digits")] == ["a", "b"]
    await store.put_direction("digits", DIGEST, direction("b", 9))
    assert same((await store.directions("digits", ["b"]))[0], direction("b", 9))
    await store.delete_direction("digits", "a")
    await store.put_direction("digits", DIGEST, direction("c"))


@pytest.mark.parametrize("name", ["", ".a", "a/b", "ä", "x" * 101, "a:1", "a,b", "a\n"])
def test_names_are_those_of_collections(name: str) -> None:
    with pytest.raises(BadName, match="not a valid name for a direction"):
        check_name(name, "direction")


def test_a_vector_of_another_length_is_corrupt() -> None:
    with pytest.raises(StoreUnusable, match="'smile' does not have 3 dimensions"):
        bounds.from_record("smile", bytes(16), direction().record()[1], 3)
