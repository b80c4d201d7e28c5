"""The names of collections: those that callers make, and those of the training latents of a model."""

import re

from service.store.errors import BadCollectionName, ReadOnly

COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Before the name of a model: its training latents, as a collection that nobody can change. Other names have no colon.
TRAINING = "training:"


def is_collection_name(name: str) -> bool:
    """Return whether a collection can have this name, be it one that callers make or one of training latents."""
    return COLLECTION_NAME.fullmatch(name.removeprefix(TRAINING)) is not None


def check_collection_name(name: str, what: str = "collection") -> None:
    """Raise BadCollectionName unless callers may give a collection this name; directions have such names, too.

    Raises ReadOnly for the name of a collection of training latents.
    """
    if what == "collection" and name.startswith(TRAINING):
        raise ReadOnly(name)
    if not COLLECTION_NAME.fullmatch(name):
        raise BadCollectionName(name, what)
