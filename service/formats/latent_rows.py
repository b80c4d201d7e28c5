"""Checks latents from JSON lists or npy arrays and converts them to float32 rows. Knows nothing of models or HTTP."""

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Unusable

# No latent of a model whose prior is N(0, I) is larger than this, and larger ones could make a decoder overflow.
MAX_LATENT = 1e4
JSON_NAMES = {bool: "booleans", str: "strings", list: "lists", dict: "objects", type(None): "nulls"}


def latent_rows(value: object, dim: int, name: str = "z") -> NDArray[np.float32]:
    """Convert JSON lists or an npy array of latents to float32 (N, D). Raise Unusable, with `name` in the message."""
    wanted = f"numbers of shape (N, {dim})"
    if isinstance(value, list):  # checked before it becomes an array, which would be huge if it held long strings
        if not all(isinstance(row, list) for row in value):
            raise Unusable(f"{name} is a list of shape ({len(value)},), the model takes {wanted}")
        others = set(map(type, chain.from_iterable(value))) - {int, float}
        if others:
            found = ", ".join(sorted(JSON_NAMES[kind] for kind in others))
            raise Unusable(f"{name} contains {found}, the model takes {wanted}")
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise Unusable(f"the rows of {name} differ in length, the model takes {wanted}") from None
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != dim:
        raise Unusable(f"{name} is {_kind(array)} of shape {array.shape}, the model takes {wanted}")
    bad = ~((array <= MAX_LATENT) & (array >= -MAX_LATENT)).all(axis=1)  # both comparisons are false for NaN
    if bad.any():
        raise Unusable(f"latents must be finite and between -{MAX_LATENT:g} and {MAX_LATENT:g}", int(bad.argmax()))
    return np.ascontiguousarray(array, np.float32)


def _kind(array: NDArray[Any]) -> str:
    return "an array of numbers" if array.dtype.kind in "fiu" else f"an array of type {array.dtype}"
