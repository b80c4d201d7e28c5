"""What a device computes: a pure function of rows, run in batches of given sizes. Here by torch as it is, on any device.

Knows nothing of models, lanes or requests.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[Any]
Function = Callable[[Tensor], Tensor]  # (B, *row_shape) -> (B, *output_shape), row by row


class Program(Protocol):
    """A function on a device, fed with blocks of rows from the host."""

    def __call__(self, blocks: Sequence[Rows], bucket: int) -> Rows:
        """The answers of all rows of the blocks, one after the other, computed as a batch of `bucket` rows."""


class TorchProgram:
    """A function as torch runs it, operation by operation. One batch at a time."""

    def __init__(self, function: Function, device: torch.device, examples: Rows) -> None:
        """`examples`: (max_batch, *row_shape), rows like those that will come."""
        self._function, self._device = function, device
        self._staged = np.zeros_like(examples)

    def __call__(self, blocks: Sequence[Rows], bucket: int) -> Rows:
        rows = stage(blocks, self._staged[:bucket])
        with torch.inference_mode():
            output: Rows = self._function(torch.from_numpy(self._staged[:bucket]).to(self._device)).cpu().numpy()
        if np.may_share_memory(output, self._staged):  # the next batch would overwrite it
            output = output.copy()
        return output[:rows]


def stage(blocks: Sequence[Rows], batch: Rows) -> int:
    """Write rows, and then zeros, into a batch; how many are rows."""
    end = 0
    for block in blocks:
        batch[end : end + len(block)] = block
        end += len(block)
    batch[end:] = 0
    return end
