"""What conditional models are told: one label for all items of a call, or a sequence with one for each."""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

Label: TypeAlias = str | int | Sequence[str | int]  # an array of numpy, too


def label_text(label: Any) -> str | None:
    """Return a label as requests have it: as text, and several as the JSON text of a list."""
    found = label.tolist() if hasattr(label, "tolist") else label
    if found is None or isinstance(found, str | int):
        return None if found is None else str(found)
    return json.dumps([str(one) for one in found])


def labels_of(label: Any, items: range) -> Any:
    """Return the label or labels of some of the items of a call. Raises ValueError if there are fewer labels than items."""
    if label is None or isinstance(label, str | int) or len(label) == 1:
        return label
    if len(label) < items.stop:
        raise ValueError(f"there are more than {len(label)} items but no more labels")
    return label[items.start : items.stop]
