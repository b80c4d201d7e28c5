"""The names of collections and directions, and those that are reserved for the training latents of a model."""

import re
from typing import Literal, TypeGuard

from service.store.errors import BadName, ReadOnly

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Before the name of a model: its training latents, as a collection that nobody can change. Other names have no colon.
TRAINING_PREFIX = "training:"

# Characters of the id of an item.
MAX_ID = 512
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def is_item_id(id: object) -> TypeGuard[str]:
    """Return whether an item can have this id: 1 to MAX_ID characters without control characters."""
    return isinstance(id, str) and 0 < len(id) <= MAX_ID and not CONTROL.search(id)


def id_fault(id: str) -> str:
    """Return why an item of a file cannot have this id: like `is_item_id`, and it is also a path. "" if it can."""
    if not id:
        return "it is empty"
    if len(id) > MAX_ID:
        return f"it has {len(id):,} characters, at most {MAX_ID} are allowed"
    if found := CONTROL.search(id):
        return f"it has the control character {found[0]!r}"
    if odd := [part for part in id.split("/") if part in (".", "..")]:
        return f"it has {odd[0]!r} between slashes"
    return ""


def is_collection_name(name: str) -> bool:
    """Return whether a collection can have this name, be it one that callers make or one of training latents."""
    return NAME.fullmatch(name.removeprefix(TRAINING_PREFIX)) is not None


def check_name(name: str, what: Literal["collection", "direction"]) -> None:
    """Raise BadName unless callers may give a collection or a direction this name.

    Raises ReadOnly for the name of a collection of training latents.
    """
    if what == "collection" and name.startswith(TRAINING_PREFIX):
        raise ReadOnly(name)
    if not NAME.fullmatch(name):
        raise BadName(name, what)
