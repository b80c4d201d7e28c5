"""An exponential moving average of a model's parameters, which can replace them temporarily.

Knows nothing of objectives, optimisers or files.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """theta' <- d theta' + (1 - d) theta after each step, with d = min(decay, (1 + step) / (10 + step)).

    The first steps have a smaller d, so that the initial weights are forgotten. With decay 0, `applied` does nothing.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = [parameter.detach() for parameter in module.parameters()] if decay else []
        self._average = [tensor.clone() for tensor in self._live]
        self._names = [name for name, _ in module.named_parameters()] if decay else []

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the current parameters; `step` counts from 0."""
        if self.decay:
            torch._foreach_lerp_(self._average, self._live, 1 - min(self.decay, (1 + step) / (10 + step)))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the module the averaged parameters within a `with` block."""
        raw = [tensor.clone() for tensor in self._live]
        self._copy(self._average)
        try:
            yield
        finally:
            self._copy(raw)

    def state(self) -> dict[str, Tensor]:
        """Return the average, by name of the parameter."""
        return dict(zip(self._names, self._average, strict=True))

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore the result of `state`. Raises KeyError or RuntimeError if it is from another model."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    @torch.no_grad()
    def _copy(self, source: list[Tensor]) -> None:
        for live, tensor in zip(self._live, source, strict=True):
            live.copy_(tensor)
