"""Add up the gradients of several processes, while the backward pass is still computing others.

Knows nothing of models or objectives.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.objective import Elbo
from models.train.losses import Loss
from models.train.ranks import answered
from models.train.share import Share

# Gradients travel in buckets of about so many bytes: few enough to begin early, and enough to be sent fast.
BUCKET_BYTES = 1 << 20


class Gradients:
    """The gradients of a loss over the whole batch, of which each process has computed those of its own rows."""

    def __init__(self, parameters: Sequence[Tensor], share: Share) -> None:
        self._share = share
        self._buckets: list[list[Tensor]] = []
        self._ready: set[Tensor] = set()
        self._sent: list[tuple[list[Tensor], Tensor, Any]] = []
        if share.ranks.size == 1:
            return
        size = BUCKET_BYTES
        for parameter in reversed(parameters):  # about the order in which their gradients are computed
            if size + parameter.nbytes > BUCKET_BYTES:
                self._buckets.append([])
                size = 0
            self._buckets[-1].append(parameter)
            size += parameter.nbytes
            parameter.register_post_accumulate_grad_hook(self._accumulated)

    def backward(self, loss: Loss, stop: bool = False) -> tuple[Loss, bool]:
        """Compute the gradients of all parameters. Return loss and terms over the whole batch, without gradients.

        Also return whether any process wants to `stop`. Raises LostProcess.
        """
        if self._share.ranks.size == 1:
            loss.value.backward()
            return Loss(loss.value.detach(), loss.elbo), stop
        weight = self._share.weight
        means = [loss.value.detach(), loss.elbo.log_likelihood.mean(), loss.elbo.kl.mean()]
        with answered():
            numbers = torch.stack([*(weight * mean for mean in means), means[0].new_tensor(float(stop))])
            pending = self._share.ranks.sum(numbers)
            (weight * loss.value).backward()
            for bucket in self._buckets[len(self._sent) :]:  # those with parameters of which the loss knows nothing
                self._send(bucket)
            for gradients, flat, sent in self._sent:
                sent.wait()
                for gradient, part in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
                    gradient.copy_(part.view_as(gradient))
            pending.wait()
        self._sent.clear()
        self._ready.clear()
        value, log_likelihood, kl, stops = numbers.unbind()
        return Loss(value, Elbo(log_likelihood[None], kl[None])), bool(stops)

    def _accumulated(self, parameter: Tensor) -> None:
        """Send the next buckets as soon as they are full, in the same order in all processes."""
        self._ready.add(parameter)
        for bucket in self._buckets[len(self._sent) :]:
            if not all(one in self._ready for one in bucket):
                break
            self._send(bucket)

    def _send(self, bucket: list[Tensor]) -> None:
        gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients]) if gradients else torch.zeros(0)
        self._sent.append((gradients, flat, self._share.ranks.sum(flat)))
