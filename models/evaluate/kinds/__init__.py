"""The registry of how kinds are measured. A kind that is not here is measured as any kind is."""

from collections.abc import Callable

from models.evaluate.kinds.measuring import Measuring
from models.evaluate.kinds.picture import PictureMeasuring
from models.evaluate.kinds.sequence import SequenceMeasuring
from models.evaluate.kinds.table import TableMeasuring
from models.kinds.kind import Kind

__all__ = ["MEASURING", "Measuring", "measuring_for"]

MEASURING: dict[str, Callable[[Kind], Measuring]] = {
    "picture": PictureMeasuring,
    "strokes": SequenceMeasuring,
    "table": TableMeasuring,
    "text": SequenceMeasuring,
}


def measuring_for(kind: Kind) -> Measuring:
    """Return how models of a kind are measured."""
    return MEASURING.get(kind.name, Measuring)(kind)
