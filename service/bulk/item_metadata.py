"""The metadata of items as a store takes it, with the bounds that requests have. Knows nothing of pictures or models."""

import math
from typing import Any, NamedTuple

from models.readers.path_names import shown
from service.store.interface import BadItem, MetadataTooLarge
from service.store.metadata import metadata_bytes


class Usable(NamedTuple):
    """Metadata that can be stored, also as JSON; or the reason why it cannot. `missing`: what was left out of it."""

    metadata: dict[str, Any]
    text: bytes = b""
    reason: str = ""
    missing: str = ""


def usable(metadata: dict[str, Any]) -> Usable:
    """Return metadata without numbers that are not finite, which JSON cannot have: they count as missing."""
    odd = [key for key, value in metadata.items() if isinstance(value, float) and not math.isfinite(value)]
    kept = {key: value for key, value in metadata.items() if key not in odd} if odd else metadata
    try:
        text = metadata_bytes(kept, what="its metadata")
    except (BadItem, MetadataTooLarge) as error:
        return Usable(kept, reason=_of_one_key(kept) or str(error))
    return Usable(kept, text, missing=f"{shown(odd[0])[:80]} is {metadata[odd[0]]}, which counts as missing" if odd else "")


def _of_one_key(metadata: dict[str, Any]) -> str:
    """Return what is wrong with one of the values that cannot be stored; "" if only all together cannot."""
    for key, value in metadata.items():
        try:
            metadata_bytes({key: value}, what=f"its metadata '{shown(key)[:80]}'")
        except (BadItem, MetadataTooLarge) as error:
            return str(error)
    return ""
