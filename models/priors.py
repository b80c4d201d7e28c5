"""Priors over latents: the standard normal, and the VampPrior, a mixture of the encoder's own posteriors.

A prior is a layer that gives a distribution with `log_prob` and `sample`. Knows nothing of pixels, objectives or files.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.distributions import DiagonalGaussian
from models.nets.layers import MAX_WIDTH, is_whole

# numbers in the largest array that a log density over many components makes at once
MAX_ELEMENTS = 2**23

Encoder = Callable[[Tensor], DiagonalGaussian]


class Prior(Protocol):
    """p(z) over latents of shape (..., D)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Nats per item, (..., D) -> (...,)."""

    def sample(self, eps: Tensor) -> Tensor:
        """A draw driven by standard normal noise: (B, D) -> (B, D)."""


@dataclass(frozen=True)
class PosteriorMixture:
    """An equal mixture of K diagonal Gaussians; `components` has parameters of shape (K, D)."""

    components: DiagonalGaussian

    def log_prob(self, z: Tensor) -> Tensor:
        """logsumexp_k log N(z; mu_k, sigma_k^2) - log K: (..., D) -> (...,)."""
        k, dim = self.components.mu.shape
        rows = z.reshape(-1, dim)
        blocks = rows.split(max(1, MAX_ELEMENTS // (k * dim)))
        found = [torch.logsumexp(self.components.log_prob(block[:, None]), 1) for block in blocks]
        return torch.cat(found).view(z.shape[:-1]) - math.log(k)

    def sample(self, eps: Tensor) -> Tensor:
        """Row i is drawn from component i mod K, so that the noise alone decides: (B, D) -> (B, D)."""
        rows = torch.arange(len(eps), device=eps.device) % len(self.components.mu)
        return DiagonalGaussian(self.components.mu[rows], self.components.logvar[rows]).sample(eps)


class StandardNormal(nn.Module):
    """p(z) = N(0, I)."""

    def forward(self, like: Tensor, _encode: Encoder) -> DiagonalGaussian:
        return DiagonalGaussian.standard(like)


class VampPrior(nn.Module):
    """p(z) = 1/K sum_k q(z given u_k), with K learnable pseudo-inputs u (Tomczak & Welling 2018, arXiv:1705.07120).

    u is the sigmoid of the parameter, so that it stays a picture in [0, 1] and never stops learning at a bound.
    """

    def __init__(self, shape: tuple[int, int, int], pseudo_inputs: int = 500) -> None:
        super().__init__()
        if not is_whole(pseudo_inputs, MAX_WIDTH):
            raise ValueError(f"pseudo_inputs must be a positive integer up to {MAX_WIDTH}, not {short_repr(pseudo_inputs)}")
        logits = torch.empty(pseudo_inputs, *shape)
        # where there is only a shape, on torch's device "meta", drawing would import 60 MB of torch and draw nothing
        self.logits = nn.Parameter(logits if logits.is_meta else logits.normal_())

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Set the pseudo-inputs to pictures, (K, C, H, W) in [0, 1], pulled a little off black and white."""
        self.logits.copy_(torch.logit(x.clamp(0.05, 0.95)))

    def forward(self, _like: Tensor, encode: Encoder) -> PosteriorMixture:
        return PosteriorMixture(encode(torch.sigmoid(self.logits)))


# name in the configuration -> how cards and reports call it
NAMES: Mapping[str, str] = {"standard": "N(0, I)", "vamp": "the VampPrior"}
# name in the configuration -> constructor: (shape of the pictures, **options)
PRIORS: Mapping[str, Callable[..., nn.Module]] = {
    "standard": lambda _shape: StandardNormal(),
    "vamp": VampPrior,
}


def build_prior(name: str, shape: tuple[int, int, int], options: Mapping[str, Any]) -> nn.Module:
    """The prior of that name. Raises ValueError for an unknown name or option."""
    if name not in PRIORS:
        raise ValueError(f"unknown prior {name!r}; known: {', '.join(sorted(PRIORS))}")
    try:
        return PRIORS[name](shape, **options)
    except TypeError as error:
        raise ValueError(f"prior {name!r}: {error}") from None
