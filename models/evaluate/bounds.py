"""Compute the ELBO and the importance-weighted bound of many items, with the model's prior and with a fitted mixture.

Every latent is decoded once for both. Knows nothing of files, data sets or cards.
"""

import math

import torch
from torch import Tensor

from models.condition import blocks
from models.distributions import DiagonalGaussian
from models.evaluate.progress import followed
from models.mixture import GaussianMixture
from models.objective import evidence_lower_bound
from models.vae import VAE

BLOCK_ITEMS = 64
MAX_ROWS = 2048


@torch.no_grad()
def likelihood_bounds(
    vae: VAE,
    x: Tensor,
    samples: int,
    noise: torch.Generator,
    mixture: GaussianMixture | None = None,
    condition: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return per item, in float64: one-sample `elbo`, `log_likelihood` and `kl`, and the K-sample `iwae` with its `ess`.

    `kl_per_dim`, (N, D), is relative to N(0, I) for every prior. With a mixture, there are also `mixture_iwae` and
    `mixture_ess`, from the same samples with the mixture as p(z), and `mixture_kl`, their mean of log q - log p(z).
    `condition` is what a conditional model is told about each item, int64 (N,).
    """
    found: dict[str, list[Tensor]] = {}
    if mixture is not None:
        mixture = mixture.to(x.device).to(x.dtype if x.is_floating_point() else torch.float32)  # tokens are integers
    parts = list(blocks(vae, x, condition, BLOCK_ITEMS))
    for own, block in followed(parts, f"{samples}-sample bound", [len(block) for _, block in parts]):
        eps = torch.randn(samples, len(block), vae.config.latent_dim, generator=noise, device=x.device)
        for name, values in block_bounds(own, vae.kind.cut(block), eps, mixture).items():
            found.setdefault(name, []).append(values)
    return {name: torch.cat(values).double() for name, values in found.items()}


def block_bounds(vae: VAE, x: Tensor, eps: Tensor, mixture: GaussianMixture | None = None) -> dict[str, Tensor]:
    """Return the result of `likelihood_bounds` for one block: x (B, *shape), eps (K, B, D)."""
    k, b = eps.shape[:2]
    terms = evidence_lower_bound(vae, x, eps[0])
    posterior = vae.encode(x)
    prior = vae.prior(posterior.mu)
    own, fitted, divergence = [], [], []
    for part in eps.split(max(1, MAX_ROWS // b)):
        z = posterior.sample(part)  # (k, B, D)
        repeated = x.expand(len(part), *x.shape).flatten(0, 1)  # (k B, *shape)
        log_likelihood = vae.decode(z.flatten(0, 1)).log_prob(repeated).unflatten(0, (len(part), b))  # (k, B)
        log_q = posterior.log_prob(z)
        own.append(log_likelihood + prior.log_prob(z) - log_q)
        if mixture is not None:
            log_p = mixture.log_prob(z)
            fitted.append(log_likelihood + log_p - log_q)
            divergence.append(log_q - log_p)
    found = {
        "elbo": terms.elbo,
        "log_likelihood": terms.log_likelihood,
        "kl": terms.kl,
        "kl_per_dim": posterior.kl_per_dim(DiagonalGaussian.standard(posterior.mu)),
        "iwae": torch.logsumexp(torch.cat(own), 0) - math.log(k),
        "ess": effective_samples(torch.cat(own)),
    }
    if mixture is not None:
        found["mixture_iwae"] = torch.logsumexp(torch.cat(fitted), 0) - math.log(k)
        found["mixture_ess"] = effective_samples(torch.cat(fitted))
        found["mixture_kl"] = torch.cat(divergence).mean(0)
    return found


def effective_samples(log_weights: Tensor) -> Tensor:
    """Return the effective sample size, 1 / sum of the squared normalised weights: (K, B) -> (B,), from 1 to K."""
    return 1 / torch.softmax(log_weights, 0).square().sum(0)
