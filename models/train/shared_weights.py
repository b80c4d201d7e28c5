"""Weights and their moments in memory that all processes of a run share, of which each process updates a part.

A process hands the gradients of all other parts over to those who update them. Nobody waits for a copy of the weights, and
whoever saves, measures or averages them finds all of them. Knows nothing of models or objectives.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.optim import Adam

from models.train.local_sums import LocalSums
from models.train.ranks import Ranks
from models.train.shared_memory import shared_memory

# Parameters begin at multiples of so many numbers, as fast kernels like it: 64 bytes.
ALIGNMENT = 16
COPIES = 3  # the weights and two moments


class SharedWeights:
    """The weights of an optimiser, in the memory of all processes."""

    def __init__(self, optimizer: Adam, memory: Tensor, ranks: Ranks) -> None:
        """Move weights and moments into the memory; the weights are those of the process that leads. Raises LostProcess."""
        self._gradients: dict[Tensor, list[Tensor]] = {}  # those of the other processes, for own parameters
        parameters, sizes = _sizes(optimizer)
        steps, rows = memory[: len(sizes)], memory[_padded(len(sizes)) :].view(COPIES + ranks.size, sum(sizes))
        parts = zip(parameters, rows.split(sizes, 1), steps, owners(sizes, ranks.size), strict=True)
        for parameter, part, step, owner in parts:
            places = [row[: parameter.numel()].as_strided(parameter.shape, parameter.stride()) for row in part]
            weights, mean, square, *gradients = places
            if ranks.leads:
                weights.copy_(parameter.detach())
            parameter.data = weights
            optimizer.state[parameter] = {"step": step.zero_(), "exp_avg": mean, "exp_avg_sq": square}
            own = gradients.pop(ranks.rank)
            if owner == ranks.rank:
                self._gradients[parameter] = gradients
            else:
                parameter.register_post_accumulate_grad_hook(partial(_hand_over, own))
        self.sums = LocalSums(ranks)  # From then on, all weights are in place.

    @classmethod
    def found(cls, optimizer: Adam, ranks: Ranks) -> "SharedWeights | None":
        """Return shared weights; None if the processes cannot share memory. Raises LostProcess."""
        parameters, sizes = _sizes(optimizer)
        if any(one.device.type != "cpu" or one.dtype != torch.float32 for one in parameters):
            return None
        memory = shared_memory([_padded(len(sizes)) + (COPIES + ranks.size) * sum(sizes)], ranks)
        return None if memory is None else cls(optimizer, memory, ranks)

    def add_up(self) -> None:
        """Add the gradients of the other processes to those of own parameters; others have none here.

        All must have computed theirs. They may write new ones as soon as all have met again.
        """
        for parameter, others in self._gradients.items():
            if parameter.grad is not None:
                for other in others:
                    parameter.grad.add_(other)


def owners(sizes: Sequence[int], processes: int) -> list[int]:
    """Return which process updates each parameter, so that all have about as much to do: the largest ones are dealt first."""
    found, loads = [0] * len(sizes), [0] * processes
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        found[index] = loads.index(min(loads))
        loads[found[index]] += sizes[index]
    return found


def _sizes(optimizer: Adam) -> tuple[list[Tensor], list[int]]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return parameters, [_padded(parameter.numel()) for parameter in parameters]


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _hand_over(place: Tensor, parameter: Tensor) -> None:
    if parameter.grad is not None:
        place.copy_(parameter.grad)
        parameter.grad = None
