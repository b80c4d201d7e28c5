"""Add up the gradients of several processes: on the CPUs of one machine through shared memory, otherwise by messages.

Messages are sent while the backward pass is still computing other gradients, and all processes get all sums. In shared
memory, each process adds up the gradients of its part of the weights, and updates that part for all.

Knows nothing of models or objectives.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from models.objective import Elbo
from models.train.losses import Loss
from models.train.ranks import answered
from models.train.share import Share
from models.train.shared_weights import SharedWeights

# Gradients travel in buckets of about so many bytes: few enough to begin early, and enough to be sent fast.
BUCKET_BYTES = 1 << 20


class Gradients:
    """The gradients of a loss over the whole batch, of which each process has computed those of its own rows.

    A step is `backward`, then `norm`, and if the optimiser takes its step, `updated`.
    """

    def __init__(self, optimizer: Adam, share: Share) -> None:
        """Prepare the parameters of an optimiser that has taken no steps. Raises LostProcess."""
        self._share = share
        self._weights: SharedWeights | None = None
        self._buckets: list[list[Tensor]] = []
        self._ready: set[Tensor] = set()
        self._sent: list[tuple[list[Tensor], Tensor, Any]] = []
        if share.ranks.size == 1:
            return
        self._weights = SharedWeights.found(optimizer, share.ranks)
        if self._weights:
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        size = BUCKET_BYTES
        for parameter in reversed(parameters):  # about the order in which their gradients are computed
            if size + parameter.nbytes > BUCKET_BYTES:
                self._buckets.append([])
                size = 0
            self._buckets[-1].append(parameter)
            size += parameter.nbytes
            parameter.register_post_accumulate_grad_hook(self._accumulated)

    def backward(self, loss: Loss, stop: bool = False) -> tuple[Loss, bool]:
        """Compute the gradients of the parameters that this process updates; others may have none afterwards.

        Return loss and terms over the whole batch, without gradients, and whether any process wants to `stop`. Raises
        LostProcess.
        """
        if self._share.ranks.size == 1:
            loss.value.backward()
            return Loss(loss.value.detach(), loss.elbo), stop
        weight = self._share.weight
        means = [loss.value.detach(), loss.elbo.log_likelihood.mean(), loss.elbo.kl.mean()]
        numbers = torch.stack([*(weight * mean for mean in means), means[0].new_tensor(float(stop))])
        (weight * loss.value).backward()
        if self._weights:
            numbers = numbers.new_tensor(self._weights.sums.sum(numbers.tolist()))  # Then all have written their gradients.
            self._weights.add_up()
        else:
            self._receive(numbers)
        value, log_likelihood, kl, stops = numbers.unbind()
        return Loss(value, Elbo(log_likelihood[None], kl[None])), bool(stops)

    def norm(self, own: float) -> float:
        """Return the norm of all gradients; `own` is that of the gradients that this process has. Raises LostProcess."""
        return math.sqrt(self._weights.sums.sum([own * own])[0]) if self._weights else own

    def updated(self) -> None:
        """Wait until all processes have updated their parameters, so that all have the new weights. Raises LostProcess."""
        if self._weights:
            self._weights.sums.sum([0.0])

    def _receive(self, numbers: Tensor) -> None:
        """Wait for the sums of all gradients, and replace these and the numbers by them."""
        for bucket in self._buckets[len(self._sent) :]:  # those with parameters of which the loss knows nothing
            self._send(bucket)
        with answered():
            for gradients, flat, sent in self._sent:
                sent.wait()
                for gradient, part in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
                    gradient.copy_(part.view_as(gradient))
            self._share.ranks.sum(numbers).wait()
        self._sent.clear()
        self._ready.clear()

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
        with answered():
            self._sent.append((gradients, flat, self._share.ranks.sum(flat)))
