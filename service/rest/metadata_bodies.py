"""Metadata of items in bodies: JSON text, and merge patches. Knows nothing of models, stores or routes."""

from typing import Any

import orjson

from service.formats.errors import Undecodable, Unsupported, Unusable
from service.http.call import Call
from service.json_types import json_type
from service.store.interface import MetadataTooLarge
from service.store.metadata import MAX_METADATA_BYTES, metadata_bytes


def metadata_value(text: bytes, item: int | None = None, what: str = "the metadata") -> Any:
    """Parse JSON text that is, or changes, the metadata of one item. Raises Undecodable, MetadataTooLarge (with `what`)."""
    if len(text) > MAX_METADATA_BYTES:  # Checked before it is parsed.
        raise MetadataTooLarge(len(text), MAX_METADATA_BYTES, item, what)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Undecodable(f"{what} is not JSON: {error}", item) from None


def patch_of(call: Call) -> dict[str, Any]:
    """Return a JSON merge patch of metadata. Raises BadInput, BadItem, MetadataTooLarge."""
    claimed = call.content_type
    if not call.body:
        raise Undecodable('the body is empty: send a JSON merge patch, like {"label": 7, "note": null}')
    if claimed == "multipart/form-data" or claimed.startswith("image/") or claimed == "application/x-npy":
        raise Unsupported(f"send a JSON merge patch as application/merge-patch+json or application/json, not {claimed}")
    patch = metadata_value(call.body, what="the merge patch")
    if not isinstance(patch, dict):
        raise Unusable(f"the merge patch must be a JSON object, not {json_type(patch)}")
    metadata_bytes(patch, what="the merge patch")  # Its depth is bounded before it is applied.
    return patch
