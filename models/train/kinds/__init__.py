"""The registry of how kinds are trained. To add a kind, add one file in this folder and one line below."""

from models.data import data_kind
from models.train.kinds.picture import PictureTraining
from models.train.kinds.strokes import StrokesTraining
from models.train.kinds.table import TableTraining
from models.train.kinds.text import TextTraining
from models.train.kinds.training import Training

TRAINING: dict[str, Training] = {
    training.kind.name: training for training in (PictureTraining(), StrokesTraining(), TableTraining(), TextTraining())
}


def training_for(data: str) -> Training:
    """Return how a model of this data set is trained; `data` is what --data takes."""
    return TRAINING[data_kind(data).name]


def flags_of_others(data: str) -> set[str]:
    """Return the flags that are for other kinds than that of a data set."""
    own = training_for(data).flags
    return {flag for training in TRAINING.values() for flag in training.flags} - own
