"""The ELBO, the importance-weighted bound, and the loss in terms of the ELBO.

Knows nothing of data sets, optimisers or files. All values are nats per item; the mean over the batch is taken once, in
`loss`.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from models.distributions import DiagonalGaussian
from models.priors import Prior
from models.vae import VAE


class Elbo(NamedTuple):
    """The two terms of the evidence lower bound, (B,) each."""

    log_likelihood: Tensor
    kl: Tensor

    @property
    def elbo(self) -> Tensor:
        """Return log_likelihood - kl, (B,): always at beta = 1."""
        return self.log_likelihood - self.kl

    def loss(self, beta: Tensor | float = 1.0) -> Tensor:
        """Return the mean over the batch of (-log_likelihood + beta kl), a scalar; beta-VAE, Higgins et al. 2017 (ICLR)."""
        weighted = self.kl if isinstance(beta, float) and beta == 1 else beta * self.kl  # one operation less, same bits
        return (weighted - self.log_likelihood).mean()


def evidence_lower_bound(vae: VAE, x: Tensor, eps: Tensor) -> Elbo:
    """Return the one-sample ELBO, with the KL in closed form if there is one (Kingma & Welling 2014, equation 10).

    x: (B, *shape), as `vae.kind.to_x` gives it; eps: (B, D), standard normal.
    """
    posterior = vae.encode(x)
    z = posterior.sample(eps)
    log_likelihood = vae.decode(z).log_prob(x)
    return Elbo(log_likelihood, divergence(posterior, vae.prior(z), z))


def divergence(posterior: DiagonalGaussian, prior: Prior, z: Tensor) -> Tensor:
    """Return KL(posterior || prior): in closed form for a Gaussian prior, otherwise log q(z given x) - log p(z) at `z`.

    z: a sample of the posterior, (..., B, D) -> (..., B).
    """
    if isinstance(prior, DiagonalGaussian):
        return posterior.kl(prior)
    return posterior.log_prob(z) - prior.log_prob(z)


class ImportanceWeighted(NamedTuple):
    """The estimate of log p(x) from K samples, and its effective sample size; (B,) each."""

    log_prob: Tensor
    ess: Tensor  # effective sample size, 1 to K; below about 5 the bound is loose


def importance_weighted_bound(vae: VAE, x: Tensor, eps: Tensor, max_rows: int = 2048) -> ImportanceWeighted:
    """Return logsumexp_k[log p(x, z_k) - log q(z_k given x)] - log K (Burda et al. 2016, arXiv:1509.00519, equation 8).

    x: (B, *shape); eps: (K, B, D). Encodes once and decodes at most `max_rows` latents at a time.
    """
    k, b = eps.shape[:2]
    posterior = vae.encode(x)
    prior = vae.prior(posterior.mu)
    log_weights = []
    for block in eps.split(max(1, max_rows // max(1, b))):
        z = posterior.sample(block)  # (k, B, D)
        repeated = x.expand(len(block), *x.shape).flatten(0, 1)  # (k B, *shape)
        log_likelihood = vae.decode(z.flatten(0, 1)).log_prob(repeated).unflatten(0, (len(block), b))  # (k, B)
        log_weights.append(log_likelihood + prior.log_prob(z) - posterior.log_prob(z))
    log_w = torch.cat(log_weights)  # (K, B)
    ess = 1 / torch.softmax(log_w, 0).square().sum(0)
    return ImportanceWeighted(torch.logsumexp(log_w, 0) - math.log(k), ess)
