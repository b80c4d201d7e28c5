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

from models.build import build
from models.distributions import DiagonalGaussian
from models.nets.layers import MAX_WIDTH, is_whole

# Most elements of an intermediate array in `PosteriorMixture.log_prob`.
MAX_ELEMENTS = 2**23

Encoder = Callable[[Tensor], DiagonalGaussian]


class Prior(Protocol):
    """p(z) over latents of shape (..., D)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats per item: (..., D) -> (...,)."""

    def sample(self, eps: Tensor) -> Tensor:
        """Return a sample computed from standard normal noise: (B, D) -> (B, D)."""


@dataclass(frozen=True)
class PosteriorMixture:
    """A mixture of K diagonal Gaussians with equal weights; `components` has parameters of shape (K, D)."""

    components: DiagonalGaussian

    def log_prob(self, z: Tensor) -> Tensor:
        """Return logsumexp_k log N(z; mu_k, sigma_k^2) - log K: (..., D) -> (...,)."""
        k, dim = self.components.mu.shape
        rows = z.reshape(-1, dim)
        blocks = rows.split(max(1, MAX_ELEMENTS // (k * dim)))
        found = [torch.logsumexp(self.components.log_prob(block[:, None]), 1) for block in blocks]
        return torch.cat(found).view(z.shape[:-1]) - math.log(k)

    def sample(self, eps: Tensor) -> Tensor:
        """Draw row i from component i mod K, so that the result depends on `eps` alone: (B, D) -> (B, D)."""
        rows = torch.arange(len(eps), device=eps.device) % len(self.components.mu)
        return DiagonalGaussian(self.components.mu[rows], self.components.logvar[rows]).sample(eps)


class StandardNormal(nn.Module):
    """The prior p(z) = N(0, I)."""

    def forward(self, like: Tensor, _encode: Encoder) -> DiagonalGaussian:
        return DiagonalGaussian.standard(like)


class VampPrior(nn.Module):
    """The prior p(z) = 1/K sum_k q(z given u_k), with K learnt pseudo-inputs u (Tomczak & Welling 2018, arXiv:1705.07120).

    u is the sigmoid of the parameter, so that it stays in [0, 1] and its gradient never becomes 0 at a bound.
    """

    def __init__(self, shape: tuple[int, ...], pseudo_inputs: int = 500) -> None:
        super().__init__()
        if not is_whole(pseudo_inputs, MAX_WIDTH):
            raise ValueError(f"pseudo_inputs must be a positive integer up to {MAX_WIDTH}, not {short_repr(pseudo_inputs)}")
        logits = torch.empty(pseudo_inputs, *shape)
        # On the device "meta" there are no values to fill in, and drawing them would import 60 MB of torch code.
        self.logits = nn.Parameter(logits if logits.is_meta else logits.normal_())

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Set the pseudo-inputs to pictures, (K, C, H, W) in [0, 1], moved slightly away from 0 and 1."""
        self.logits.copy_(torch.logit(x.clamp(0.05, 0.95)))

    def forward(self, _like: Tensor, encode: Encoder) -> PosteriorMixture:
        return PosteriorMixture(encode(torch.sigmoid(self.logits)))


# Maps a name in the configuration to the words for it in cards and reports.
NAMES: Mapping[str, str] = {"standard": "N(0, I)", "vamp": "the VampPrior"}
# Maps a name in the configuration to a constructor with the arguments (shape of the pictures, **options).
PRIORS: Mapping[str, Callable[..., nn.Module]] = {
    "standard": lambda _shape: StandardNormal(),
    "vamp": VampPrior,
}


def build_prior(name: str, shape: tuple[int, ...], options: Mapping[str, Any]) -> nn.Module:
    """Build the prior with that name. Raises ValueError for an unknown name or option."""
    if name not in PRIORS:
        raise ValueError(f"unknown prior {name!r}; known: {', '.join(sorted(PRIORS))}")
    return build(PRIORS[name], options, f"the prior {name!r}", shape, key="option")
