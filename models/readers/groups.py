"""Find which pictures belong together, such as those of one video, patient or author: by sub-folder, or by an array."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.readers.array_files import Stored
from models.readers.array_labels import text_of
from models.readers.download import DataError
from models.readers.found import UNKNOWN, Groups
from models.readers.layout import TRAIN, split_of
from models.readers.left_out import plural
from models.readers.path_names import shown


def folder_groups(paths: Sequence[Path]) -> Groups | None:
    """Return the folder of each picture; None if all lie in one. `paths` are relative to the data's folder.

    Names of splits do not count: train/anna and test/anna are one group.
    """
    names = ["/".join(part for part in path.parts[:-1] if split_of(part) is None) or "." for path in paths]
    return _numbered(names) if len(set(names)) > 1 else None


def array_groups(name: str, stored: Stored, count: int, training: int) -> Groups:
    """Return the group of each of `count` pictures, or of the first `training` ones, and UNKNOWN for the others.

    Raises DataError, which names the file, and the exceptions of `reading`.
    """
    wrong = f"{name}: {stored}, should be one number or text for each of {plural(count, 'picture')}"
    if stored.dtype.hasobject:
        raise DataError(f"{wrong}; Python objects are not read: store text as np.array(groups, dtype=str)")
    if stored.shape not in ((count,), (training,)) or stored.dtype.kind not in "biufUS":
        raise DataError(wrong)
    values = stored.read()
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        i = int(np.argmin(np.isfinite(values)))
        raise DataError(f"{wrong}; the first that is none is {values[i]}, number {i} counted from 0")
    known, names = _numbered([text_of(value) for value in values])
    groups = np.full(count, UNKNOWN, np.int64)
    groups[: len(known)] = known
    return Groups(groups, names)


def group_line(found: Groups, splits: Sequence[str | None] | None, source: str) -> str:
    """Return a line with the number of groups, and of those that are both in the training split and in another one."""
    groups = found.numbers
    line = f"groups: {len(found.names):,}, from {source}"
    if splits is None or not any(splits):
        return line
    inside = np.array([split == TRAIN for split in splits])
    both = np.intersect1d(groups[inside], groups[~inside & (groups != UNKNOWN)])
    return f"warning: {line}; {plural(len(both), 'group')} in train and in another split, too" if len(both) else line


def _numbered(names: Sequence[str]) -> Groups:
    distinct, numbers = np.unique(np.array(names), return_inverse=True)
    return Groups(numbers.astype(np.int64).reshape(-1), [shown(name) for name in distinct.tolist()])
