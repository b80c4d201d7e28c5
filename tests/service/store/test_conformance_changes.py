"""What every store does with ids that exist, patches, deletions of several items, and originals."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from service.store import make_store
from service.store.filters import UnknownKey, parse_filter
from service.store.interface import (
    BadItem,
    Deleted,
    Items,
    ItemsExist,
    LatentStore,
    MetadataTooLarge,
    NoPicture,
    PicturesFull,
    Query,
    Search,
    UnknownCollection,
    UnknownItem,
    Upserted,
)
from tests.service.store.conftest import Opener
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, items

RNG = np.random.default_rng(0)
# of RFC 7396, appendix A, those whose target and result are objects: target, patch, result
PATCHES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


def block(*ids: str, pictures: tuple[bytes | None, ...] = (), unstated: bool = False, **metadata: Any) -> Items:
    made = items(RNG, ids, metadata=[metadata] * len(ids) if metadata else ())
    made.pictures, made.unstated = pictures, frozenset(range(len(ids))) if unstated else frozenset()
    return made


async def metadata_of(store: LatentStore, *ids: str) -> list[Any]:
    return [orjson.loads(text) for text in (await store.get("digits", ids)).metadata]


async def test_what_happens_to_ids_that_exist(store: LatentStore) -> None:
    await store.create(DIGITS)
    assert await store.upsert("digits", DIGEST, block("a", "b", n=1)) == Upserted(2, ["a", "b"], [], [])
    before = await store.get("digits", ["a", "b"])
    with pytest.raises(ItemsExist, match="already has 'b', 'a'; nothing was stored") as raised:
        await store.upsert("digits", DIGEST, block("b", "c", "a", n=2), "error")
    assert raised.value.ids == ["b", "a"]
    assert ((await store.scan("digits")).ids, (await store.collection("digits")).seq) == (["a", "b"], 2)
    assert await store.upsert("digits", DIGEST, block("b", "c", "a", m=2), "skip") == Upserted(3, ["c"], [], ["b", "a"])
    after = await store.get("digits", ["a", "b"])
    assert (after.mu.tobytes(), after.metadata, after.seqs) == (before.mu.tobytes(), before.metadata, before.seqs)
    assert await store.upsert("digits", DIGEST, block("c", "a"), "skip") == Upserted(3, [], [], ["c", "a"])
    assert await store.upsert("digits", DIGEST, block("d", "a", n=3)) == Upserted(5, ["d"], ["a"], [])
    assert await store.upsert("digits", DIGEST, block("e"), "error") == Upserted(6, ["e"], [], [])
    assert (await store.collection("digits")).count == 5


async def test_of_those_who_add_the_same_id_at_once_one_does(opener: Opener) -> None:
    stores = [await opener(), await opener()]
    await stores[0].create(DIGITS)
    calls = [store.upsert("digits", DIGEST, block("a", f"{i}"), "error") for i, store in enumerate(stores * 4)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ItemsExist"] * 7 + ["Upserted"]
    assert (await stores[1].collection("digits")).count == 2


async def test_metadata_that_is_not_mentioned_stays(store: LatentStore) -> None:
    await store.create(DIGITS)
    await store.upsert("digits", DIGEST, block("a", "b", n=1))
    await store.upsert("digits", DIGEST, block("a", "c", unstated=True))
    assert await metadata_of(store, "a", "b", "c") == [{"n": 1}, {"n": 1}, {}]
    assert (await store.scan("digits", filter=parse_filter({"n": 1}))).ids == ["a", "b"]
    await store.upsert("digits", DIGEST, block("a"))
    assert await metadata_of(store, "a") == [{}]
    await store.delete("digits", "b")
    await store.upsert("digits", DIGEST, block("b", unstated=True))  # what was deleted is not there any more
    assert await metadata_of(store, "b") == [{}]


@pytest.mark.parametrize(("target", "patch", "wanted"), PATCHES)
async def test_a_patch_is_that_of_the_standard(
    store: LatentStore, target: dict[str, Any], patch: dict[str, Any], wanted: dict[str, Any]
) -> None:
    await store.create(DIGITS)
    await store.upsert("digits", DIGEST, items(RNG, ["a"], metadata=[target]))
    before = await store.get("digits", ["a"])
    found = await store.patch("digits", "a", patch)
    assert (found.seq, orjson.loads(found.metadata)) == (2, wanted)
    after = await store.get("digits", ["a"])
    assert (after.metadata, after.seqs) == ([found.metadata], [2])
    assert (after.mu.tobytes(), after.sigma.tobytes()) == (before.mu.tobytes(), before.sigma.tobytes())


async def test_a_patch_is_found_and_bounded(store: LatentStore) -> None:
    await store.create(DIGITS)
    await store.upsert("digits", DIGEST, block("a", "b", n=1))
    await store.patch("digits", "a", {"n": 2, "new": True})
    search = Search([Query(id="b")], 5, "l2", parse_filter({"new": True}))
    assert (await store.search("digits", DIGEST, search)).neighbors[0].items.ids == ["a"]
    assert (await store.scan("digits", filter=parse_filter({"n": 1}))).ids == ["b"]
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"d": deep}
    await store.patch("digits", "a", {"long": "x" * 60_000})
    for patch, error in (({"more": "x" * 6000}, MetadataTooLarge), (deep, BadItem), ({"z": "\0"}, BadItem)):
        with pytest.raises(error):
            await store.patch("digits", "a", patch)
    assert (await store.collection("digits")).seq == 4
    with pytest.raises(UnknownItem):
        await store.patch("digits", "c", {})
    with pytest.raises(UnknownCollection):
        await store.patch("none", "c", {})


async def test_concurrent_patches_are_all_made(opener: Opener) -> None:
    stores = [await opener(), await opener()]
    await stores[0].create(DIGITS)
    await stores[0].upsert("digits", DIGEST, block("a"))
    found = await asyncio.gather(*(stores[i % 2].patch("digits", "a", {f"k{i}": i}) for i in range(30)))
    assert await metadata_of(stores[0], "a") == [{f"k{i}": i for i in range(30)}]
    assert sorted(one.seq for one in found) == list(range(2, 32))


async def test_several_are_deleted(store: LatentStore) -> None:
    await store.create(DIGITS)
    await store.upsert("digits", DIGEST, block("a", "b", "c", "d", "e", n=1))
    await store.upsert("digits", DIGEST, block("f", "g", n=2))
    assert await store.delete_ids("digits", ["e", "nobody", "a"]) == Deleted(9, ["e", "a"])
    assert await store.delete_ids("digits", []) == Deleted(9, [])
    assert await store.delete_matching("digits", parse_filter({"n": 1}), limit=2) == Deleted(11, ["b", "c"])
    assert await store.delete_matching("digits", parse_filter({"n": 2}), after="f") == Deleted(12, ["g"])
    assert await store.delete_matching("digits", parse_filter({"n": 7})) == Deleted(12, [])
    assert (await store.scan("digits")).ids == ["d", "f"]
    assert (await store.collection("digits")).count == 2
    everything = Search([Query(np.zeros(DIM, np.float32))], 9, "l2")
    assert sorted((await store.search("digits", DIGEST, everything)).neighbors[0].items.ids) == ["d", "f"]
    unknown = await store.delete_matching("digits", parse_filter({"m": 1}))
    assert (unknown.ids, [one.key for one in unknown.unknown]) == ([], ["m"])
    for filter in ({"m": {"ne": 1}}, {"n": 1, "m": {"exists": False}}):  # they hold for every item without the key
        with pytest.raises(UnknownKey):
            await store.delete_matching("digits", parse_filter(filter))
    with pytest.raises(UnknownKey):
        await store.delete_matching("digits", parse_filter({"m": 1}), strict=True)
    assert (await store.collection("digits")).count == 2
    for call in (store.delete_ids("none", ["a"]), store.delete_matching("none", parse_filter({"n": 1}))):
        with pytest.raises(UnknownCollection):
            await call


async def test_originals_are_kept_where_they_should_be(store: LatentStore) -> None:
    await store.create(DIGITS)
    await store.upsert("digits", DIGEST, block("before", pictures=(b"1",)))
    assert (await store.create(replace(DIGITS, keep="picture"))).keep == "picture"
    await store.upsert("digits", DIGEST, block("a", "b", "c", pictures=(b"\x89PNG" + bytes(9000), None, b"3")))
    assert await store.picture("digits", "a") == b"\x89PNG" + bytes(9000)
    for id in ("before", "b"):
        with pytest.raises(NoPicture, match=f"'{id}' has no original picture"):
            await store.picture("digits", id)
    with pytest.raises(UnknownItem):
        await store.picture("digits", "d")
    with pytest.raises(UnknownCollection):
        await store.picture("none", "d")
    await store.patch("digits", "a", {"n": 1})
    assert len(await store.picture("digits", "a")) == 9004  # it stays with a patch,
    await store.upsert("digits", DIGEST, block("a"))  # and goes with its vectors
    with pytest.raises(NoPicture):
        await store.picture("digits", "a")
    assert (await store.create(DIGITS)).keep == "picture"  # what is not said does not change
    assert (await store.create(replace(DIGITS, keep="nothing"))).keep == "nothing"
    await store.upsert("digits", DIGEST, block("e", pictures=(b"5",)))
    with pytest.raises(NoPicture):
        await store.picture("digits", "e")
    assert await store.picture("digits", "c") == b"3"
    await store.delete("digits", "c")
    await store.upsert("digits", DIGEST, block("c"))
    with pytest.raises(NoPicture):
        await store.picture("digits", "c")


async def test_originals_are_bounded_together(address: str) -> None:
    store = make_store(address, 1 << 24, max_picture_bytes=1000)
    await store.open()
    names = ("digits", "other")
    for name in names:
        await store.create(replace(DIGITS, name=name, keep="picture"))
        await store.upsert(name, DIGEST, block("a", "b", pictures=(bytes(200), bytes(200))))
    with pytest.raises(PicturesFull, match=r"1001 bytes, 1000 are allowed.*VAE_STORE_MAX_PICTURE_BYTES"):
        await store.upsert("digits", DIGEST, block("c", "d", pictures=(bytes(200), bytes(1))))
    assert (await store.scan("digits")).ids == ["a", "b"]
    await store.upsert("digits", DIGEST, block("a", pictures=(bytes(400),)))  # 200 went, 400 came
    await store.delete_ids("other", ["a"])
    await store.upsert("digits", DIGEST, block("c", pictures=(bytes(200),)))
    with pytest.raises(PicturesFull):
        await store.upsert("other", DIGEST, block("a", pictures=(bytes(1),)))
    await store.drop("digits")
    await store.upsert("other", DIGEST, block("a", pictures=(bytes(800),)))
    await store.close()
