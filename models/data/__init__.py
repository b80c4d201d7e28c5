"""Load data sets of any kind into memory as rows: `load_data` reads them, `models.data.sources` has the table of readers.

Knows nothing of models or objectives.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from models.data.items import Items, Splits
from models.data.picture_sources import CLASSES, IDX_FILES
from models.data.sources import data_kind, is_own, load_data
from models.data.splitting import hold_out, rows_of, split

__all__ = ["IDX_FILES", "Items", "Splits", "class_names", "data_kind", "hold_out", "is_own", "load_data", "rows_of", "split"]


def class_names(recorded: Mapping[str, Any]) -> Sequence[str] | None:
    """Return the names of the labels of a checkpoint's data, which its config.json records; None if they have no names."""
    classes = recorded.get("classes")
    if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
        return classes
    name = recorded.get("name")
    return CLASSES.get(name) if isinstance(name, str) else None
