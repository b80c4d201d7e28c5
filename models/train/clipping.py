"""Scale the gradients of a step down to a largest norm. Knows nothing of models."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def clip(parameters: Sequence[Tensor], largest: float, loss: Tensor, norm: Callable[[float], float] = lambda own: own) -> bool:
    """Scale all gradients down to the norm `largest` if theirs is larger. Return False if loss or norm is not finite.

    `norm` returns the norm of all gradients for that of these, which may be only some of them. This synchronises with the
    device once, and scales only if needed. On the CPU, inner products are several times as fast as torch's norms.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if loss.device.type == "cpu":
        value = float(loss)
        parts = [float(torch.dot(flat, flat)) for flat in (gradient.reshape(-1) for gradient in gradients)]
    else:
        value, *parts = torch.stack([loss, *(norm.square() for norm in torch._foreach_norm(gradients))]).tolist()
    size = norm(math.sqrt(sum(parts)) if all(map(math.isfinite, parts)) else math.inf)
    if not math.isfinite(value) or not math.isfinite(size):
        return False
    if size > largest:
        torch._foreach_mul_(gradients, largest / size)
    return True
