"""The interface of a program, a pure function of rows that runs in batches of given sizes; and the one that uses plain torch.

Knows nothing of models, lanes or requests.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[Any]
Function = Callable[[Tensor], Tensor]  # (B, *row_shape) -> (B, *output_shape), row by row


class Program(Protocol):
    """A function on a device, fed with blocks of rows from the host."""

    engine: ClassVar[str]  # what computes it: "torch" or "onnx"

    def __call__(self, blocks: Sequence[Rows], bucket: int) -> Rows:
        """Compute the rows of all blocks as one batch of `bucket` rows. Return the answers without the padding."""


class TorchProgram:
    """A function that torch runs operation by operation. It computes one batch at a time."""

    engine: ClassVar[str] = "torch"

    def __init__(self, function: Function, device: torch.device, examples: Rows) -> None:
        """Allocate the largest batch. `examples`: typical rows (max_batch, *row_shape)."""
        self._function, self._device = function, device
        self._staged = np.zeros_like(examples)

    def __call__(self, blocks: Sequence[Rows], bucket: int) -> Rows:
        rows = stage(blocks, self._staged[:bucket])
        with torch.inference_mode():
            output: Rows = self._function(torch.from_numpy(self._staged[:bucket]).to(self._device)).cpu().numpy()
        if np.may_share_memory(output, self._staged):  # the next batch would overwrite the output
            output = output.copy()
        return output[:rows]


def stage(blocks: Sequence[Rows], batch: Rows) -> int:
    """Copy the blocks into a batch and fill the rest with zeros. Return the number of copied rows."""
    end = sum(map(len, blocks))
    np.concatenate(blocks, out=batch[:end])
    batch[end:] = 0
    return end
