"""Activations by name and limits of sizes, for all architectures. Knows nothing of any single architecture."""

from collections.abc import Mapping, Sequence
from reprlib import repr as short_repr

from torch import nn

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
}

# Limits for configurations, far above what anybody trains. Without them, a malicious configuration could make the
# service spend unlimited time on building a model.
MAX_WIDTH = 1 << 20
MAX_LAYERS = 128
MAX_COLUMNS, MAX_CATEGORIES = 10_000, 1000  # of a table


def is_whole(number: object, most: int, least: int = 1) -> bool:
    """Return whether this is an integer (not a bool) from `least` to `most`."""
    return type(number) is int and least <= number <= most


def check_widths(name: str, widths: object) -> Sequence[int]:
    """Return the widths. Raises ValueError unless they are a list of positive integers within the limits."""
    if not isinstance(widths, (list, tuple)) or not all(is_whole(width, MAX_WIDTH) for width in widths):
        raise ValueError(f"{name} must be positive integers up to {MAX_WIDTH}, in a list, not {short_repr(widths)}")
    if len(widths) > MAX_LAYERS:
        raise ValueError(f"{name} may list at most {MAX_LAYERS} layers, not {len(widths)}")
    return widths


def check_width(name: str, width: object, most: int = MAX_WIDTH) -> int:
    """Return the width. Raises ValueError unless it is an integer from 0 to `most`."""
    if type(width) is not int or not 0 <= width <= most:
        raise ValueError(f"{name} must be an integer from 0 to {most}, not {short_repr(width)}")
    return width


def activation_layer(name: str) -> nn.Module:
    """Return a new activation module. Raises ValueError for an unknown name."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {short_repr(name)}; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def check_cardinalities(cardinalities: object) -> Sequence[int]:
    """Return the cardinalities of columns: 0 for a number, 1 for a boolean, or the categories.

    Raises ValueError unless they are a list of integers within the limits.
    """
    if not isinstance(cardinalities, (list, tuple)) or not 0 < len(cardinalities) <= MAX_COLUMNS:
        raise ValueError(f"cardinalities must be a list of 1 to {MAX_COLUMNS} integers, not {short_repr(cardinalities)}")
    if not all(is_whole(size, MAX_CATEGORIES, 0) for size in cardinalities):
        raise ValueError(f"cardinalities must be integers from 0 to {MAX_CATEGORIES}, not {short_repr(cardinalities)}")
    return cardinalities
