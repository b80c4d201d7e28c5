"""Find equal items within and between splits, after they were prepared. Knows nothing of files."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from numpy.typing import NDArray

from models.readers.layout import TEST, TRAIN, VALIDATION
from models.readers.left_out import of_all

KEY_BYTES = 16


def key_of(row: NDArray[Any]) -> bytes:
    """Return 16 bytes that tell a row from others: equal rows have equal keys."""
    return blake2b(row.data, digest_size=KEY_BYTES).digest()


def copy_lines(
    x: NDArray[Any], rows: Mapping[str, Sequence[int]], noun: str = "picture", known: Sequence[bytes] | None = None
) -> list[str]:
    """Return lines about items that are equal to others, byte for byte, from the rows of each split in `x`.

    `noun` is what one item is called; `known` has the keys of all rows, if they are known already.
    """
    keys = {split: [key_of(x[i]) if known is None else known[i] for i in own] for split, own in rows.items()}
    there = set(keys[TRAIN])
    lines = []
    if copies := len(keys[TRAIN]) - len(there):
        lines.append(f"copies: {of_all(copies, len(keys[TRAIN]), f'training {noun}')} equal to an earlier one")
    both = {split: sum(key in there for key in keys[split]) for split in (TEST, VALIDATION)}
    return lines + [
        f"warning: {of_all(count, len(keys[split]), f'{split} {noun}')} also in train, so the numbers of that split look too "
        "good; remove the copies"
        for split, count in both.items()
        if count
    ]
