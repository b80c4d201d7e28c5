"""Add up the gradients of several processes: on the CPUs of one machine through shared memory, otherwise by messages.

Messages are sent while the backward pass is still computing other gradients. In shared memory, every process writes its own
gradients, and then adds up those of all.

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
from models.train.shared_memory import shared_memory

# Gradients travel in buckets of about so many bytes: few enough to begin early, and enough to be sent fast.
BUCKET_BYTES = 1 << 20


class Gradients:
    """The gradients of a loss over the whole batch, of which each process has computed those of its own rows."""

    def __init__(self, parameters: Sequence[Tensor], share: Share) -> None:
        self._share = share
        self._step = 0
        self._memory: dict[Tensor, Tensor] = {}  # (2, processes, *shape) for each parameter, see `_add_up`
        self._buckets: list[list[Tensor]] = []
        self._ready: set[Tensor] = set()
        self._sent: list[tuple[list[Tensor], Tensor, Any]] = []
        if share.ranks.size == 1:
            return
        if all(one.device.type == "cpu" and one.dtype == torch.float32 for one in parameters):
            sizes = [parameter.numel() for parameter in parameters]
            memory = shared_memory((2, share.ranks.size, sum(sizes)), share.ranks)
            if memory is not None:
                for parameter, part in zip(parameters, memory.split(sizes, 2), strict=True):
                    self._memory[parameter] = part.view(2, share.ranks.size, *parameter.shape)
                    parameter.register_post_accumulate_grad_hook(self._write)
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
        numbers = torch.stack([*(weight * mean for mean in means), means[0].new_tensor(float(stop))])
        (weight * loss.value).backward()
        for bucket in self._buckets[len(self._sent) :]:  # those with parameters of which the loss knows nothing
            self._send(bucket)
        with answered():
            for gradients, flat, sent in self._sent:
                sent.wait()
                for gradient, part in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
                    gradient.copy_(part.view_as(gradient))
            self._share.ranks.sum(numbers).wait()  # Then all processes have written their gradients.
        self._add_up()
        self._sent.clear()
        self._ready.clear()
        value, log_likelihood, kl, stops = numbers.unbind()
        return Loss(value, Elbo(log_likelihood[None], kl[None])), bool(stops)

    def _write(self, parameter: Tensor) -> None:
        """Write a gradient into the shared memory."""
        if parameter.grad is not None:
            self._memory[parameter][self._step % 2, self._share.ranks.rank].copy_(parameter.grad)

    def _add_up(self) -> None:
        """Set all gradients to the sums of what the processes have written.

        Even and odd steps have memory of their own, so that nobody writes where another process still reads: who writes in
        step n + 2 has met all others in step n + 1, after they had read the gradients of step n.
        """
        for parameter, memory in self._memory.items():
            if parameter.grad is not None:
                first, second, *others = memory[self._step % 2].unbind()
                torch.add(first, second, out=parameter.grad)
                for other in others:
                    parameter.grad.add_(other)
        self._step += 1

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
