"""What every architecture shares: activations by name, and bounds of sizes. Knows nothing of any one architecture."""

from collections.abc import Mapping, Sequence
from reprlib import repr as short_repr

from torch import nn

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
}

# Bounds of what a configuration may ask for, far above what anybody trains: they keep the time bounded in which a
# configuration is understood that somebody else wrote.
MAX_WIDTH = 1 << 20
MAX_LAYERS = 128


def is_whole(number: object, most: int, least: int = 1) -> bool:
    """Whether this is an integer, not a truth value, from `least` to `most`."""
    return type(number) is int and least <= number <= most


def check_widths(name: str, widths: object) -> Sequence[int]:
    """The widths, if they are a list of sizes that a net can have. Raises ValueError."""
    if not isinstance(widths, (list, tuple)) or not all(is_whole(width, MAX_WIDTH) for width in widths):
        raise ValueError(f"{name} must be positive integers up to {MAX_WIDTH}, in a list, not {short_repr(widths)}")
    if len(widths) > MAX_LAYERS:
        raise ValueError(f"{name} may list at most {MAX_LAYERS} layers, not {len(widths)}")
    return widths


def check_width(name: str, width: object, most: int = MAX_WIDTH) -> int:
    """A size that may be 0. Raises ValueError."""
    if type(width) is not int or not 0 <= width <= most:
        raise ValueError(f"{name} must be an integer from 0 to {most}, not {short_repr(width)}")
    return width


def activation_layer(name: str) -> nn.Module:
    """A new activation module. Raises ValueError for an unknown name."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {short_repr(name)}; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
