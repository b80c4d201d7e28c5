"""What every reader is told, whatever the kind of the data. Knows nothing of files or kinds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.readers.holding_out import HoldOut
from models.readers.row_store import MemoryRows, Store


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Options of all readers. Those of one kind are a subclass.

    `model` is the preparation of a trained model, which is used as it is.
    """

    model: Any = None
    hold_out: HoldOut = "random"  # how a test split is chosen where the data have none
    validation: float | None = None  # share that is chosen with it, for blocks and groups; None: the default
    store: Store = MemoryRows  # where the rows of pictures are put
    pack: Path | None = None  # the file of `--pack`, which has the rows of pictures instead of the memory
