"""Checks latents from JSON lists or npy arrays and converts them to float32 rows. Knows nothing of models or HTTP."""

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Unusable
from service.json_types import json_type

# No latent of a model whose prior is N(0, I) is larger than this, and larger ones could make a decoder overflow.
MAX_LATENT = 1e4
JSON_NAMES = {bool: "booleans", str: "strings", list: "lists", dict: "objects", type(None): "nulls"}


def latent_rows(value: object, dim: int, name: str = "z", model: str = "") -> NDArray[np.float32]:
    """Convert JSON lists or an npy array of latents to float32 (N, D).

    Raise Unusable; the message has `name`, and `model` if the caller may choose another one.
    """
    wanted = f"but {_taker(model)} takes numbers of shape (N, {dim})"
    if isinstance(value, list):  # checked before it becomes an array, which would be huge if it held long strings
        if not all(isinstance(row, list) for row in value):
            raise Unusable(f"{name} has the shape ({len(value)},), {wanted}: a list of latents, each a list of numbers")
        others = set(map(type, chain.from_iterable(value))) - {int, float}
        if others:
            found = ", ".join(sorted(JSON_NAMES[kind] for kind in others))
            raise Unusable(f"{name} contains {found}, {wanted}")
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise Unusable(f"the rows of {name} differ in length, {wanted}") from None
    if array.dtype.kind not in "fiu":
        raise Unusable(f"{name} has the type {array.dtype}, {wanted}")
    if array.ndim != 2 or array.shape[1] != dim:
        raise Unusable(f"{name} has the shape {array.shape}, {wanted}{_advice(model)}")
    bad = ~((array <= MAX_LATENT) & (array >= -MAX_LATENT)).all(axis=1)  # both comparisons are false for NaN
    if bad.any():
        raise Unusable(f"latents must be finite and between -{MAX_LATENT:g} and {MAX_LATENT:g}", int(bad.argmax()))
    return np.ascontiguousarray(array, np.float32)


def latent_row(value: object, dim: int, name: str, model: str = "") -> NDArray[np.float32]:
    """Convert one latent, a JSON list, to float32 (1, D). Raise Unusable as `latent_rows` does."""
    if not isinstance(value, list):
        raise Unusable(f"{name} must be a list of {dim} numbers, not {json_type(value)}")
    if len(value) != dim:
        numbers = "1 number" if len(value) == 1 else f"{len(value)} numbers"
        raise Unusable(f"{name} has {numbers}, but {_taker(model)} takes {dim}{_advice(model)}")
    return latent_rows([value], dim, name, model)


def _taker(model: str) -> str:
    return f"the model {model}" if model else "the model"


def _advice(model: str) -> str:
    return "; name another with model=" if model else ""
