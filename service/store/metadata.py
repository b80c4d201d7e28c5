"""Metadata of an item: a JSON object within bounds, and its change by a merge patch. Knows nothing of HTTP or databases."""

from typing import Any

import orjson

from service.json_types import json_type
from service.store.filters import usable_key
from service.store.interface import BadItem, MetadataTooLarge

MAX_METADATA_BYTES = 1 << 16
MAX_DEPTH = 32


def metadata_bytes(value: object, item: int | None = None, what: str = "the metadata") -> bytes:
    """Return metadata as JSON. Raises BadItem, MetadataTooLarge; messages name the item, and call it `what`."""
    if not isinstance(value, dict):
        raise BadItem(f"{what} must be a JSON object, not {json_type(value)}", item)
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadItem(f"{what} cannot be written as JSON: {error}", item) from None
    if len(text) > MAX_METADATA_BYTES:
        raise MetadataTooLarge(len(text), MAX_METADATA_BYTES, item, what)
    if b"\\u0000" in text or text.count(b"{") + text.count(b"[") > MAX_DEPTH:
        _check_nested(value, item, 1, what)
    return text


def _check_nested(value: object, item: int | None, depth: int, what: str) -> None:
    if depth > MAX_DEPTH:
        raise BadItem(f"{what} is nested deeper than the {MAX_DEPTH} levels that are allowed", item)
    if isinstance(value, str) and "\0" in value:
        raise BadItem(f"{what} must not contain the character U+0000", item)
    if isinstance(value, dict):
        for key, one in value.items():
            _check_nested(key, item, depth, what)
            _check_nested(one, item, depth + 1, what)
    elif isinstance(value, list):
        for one in value:
            _check_nested(one, item, depth + 1, what)


def usable_keys(metadata: dict[str, Any]) -> set[str]:
    """Return the keys that can be used in a filter."""
    return {key for key in metadata if usable_key(key)}


def patched(stored: bytes, patch: dict[str, Any], id: str) -> tuple[bytes, set[str]]:
    """Return metadata after a merge patch, and its keys that can be used in a filter. Raises BadItem, MetadataTooLarge."""
    value = _merged(orjson.loads(stored), patch)
    return metadata_bytes(value, what=f"after this change the metadata of the item {id!r}"), usable_keys(value)


def _merged(target: Any, patch: Any) -> Any:
    """Apply a merge patch as the pseudocode of RFC 7396 does: null removes a key, objects are merged, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _merged(found.get(key), value)
    return found
