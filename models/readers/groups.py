"""Find which pictures belong together, such as those of one video, patient or author: by sub-folder, or by an array."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.readers.array_files import Stored
from models.readers.array_labels import text_of
from models.readers.layout import TRAIN, split_of
from models.readers.left_out import plural

UNKNOWN = -1


def folder_groups(paths: Sequence[Path]) -> NDArray[np.int64] | None:
    """Return the number of each picture's folder, (N,); None if all lie in one. `paths` are relative to the data's folder.

    Names of splits do not count: train/anna and test/anna are one group.
    """
    names = ["/".join(part for part in path.parts[:-1] if split_of(part) is None) for path in paths]
    return _numbered(names) if len(set(names)) > 1 else None


def array_groups(stored: Stored, count: int, training: int) -> NDArray[np.int64] | None:
    """Return the group of each of `count` pictures, or of the first `training` ones, and UNKNOWN for the others.

    Returns None if the array has another shape or type. Raises the exceptions of `reading`.
    """
    if stored.shape not in ((count,), (training,)) or stored.dtype.kind not in "biuUS":
        return None
    groups = np.full(count, UNKNOWN, np.int64)
    groups[: stored.shape[0]] = _numbered([text_of(value) for value in stored.read()])
    return groups


def group_line(groups: NDArray[np.int64], splits: Sequence[str | None] | None, source: str) -> str:
    """Return a line with the number of groups, and of those that are both in the training split and in another one."""
    line = f"groups: {len(set(groups.tolist()) - {UNKNOWN}):,}, from {source}"
    if splits is None or not any(splits):
        return line
    inside = np.array([split == TRAIN for split in splits])
    both = np.intersect1d(groups[inside], groups[~inside & (groups != UNKNOWN)])
    return f"warning: {line}; {plural(len(both), 'group')} in train and in another split, too" if len(both) else line


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64).reshape(-1)
