"""The data of a request before they become rows: as they were sent, or rows of an npy array. Knows nothing of models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(slots=True)
class RawItems:
    """N items of the kind that the model is about, in the order of the request.

    `raw`: as they were sent, such as encoded pictures. `rows`: arrays as the engine takes them, instead of `raw`.
    `alone`: the request can have only one item, so that errors leave out its number.
    """

    raw: Sequence[Any] = ()
    rows: NDArray[Any] | None = None
    alone: bool = False

    def __len__(self) -> int:
        return len(self.raw) if self.rows is None else len(self.rows)
