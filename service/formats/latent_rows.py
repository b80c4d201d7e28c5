"""Latents in JSON lists or npy arrays -> float32 rows. Knows nothing of models or HTTP."""

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Unusable

# a latent beyond this is no latent of a model whose prior is N(0, I); it could make a decoder overflow
MAX_LATENT = 1e4
JSON_NAMES = {bool: "booleans", str: "texts", list: "lists", dict: "objects", type(None): "nulls"}


def latent_rows(value: object, dim: int, name: str = "z") -> NDArray[np.float32]:
    """JSON lists or an npy array of latents -> float32 (N, D). Raises Unusable."""
    wanted = f"numbers of shape (N, {dim})"
    if isinstance(value, list):  # looked at before it becomes an array, which for long texts would be a huge one
        if not all(isinstance(row, list) for row in value):
            raise Unusable(f"{name} is a list of shape ({len(value)},), the model takes {wanted}")
        others = set(map(type, chain.from_iterable(value))) - {int, float}
        if others:
            found = ", ".join(sorted(JSON_NAMES[kind] for kind in others))
            raise Unusable(f"{name} holds {found}, the model takes {wanted}")
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise Unusable(f"{name} must be {wanted}: its rows differ in length") from None
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != dim:
        raise Unusable(f"{name} is {_kind(array)} of shape {array.shape}, the model takes {wanted}")
    bad = ~((array <= MAX_LATENT) & (array >= -MAX_LATENT)).all(axis=1)  # which NaN is neither
    if bad.any():
        raise Unusable(f"latents must be finite and within +-{MAX_LATENT:g}", int(bad.argmax()))
    return np.ascontiguousarray(array, np.float32)


def _kind(array: NDArray[Any]) -> str:
    return "numbers" if array.dtype.kind in "fiu" else "no array of numbers"
