"""Probability distributions of a VAE: the diagonal Gaussian over latents, and the likelihoods over pixels.

Knows nothing of networks, data sets or training. Every log probability and divergence is in nats per item, summed over
the event dimensions. Noise is always an argument: a standard normal `eps` with the shape of the sample.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from models.build import build
from models.cells import CellsLayer
from models.step_likelihoods import Categorical, Mixture

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mu, diag(exp(logvar))), one distribution per row; both parameters have shape (..., D)."""

    mu: Tensor
    logvar: Tensor

    @classmethod
    def standard(cls, like: Tensor) -> "DiagonalGaussian":
        """Return N(0, I) with the shape, type and device of `like`."""
        zeros = torch.zeros_like(like)
        return StandardGaussian(zeros, zeros)

    @property
    def sigma(self) -> Tensor:
        """Standard deviations, (..., D)."""
        return torch.exp(0.5 * self.logvar)

    def sample(self, eps: Tensor) -> Tensor:
        """Return mu + sigma * eps, the reparameterised sample (Kingma & Welling 2014, arXiv:1312.6114, section 2.4)."""
        return self.mu + self.sigma * eps

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z; mu, sigma^2), summed over D: (..., D) -> (...,)."""
        squared = (z - self.mu) ** 2 * torch.exp(-self.logvar)
        return -0.5 * (squared + self.logvar + LOG_2PI).sum(-1)

    def log_prob_per_dim(self, z: Tensor) -> Tensor:
        """Return log N(z_d; mu_d, sigma_d^2) for each dimension, (..., D)."""
        return -0.5 * ((z - self.mu) ** 2 * torch.exp(-self.logvar) + self.logvar + LOG_2PI)

    def kl_per_dim(self, other: "DiagonalGaussian") -> Tensor:
        """Return KL(self || other) for each dimension, (..., D); negative only by rounding errors."""
        if isinstance(other, StandardGaussian):  # Leaving out the terms that are 0 or 1 saves two thirds of the operations.
            terms = 0.5 * (torch.exp(self.logvar) + self.mu**2 - 1 - self.logvar)
            if terms.shape == other.mu.shape:
                return terms
            return terms.expand(torch.broadcast_shapes(terms.shape, other.mu.shape))
        ratio = torch.exp(self.logvar - other.logvar)
        shift = (self.mu - other.mu) ** 2 * torch.exp(-other.logvar)
        return 0.5 * (ratio + shift - 1 - self.logvar + other.logvar)

    def kl(self, other: "DiagonalGaussian") -> Tensor:
        """Return KL(self || other) in nats, (...,); against N(0, I) it is 1/2 sum(mu^2 + sigma^2 - 1 - ln sigma^2)."""
        return self.kl_per_dim(other).sum(-1)


class StandardGaussian(DiagonalGaussian):
    """N(0, I), as a type of its own so that `kl_per_dim` can use the shorter formula."""


class Likelihood(Protocol):
    """p(x given z) over pixels of shape (B, C, H, W), values in [0, 1]."""

    @property
    def mean(self) -> Tensor:
        """Return the expected pixels, (B, C, H, W)."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x given z) in nats per item: (B, C, H, W) -> (B,)."""

    def sample(self, eps: Tensor) -> Tensor:
        """Return a sample computed from standard normal noise: (B, C, H, W) -> (B, C, H, W)."""


def _sum_pixels(per_pixel: Tensor) -> Tensor:
    return per_pixel.flatten(1).sum(1)


@dataclass(frozen=True)
class Bernoulli:
    """Independent binary pixels. log_prob is a likelihood only if every x is 0 or 1; on greys it is a cross-entropy."""

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Tensor) -> Tensor:
        return -_sum_pixels(binary_cross_entropy_with_logits(self.logits, x, reduction="none"))

    def sample(self, eps: Tensor) -> Tensor:
        return torch.lt(torch.special.ndtr(eps), self.mean).to(self.logits.dtype)


@dataclass(frozen=True)
class ContinuousBernoulli:
    """Density on [0, 1] proportional to lambda^x (1 - lambda)^(1 - x), lambda = sigmoid(logits).

    Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845. In terms of the logit l = log(lambda / (1 - lambda)) the
    density is l exp(l x) / (exp(l) - 1): an exponential distribution truncated to [0, 1]. Near l = 0, where the closed
    forms are 0 / 0, their Taylor series are used.
    """

    logits: Tensor

    def _split(self, below: float = 0.1) -> tuple[Tensor, Tensor]:
        """Return (where the series is more accurate, the logits set to 1 there, so that gradients stay finite)."""
        near = self.logits.abs() < below
        return near, torch.where(near, torch.ones_like(self.logits), self.logits)

    @property
    def mean(self) -> Tensor:
        near, l = self._split()
        series = 0.5 + self.logits / 12 - self.logits**3 / 720
        return torch.where(near, series, 0.5 + 0.5 / torch.tanh(l / 2) - 1 / l)

    @property
    def log_normalizer(self) -> Tensor:
        """Return log C(lambda) = log(2 atanh(1 - 2 lambda) / (1 - 2 lambda)) = log(l / tanh(l / 2)), per pixel."""
        near, l = self._split()
        series = math.log(2.0) + self.logits**2 / 12 - 7 * self.logits**4 / 1440
        return torch.where(near, series, torch.log(l.abs()) - torch.log(torch.tanh(l.abs() / 2)))

    def log_prob(self, x: Tensor) -> Tensor:
        cross_entropy = binary_cross_entropy_with_logits(self.logits, x, reduction="none")
        return _sum_pixels(self.log_normalizer - cross_entropy)

    def sample(self, eps: Tensor) -> Tensor:
        u = torch.special.ndtr(eps)
        near, l = self._split(below=1e-3)
        # This is the inverse of F(x) = (exp(l x) - 1) / (exp(l) - 1). All exponents are negative, so nothing overflows.
        size = l.abs()
        u_of_size = torch.where(l > 0, 1 - u, u)
        drawn = -torch.log1p(u_of_size * torch.expm1(-size)) / size
        drawn = torch.where(l > 0, 1 - drawn, drawn)
        series = u + self.logits * u * (1 - u) / 2
        return torch.where(near, series, drawn).clamp(0, 1)


# The largest sigma that a configuration may ask for: a wider Gaussian is constant over pixels in [0, 1].
SIGMA_CEILING = 1000.0
# The smallest sigma of a Gaussian likelihood: one step of an 8-bit grey. A smaller one would reward the model for the
# rounding of the data, and the likelihood has no upper bound as sigma -> 0 (Mattei & Frellsen 2018, arXiv:1802.04826).
SIGMA_FLOOR = 1 / 255
# How a Gaussian's mean is computed from the decoder's output.
LINKS = ("sigmoid", "identity")


def gaussian_constant(sigma: float, values: int) -> float:
    """Return values/2 ln(2 pi sigma^2), the nats of a Gaussian's -log p(x given z) that depend on neither x nor z."""
    return values * (math.log(sigma) + 0.5 * LOG_2PI)


@dataclass(frozen=True)
class Gaussian:
    """N(mean, sigma^2) per pixel, with one sigma for all pixels; log_prob is a density over pixels in [0, 1]."""

    mean: Tensor
    sigma: Tensor  # ()

    def log_prob(self, x: Tensor) -> Tensor:
        return -_sum_pixels(0.5 * ((x - self.mean) / self.sigma) ** 2 + torch.log(self.sigma) + 0.5 * LOG_2PI)

    def sample(self, eps: Tensor) -> Tensor:
        return self.mean + self.sigma * eps


@dataclass(frozen=True)
class OptimalGaussian:
    """Gaussian that uses the best sigma for each training batch, in closed form: sigma^2 = MSE.

    sigma-VAE, Rybkin et al. 2021, arXiv:2006.13202. Each `log_prob` moves `variance`, in place, towards the MSE of the
    batch. Evaluation uses that running mean, because a likelihood must not depend on the data that it scores.
    """

    mean: Tensor
    variance: Tensor  # ()
    momentum: float = 0.2
    batch_mean: Callable[[Tensor], Tensor] | None = None  # gives the mean over a batch of which x is only a part

    @property
    def sigma(self) -> Tensor:
        return self.variance.clamp(min=SIGMA_FLOOR**2).sqrt()

    def log_prob(self, x: Tensor) -> Tensor:
        mse = ((x - self.mean) ** 2).mean()
        mse = mse if self.batch_mean is None else self.batch_mean(mse)
        seen = torch.where(torch.isfinite(mse), mse.detach(), self.variance).to(self.variance.dtype)
        self.variance.lerp_(seen, self.momentum)
        return Gaussian(self.mean, mse.clamp(min=SIGMA_FLOOR**2).sqrt()).log_prob(x)

    def sample(self, eps: Tensor) -> Tensor:
        return self.mean + self.sigma * eps


class BernoulliLayer(nn.Module):
    """Turn the decoder's output into a Bernoulli likelihood."""

    def __init__(self) -> None:
        """Take no options."""
        super().__init__()

    def forward(self, output: Tensor) -> Bernoulli:
        return Bernoulli(output)


class ContinuousBernoulliLayer(nn.Module):
    """Turn the decoder's output into a continuous Bernoulli likelihood."""

    def __init__(self) -> None:
        """Take no options."""
        super().__init__()

    def forward(self, output: Tensor) -> ContinuousBernoulli:
        return ContinuousBernoulli(output)


class GaussianLayer(nn.Module):
    """Turn the decoder's output into a Gaussian. Its mean is the sigmoid of the output, so that means are valid pixels.

    `link`: "identity" takes the output itself as the mean, for nets that were trained so elsewhere.

    `sigma`: a number (fixed), "learned" (one parameter), or "optimal" (closed form, see `OptimalGaussian`); never
    below `SIGMA_FLOOR`. A fixed sigma has the same optimum as squared error with beta_mse = 2 sigma^2 beta.
    """

    sigma: Tensor
    variance: Tensor
    batch_mean: Callable[[Tensor], Tensor] | None = None

    def __init__(self, sigma: float | str = "optimal", link: str = "sigmoid") -> None:
        super().__init__()
        if link not in LINKS:
            raise ValueError(f"link must be {' or '.join(LINKS)}, not {short_repr(link)}")
        self.link = link
        self.kind = sigma if isinstance(sigma, str) else "fixed"
        if self.kind == "learned":
            self.log_sigma = nn.Parameter(torch.zeros(()))
        elif self.kind == "optimal":
            self.register_buffer("variance", torch.ones(()))
        elif not isinstance(sigma, (str, bool)) and isinstance(sigma, (int, float)) and SIGMA_FLOOR <= sigma <= SIGMA_CEILING:
            self.register_buffer("sigma", torch.tensor(float(sigma)), persistent=False)
        else:
            raise ValueError(
                f"sigma must be a number from 1/255 to {SIGMA_CEILING:g}, 'learned' or 'optimal', not {short_repr(sigma)}"
            )

    def forward(self, output: Tensor) -> Gaussian | OptimalGaussian:
        mean = torch.sigmoid(output) if self.link == "sigmoid" else output
        if self.kind == "learned":
            return Gaussian(mean, self.log_sigma.exp().clamp(min=SIGMA_FLOOR))
        if self.kind == "fixed":
            return Gaussian(mean, self.sigma)
        if self.training:
            return OptimalGaussian(mean, self.variance, batch_mean=self.batch_mean)
        return Gaussian(mean, self.variance.clamp(min=SIGMA_FLOOR**2).sqrt())


# Maps a name in the configuration to the layer that turns a decoder's output into p(x given z).
LIKELIHOODS: Mapping[str, Callable[..., nn.Module]] = {
    "bernoulli": BernoulliLayer,
    "categorical": Categorical,
    "continuous_bernoulli": ContinuousBernoulliLayer,
    "gaussian": GaussianLayer,
    "columns": CellsLayer,
    "mixture": Mixture,
}


def build_likelihood(name: str, options: Mapping[str, Any]) -> nn.Module:
    """Build the likelihood layer with that name. Raises ValueError for an unknown name or option."""
    if not isinstance(name, str) or name not in LIKELIHOODS:
        raise ValueError(f"unknown likelihood {name!r}; known: {', '.join(sorted(LIKELIHOODS))}")
    return build(LIKELIHOODS[name], options, f"the likelihood {name!r}", key="option")
