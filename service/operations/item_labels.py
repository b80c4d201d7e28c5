"""The labels of the items of a conditional model's collection: stored as metadata, under the key of the condition.

They are needed to encode pictures and to decode latents. Knows nothing of HTTP.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.inference.told import NoLabel, WrongLabels, labels_of
from service.store.metadata import metadata_bytes, usable_keys

if TYPE_CHECKING:
    from service.operations.items import Entries


def label_entries(model: ServedModel, inference: Inference, entries: "Entries") -> None:
    """Give each of the new items its label, in `inference` and in its metadata: that of the request, else of the metadata.

    For a model without a condition, only check that the request has none. Raises NoSuchLabel, NoLabel, WrongLabels.
    """
    condition, asked = model.condition, inference.label
    if condition is None or asked is not None:
        labels_of(model, asked)
    if condition is None:
        return
    if asked is not None and len(asked) not in (1, len(entries)):
        raise WrongLabels(f"label has {len(asked)} entries for {len(entries)} items: give one for all, or one for each.")
    stated = [orjson.loads(metadata) for metadata in entries.metadata]
    found = []
    for i, own in enumerate(stated):
        told = None if asked is None else asked[i if len(asked) > 1 else 0]
        known = label_in(own, condition.key)
        if told is None and known is None:
            raise NoLabel(
                f"item {i} has no label: the model {model.name!r} must be told the {condition.key} of each item. Add label, "
                f"or {condition.key} to its metadata: one of {condition.listed}."
            )
        if told is not None and known is not None and told != known:
            raise WrongLabels(f"item {i} has the label {told!r}, but its metadata says {known!r}: state only one of them.")
        found.append(told if told is not None else str(known))
        if known is None:
            entries.metadata[i] = metadata_bytes({**own, condition.key: found[-1]}, i)
            entries.unstated.discard(i)
    labels_of(model, found)
    entries.keys |= usable_keys({condition.key: found[0]})
    inference.label = tuple(found)


def label_in(metadata: object, key: str) -> str | None:
    """Return the label that the metadata of an item has, as text; None if there is none that could be one."""
    value = metadata.get(key) if isinstance(metadata, dict) else None
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else None


def stored_labels(model: ServedModel, ids: Sequence[str], metadata: Sequence[bytes]) -> tuple[str, ...]:
    """Return the labels of stored items of a conditional model. Raises NoLabel, which names the first that has none."""
    key = "" if model.condition is None else model.condition.key
    found = [label_in(orjson.loads(own), key) for own in metadata]
    for id, label in zip(ids, found, strict=True):
        if label is None:
            raise NoLabel(
                f"the item {id!r} has no {key} in its metadata, which the model {model.name!r} must be told: add it, as in "
                f'PATCH {{"{key}": "{model.condition.values[0] if model.condition else ""}"}}.'
            )
    return tuple(str(label) for label in found)


def of_some(inference: Inference, items: Sequence[int]) -> Inference:
    """Return the same work for some of the items: with their labels, if there is one for each."""
    label = inference.label
    if label is None or len(label) == 1:
        return inference
    return replace(inference, label=tuple(label[i] for i in items if i < len(label)))
