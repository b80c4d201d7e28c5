"""Items of any kind, in memory or in a file, and the splits of a data set. Knows nothing of files, models or objectives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.data.file_rows import FileRows
from models.kinds import kind_of
from models.kinds.kind import Kind
from models.readers.rows import permute_rows


@dataclass(frozen=True)
class Items:
    """Rows of one kind, with class labels and generative factors if the data set has them.

    `place` is the position of each item in the source, None if they are in its order. `groups` says which items belong
    together, such as the pictures of one video or patient. `condition` is what a conditional model is told about each of them.
    """

    x: Tensor  # (N, ...), rows of the kind: uint8 (N, C, H, W) for pictures
    labels: Tensor | None = None  # int64 (N,)
    factors: Mapping[str, Tensor] = field(default_factory=dict)  # name -> int64 (N,)
    place: Tensor | None = None  # int64 (N,)
    groups: Tensor | None = None  # int64 (N,)
    condition: Tensor | None = None  # int64 (N,), indices of values; see `models.data.conditions`

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor | slice) -> "Items":
        return self._changed(self.x[index], lambda values: values[index])

    def to(self, device: torch.device) -> "Items":
        """Return a copy on a device."""
        return self._changed(self.x.to(device), lambda values: values.to(device))

    def permute(self, order: Tensor) -> "Items":
        """Return the items in another order, (N,). Rows in memory are moved in place, so `self` must not be used again."""
        if isinstance(self.x, FileRows):
            return self[order]
        permute_rows(self.x.numpy(), order.tolist())
        return self._changed(self.x, lambda values: values[order])

    def _changed(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> "Items":
        own = (self.labels, self.place, self.groups, self.condition)
        labels, place, groups, condition = (None if one is None else change(one) for one in own)
        factors = {name: change(values) for name, values in self.factors.items()}
        return Items(x, labels, factors, place, groups, condition)


@dataclass(frozen=True)
class Splits:
    """Training and test items of one data set, and its validation items if it has such a split of its own.

    `preprocessing` is how the items were prepared (None: they were rows already, such as bytes of one size), `summary` has
    lines about what was found, inferred and left out, and `classes` the names of the labels 0, 1, ... if they have names.
    """

    train: Items
    test: Items
    validation: Items | None = None
    preprocessing: Any = None  # that of the kind
    summary: list[str] = field(default_factory=list)
    classes: list[str] | None = None
    kind: str = "picture"

    @property
    def of(self) -> Kind:
        """Return the kind of the items."""
        return kind_of(self.kind)
