"""What one of several processes has of each batch: its rows, noise drawn for all rows, and means over all rows.

Every process draws the noise of the whole batch from the same seed, and keeps that of its own rows. So a run takes the same
steps, apart from rounding, however many processes it has. Knows nothing of objectives or optimisers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from models.distributions import GaussianLayer
from models.nets.lstm import LSTM
from models.nets.table import TableNet
from models.priors import VampPrior
from models.train.ranks import ALONE, Ranks, answered
from models.train.training_error import TrainingError
from models.vae import VAE


class Share:
    """The rows of each batch of `batch_size` that belong to a process; alone, all of them, and everything is left as it is."""

    def __init__(self, batch_size: int = 1, ranks: Ranks = ALONE) -> None:
        if ranks.size > batch_size:
            raise TrainingError(
                f"{ranks.size} processes cannot share batches of {batch_size}: each needs one item at least, so choose a "
                f"larger --batch-size, or start at most {batch_size} processes (torchrun's --nproc_per_node)"
            )
        self.ranks, self.batch_size = ranks, batch_size
        self.start = batch_size * ranks.rank // ranks.size
        self.count = batch_size * (ranks.rank + 1) // ranks.size - self.start
        self._divided = ranks.size > 1  # whether rows are those of the batch

    @property
    def weight(self) -> float:
        """Return the share of the batch: the sum over processes of weight x (mean over own rows) is the mean over all."""
        return self.count / self.batch_size

    def whole(self, values: Tensor) -> int:
        """Return the number of rows of the whole batch, of which `values` has those of this process."""
        return len(values) if self.ranks.size == 1 else self.batch_size

    def own(self, values: Tensor, dim: int = 0) -> Tensor:
        """Return the rows of this process, of values for the whole batch."""
        return values if self.ranks.size == 1 else values.narrow(dim, self.start, self.count)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over the batch of what `value` is the mean over own rows, with gradients of all processes."""
        if self.ranks.size == 1:
            return value
        return _sum(self.weight * value, self.ranks)

    def all_rows(self, values: Tensor) -> Tensor:
        """Return the rows of all processes, (b, ...) -> (B, ...), with gradients of all processes."""
        if self.ranks.size == 1:
            return values
        rest = self.batch_size - self.start - self.count
        before, after = (values.new_zeros(rows, *values.shape[1:]) for rows in (self.start, rest))
        return _sum(torch.cat([before, values, after]), self.ranks)

    def draw(self, drawn: Callable[[Sequence[int]], Tensor], shape: Sequence[int]) -> Tensor:
        """Return noise of this shape, (b, ...), or (K b, ...) for K samples of all items after each other.

        `drawn` draws noise of the shape that it is told, which is that of the whole batch.
        """
        if not self._divided:
            return drawn(shape)
        samples = shape[0] // self.count
        whole = drawn((samples * self.batch_size, *shape[1:]))
        return self.own(whole.view(samples, self.batch_size, *shape[1:]), 1).reshape(shape)

    def rand(self, *shape: int, device: Any = None) -> Tensor:
        """Return uniform numbers from 0 to 1, as torch.rand does."""
        return self.draw(lambda whole: torch.rand(*whole, device=device), shape)

    def place(self, vae: VAE) -> None:
        """Let the parts of a model that draw noise, or compute a mean over the batch, do so for the whole batch."""
        if self.ranks.size == 1:
            return
        for module in list(vae.modules()):
            if isinstance(module, (LSTM, TableNet)):
                module.rand = self.rand
            if isinstance(module, GaussianLayer):
                module.batch_mean = self.mean
            if isinstance(module, VampPrior):  # It encodes its pseudo-inputs, the same ones in all processes.
                module.register_forward_pre_hook(lambda *_: self._divide(False))
                module.register_forward_hook(lambda *_: self._divide(True))
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Dropout):
                    setattr(module, name, _Dropout(child.p, self))

    def _divide(self, divided: bool) -> None:
        self._divided = divided


ALL = Share()  # of a process on its own


class _Dropout(nn.Module):
    """nn.Dropout with the noise of the whole batch."""

    def __init__(self, p: float, share: Share) -> None:
        super().__init__()
        self.p, self.share = p, share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * self.share.draw(lambda whole: dropout(x.new_ones(*whole), self.p), x.shape)


class _Sum(torch.autograd.Function):
    """The sum over all processes. What they compute with it differs, so that its gradient is a sum over all, too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return _total(values, ranks)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _total(gradients[0], ctx.ranks), None


def _sum(values: Tensor, ranks: Ranks) -> Tensor:
    found: Tensor = _Sum.apply(values, ranks)  # type: ignore[no-untyped-call]
    return found


def _total(values: Tensor, ranks: Ranks) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    with answered():
        ranks.sum(total).wait()
    return total
