"""Measure how a VAE uses its latents: mutual information, active units, and coverage of the prior.

Information and KL are in nats. Knows nothing of files, data sets or labels; see `models.evaluate.factors` for factors.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from models.distributions import LOG_2PI, DiagonalGaussian

ACTIVE_VARIANCE = 0.01  # Burda et al. 2016, arXiv:1509.00519, section 5.2
COVERED_QUANTILE = 0.05
# Most elements in one block of log densities, samples by posteriors.
BLOCK_NUMBERS = 1 << 24


class RateOfAggregate(NamedTuple):
    """The two parts of the mean KL, in nats; their sum is the mean KL."""

    mutual_information: float
    marginal_kl: float


def active_units(mu: Tensor) -> Tensor:
    """Return which dimensions have a variance of mu over pictures above the threshold: (N, D) -> bool (D,)."""
    return mu.var(0) > ACTIVE_VARIANCE


def aggregate_log_prob(posterior: DiagonalGaussian, z: Tensor, leave_out: Tensor | None = None) -> Tensor:
    """Return log 1/N sum_n q(z given x_n), the aggregate posterior of N pictures: (S, D) -> (S,), float64.

    `leave_out` has the index of one picture for every z; its posterior is left out (the sum is then over N - 1).
    """
    mu, logvar, z = posterior.mu.double(), posterior.logvar.double(), z.double()
    precision = torch.exp(-logvar)  # (N, D)
    constant = -0.5 * (mu.square() * precision + logvar + LOG_2PI).sum(1)  # (N,)
    found, count = [], len(mu) - (leave_out is not None)
    size = max(1, BLOCK_NUMBERS // len(mu))
    for start in range(0, len(z), size):
        rows = z[start : start + size]
        log_q = constant + rows @ (mu * precision).T - 0.5 * rows.square() @ precision.T  # (s, N)
        if leave_out is not None:
            log_q[torch.arange(len(rows), device=z.device), leave_out[start : start + size]] = -torch.inf
        found.append(log_q.logsumexp(1))
    return torch.cat(found) - torch.log(torch.tensor(float(count)))


def rate_of_aggregate(posterior: DiagonalGaussian, eps: Tensor) -> RateOfAggregate:
    """Return I(x; z) and KL(aggregate posterior || N(0, I)) of N pictures (Hoffman & Johnson 2016, Elbo surgery, section 2).

    I is the mean of log q(z_n given x_n) - log q(z_n) over one sample z_n per picture, eps (N, D). q(z) is the exact mixture
    of all N posteriors, so I is at most log N. The other part is the mean KL in closed form minus I.
    """
    z = posterior.sample(eps)
    information = float((posterior.log_prob(z).double() - aggregate_log_prob(posterior, z)).mean())
    rate = float(posterior.kl(DiagonalGaussian.standard(posterior.mu)).double().mean())
    return RateOfAggregate(information, rate - information)


def prior_coverage(posterior: DiagonalGaussian, eps: Tensor, draws: Tensor) -> float:
    """Return the share of samples of the prior at which the aggregate posterior has a high density.

    High is above the 5 % quantile of log q(z) at samples of the aggregate posterior itself, each without the posterior of its
    own picture. A prior that equals the aggregate posterior has a coverage of 95 %. eps (N, D), draws (S, D).
    """
    own = aggregate_log_prob(posterior, posterior.sample(eps), torch.arange(len(eps), device=eps.device))
    threshold = own.quantile(COVERED_QUANTILE)
    return float((aggregate_log_prob(posterior, draws) >= threshold).double().mean())
