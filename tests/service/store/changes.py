"""Changes items of the reference as a store should, and says what the store should answer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from service.store.filters import Unknown
from service.store.interface import Deleted, Patched, Upserted
from tests.service.store.operations import Operation, gaussians
from tests.service.store.reference import Group


def change(group: Group, one: Operation) -> Any:
    """Change the reference. What the store should answer, as `plain` has it."""
    match one["do"]:
        case "delete":
            group.delete(one["id"])
            return group.seq
        case "patch":
            group.patch(one["id"], one["patch"])
            return plain(Patched(group.seq, orjson.dumps(group.rows[one["id"]].metadata)))
        case "delete_ids":
            return _deleted(group, [id for id in one["ids"] if id in group.rows])
        case "delete_matching":
            found = [id for id in sorted(group.matching(one["filter"])) if id > one["after"]]
            unknown = [] if one["after"] else group.unknown(one["filter"])
            return plain(_deleted(group, found[: one["limit"]], unknown))
    return _upserted(group, one)


def plain(answer: Any) -> Any:
    """An answer that can be compared: the order of the keys of metadata and suggestions do not count."""
    if isinstance(answer, Deleted):
        return replace(answer, unknown=tuple(Unknown(one.key) for one in answer.unknown))
    if not isinstance(answer, Patched):
        return answer
    return Patched(answer.seq, orjson.dumps(orjson.loads(answer.metadata), option=orjson.OPT_SORT_KEYS))


def pictures_of(one: Operation) -> list[bytes | None]:
    """The originals in an upsert, which has only their lengths."""
    return [None if size is None else bytes([one["seed"] % 251, i]) * size for i, size in enumerate(one["pictures"])]


def _deleted(group: Group, ids: list[str], unknown: Sequence[str] = ()) -> Deleted:
    for id in ids:
        group.delete(id)
    return Deleted(group.seq, ids, tuple(map(Unknown, unknown)))


def _upserted(group: Group, one: Operation) -> Upserted:
    mu, sigma, has_sigma = gaussians(one["seed"], len(one["ids"]), group.dim)
    pictures = pictures_of(one) or [None] * len(mu)
    added, replaced, skipped = list[str](), list[str](), list[str]()
    for i, id in enumerate(one["ids"]):
        is_there = id in group.rows
        if is_there and one["if_exists"] == "skip":
            skipped.append(id)
            continue
        (replaced if is_there else added).append(id)
        metadata = None if i in one["unstated"] else one["metadata"][i]
        group.upsert(id, mu[i], sigma[i] if has_sigma[i] else None, metadata, pictures[i])
    return Upserted(group.seq, added, replaced, skipped)
