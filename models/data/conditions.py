"""Find what a conditional model is told: the labels of a data set, or one of its factors. Knows nothing of models."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models.condition import LABEL, MOST_CHARACTERS, MOST_VALUES, UNKNOWN, Condition, NoSuchValue, shown_counts
from models.data import Items
from models.readers.download import DataError
from models.readers.left_out import plural


def find_condition(key: str, training: Items, classes: Sequence[str] | None, where: str) -> tuple[Condition, list[str]]:
    """Return the values of the key among the training items, and lines about what was found. Raises DataError.

    `classes` has the names of the labels 0, 1, ..., if they have names; `where` is the name of the data for messages.
    """
    numbers, names = _numbers(key, training, where), classes if key == LABEL else None
    found, counts = numbers.unique(return_counts=True)
    counted: dict[str, int] = {}
    for number, count in zip(found.tolist(), counts.tolist(), strict=True):
        name = _name(number, names)
        counted[name] = counted.get(name, 0) + count
    if not 2 <= len(counted) <= MOST_VALUES:
        raise DataError(
            f"--condition {key}: {where} has {plural(len(counted), 'value')} of it in "
            f"{plural(len(training), 'training item')}; a condition needs 2 to {MOST_VALUES}"
        )
    if long := next((name for name in counted if len(name) > MOST_CHARACTERS), None):
        raise DataError(f"--condition {key}: the value {long[:40]!r}... has more than {MOST_CHARACTERS} characters")
    condition = Condition(key, tuple(counted), tuple(counted.values()))
    lines = [f"condition: {key}, {len(condition)} values in training: {shown_counts(condition)}"]
    if UNKNOWN in counted:
        lines.append(f"condition: {counted[UNKNOWN]:,} training items without a {key} have the value {UNKNOWN!r}")
    return condition, lines


def conditioned(items: Items, condition: Condition | None, classes: Sequence[str] | None, part: str, where: str) -> Items:
    """Return the items with what the model is told about each; as they are without a condition. Raises DataError.

    `part` is the name of the split for messages.
    """
    if condition is None:
        return items
    names = classes if condition.key == LABEL else None
    found, each = _numbers(condition.key, items, where).unique(return_inverse=True)
    try:
        indices = [condition.index(_name(number, names)) for number in found.tolist()]
    except NoSuchValue as error:
        raise DataError(
            f"the {part} split of {where} has values of the condition that the training items do not have: {error}. Give the "
            "training items some of them, or leave these items out"
        ) from None
    return replace(items, condition=torch.tensor(indices, dtype=torch.int64, device=each.device)[each])


def _numbers(key: str, items: Items, where: str) -> Tensor:
    """Return the values of the key as the data set numbers them, int64 (N,). Raises DataError."""
    if key == LABEL:
        if items.labels is not None:
            return items.labels
        there = f"; it has the factors {', '.join(items.factors)}" if items.factors else ""
        raise DataError(f"--condition {key}: {where} has no labels{there}")
    if key in items.factors:
        return items.factors[key]
    known = [*([LABEL] if items.labels is not None else []), *items.factors]
    raise DataError(
        f"--condition {key}: {where} has no factor of that name; "
        + (f"choose {' or '.join(known)}" if known else "it has neither labels nor factors, so leave --condition out")
    )


def _name(number: int, names: Sequence[str] | None) -> str:
    """Return the name of a label: that of its class, else the number itself; an empty name means that it is missing."""
    return (names[number].strip() or UNKNOWN) if names and 0 <= number < len(names) else str(number)
