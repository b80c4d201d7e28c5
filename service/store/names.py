"""The names of collections and directions, and those that are reserved for the training latents of a model."""

import re
from typing import Literal

from service.store.errors import BadName, ReadOnly

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Before the name of a model: its training latents, as a collection that nobody can change. Other names have no colon.
TRAINING_PREFIX = "training:"


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
