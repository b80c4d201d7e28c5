"""The registry of how kinds are measured. A kind that is not here is measured as any kind is."""

from collections.abc import Callable

from models.evaluate.kinds.measuring import Measuring
from models.evaluate.kinds.picture import PictureMeasuring
from models.kinds.kind import Kind

MEASURING: dict[str, Callable[[Kind], Measuring]] = {"picture": PictureMeasuring}


def measuring_for(kind: Kind) -> Measuring:
    """Return how models of a kind are measured."""
    return MEASURING.get(kind.name, Measuring)(kind)
