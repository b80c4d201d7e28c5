"""Decide which items of an upsert are stored, and what results, in the same way for every backend. Knows nothing of SQL."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import orjson

from service.store.interface import Collection, IfExists, Items, ItemsExist, Upserted
from service.store.metadata import usable_keys


def wanted_of(name: str, items: Items, there: AbstractSet[str], if_exists: IfExists) -> Sequence[int]:
    """Return the indices of the items to store. `there`: those of their ids that the collection has. Raises ItemsExist."""
    if if_exists == "error" and there:
        raise ItemsExist(name, [id for id in items.ids if id in there])
    if if_exists == "skip" and there:
        return [i for i, id in enumerate(items.ids) if id not in there]
    return range(len(items))


def keys_of(items: Items, wanted: Sequence[int]) -> AbstractSet[str]:
    """Return the keys of the metadata of the items that are stored."""
    if len(wanted) == len(items):
        return items.keys
    return {key for i in wanted for key in usable_keys(orjson.loads(items.metadata[i]))}


def originals(collection: Collection, items: Items, wanted: Sequence[int]) -> dict[str, bytes]:
    """Return the pictures to keep, by id."""
    if collection.keep != "picture" or not items.pictures:
        return {}
    return {items.ids[i]: data for i in wanted if (data := items.pictures[i]) is not None}


def upserted(items: Items, wanted: Sequence[int], there: AbstractSet[str], seq: int) -> Upserted:
    """Return the result."""
    stored = {items.ids[i] for i in wanted}
    return Upserted(
        seq,
        [id for id in items.ids if id in stored and id not in there],
        [id for id in items.ids if id in stored and id in there],
        [id for id in items.ids if id not in stored],
    )
