"""Labels, splits and factors from arrays: numbers, one-hot rows, booleans or text. Knows nothing of files."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.readers.array_files import Stored
from models.readers.download import DataError
from models.readers.layout import one_each_lines, split_of
from models.readers.left_out import plural
from models.readers.path_names import shown


class Labels(NamedTuple):
    """Numbers (N,), or names where the labels are text; and what was inferred, if anything."""

    numbers: NDArray[np.int64] | None
    names: list[str] | None
    remark: str | None = None


def read_labels(name: str, array: Stored, count: int) -> Labels | None:
    """Return the labels of `count` pictures; None where rows have several labels. Raises DataError, which names the file."""
    wrong = f"{name}: {array}, should be whole numbers below 2^63, text or one-hot rows for {plural(count, 'picture')}"
    if array.dtype.hasobject:
        raise DataError(f"{wrong}; Python objects are not read: store text as np.array(labels, dtype=str)")
    if array.shape[:1] != (count,) or 0 in array.shape:
        counts = f"; these are {plural(array.shape[0], 'label')} for {plural(count, 'picture')}" if array.shape else ""
        raise DataError(f"{wrong}{counts}")
    values = array.read().reshape(count, -1)
    if values.shape[1] > 1:
        if values.dtype.kind not in "buif":
            raise DataError(wrong)
        if not (np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all()):
            return None
        return Labels(
            values.argmax(1).astype(np.int64),
            None,
            f"{array}: one-hot rows are taken as the labels 0 to {values.shape[1] - 1}",
        )
    column = values[:, 0]
    if column.dtype.kind in "US":
        return Labels(None, [text_of(value) for value in column])
    if column.dtype.kind not in "buif":
        raise DataError(wrong)
    if (numbers := whole_numbers(column)) is None:
        i = next(i for i in range(count) if whole_numbers(column[i : i + 1]) is None)
        raise DataError(f"{wrong}; the first that is none is {column[i]}, number {i} counted from 0")
    return Labels(numbers, None)


def whole_numbers(values: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return numbers as int64; None if one of them is not whole, not finite, or too large."""
    with np.errstate(invalid="ignore"):
        numbers = values.astype(np.int64)
    return numbers if (numbers == values).all() else None


def text_of(value: Any) -> str:
    """Return one value of an array of text as valid text without spaces around it."""
    return shown(value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)).strip()


def read_splits(array: Stored, count: int) -> list[str] | None:
    """Return the split of each picture from an array of text such as "train"; None if it is something else."""
    if array.shape not in ((count,), (count, 1)) or array.dtype.kind not in "US":
        return None
    words = [text_of(value) for value in array.read().reshape(-1)]
    splits = [split_of(word) for word in words]
    return [split for split in splits if split] if all(splits) else None


def label_lines(numbers: NDArray[np.int64]) -> list[str]:
    """Return labels with their counts, in order; where there are many, how many there are. Warn of one for each picture."""
    counts = Counter(numbers.tolist())
    shown_counts = [f"{label}: {counts[label]:,}" for label in sorted(counts)]
    line = f"{plural(len(counts), 'label')}: " + ", ".join(shown_counts[:10]) + (", ..." if len(counts) > 10 else "")
    return [line, *one_each_lines(len(counts), len(numbers))]
