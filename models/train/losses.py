"""The training objectives in terms of the ELBO: beta-ELBO, free bits, beta-TC, two of IWAE, and two with only one term of it.

Each one reports the ELBO at beta = 1 beside its loss. Knows nothing of data sets, optimisers or files.

Everywhere, `eps` is (K, B, D) for K samples per item, and `warm` rises from 0 to 1 during the warm-up of the KL's weight.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from models.distributions import DiagonalGaussian
from models.objective import Elbo, divergence
from models.priors import Prior
from models.train.share import ALL, Share
from models.vae import VAE

Criterion = Literal["elbo", "bound", "loss", "last"]
# Why weights were kept, as config.json records it: the criterion of the objective, or "latest" before any comparison.
# {many} stands for what items of the kind are called.
KEPT: Mapping[str, str] = {
    "elbo": "which has the best ELBO on the validation {many}",
    "bound": "which has the best importance-weighted bound on the validation {many}",
    "loss": "which has the smallest loss on the validation {many}, at the full weight of the KL",
    "last": "the last, which is always kept with this objective",
    "state": "the latest when the run was resumed, because its checkpoint was missing",
    "latest": "the latest when the run was stopped, before epochs were compared",
}


class Loss(NamedTuple):
    """The loss to minimise, and the terms of the ELBO at beta = 1, without gradients."""

    value: Tensor  # (), nats per item
    elbo: Elbo  # (B,) each, detached


class Objective(Protocol):
    """A training objective. `beta` is the weight of the KL.

    `criterion` says which weights of a run are kept: those with the best validation ELBO, bound or loss, or the last.
    """

    @property
    def criterion(self) -> Criterion: ...

    @property
    def beta(self) -> float: ...

    def __call__(self, vae: VAE, x: Tensor, eps: Tensor, warm: Tensor | float = 1.0, share: Share = ALL) -> Loss:
        """Return the loss of a batch: x (B, *shape).

        `share`: of several processes, each has some rows of the batch. `value` is then a mean over them, or what is the same
        in all processes; the mean of all values, weighted by the numbers of rows, is the loss of the batch.
        """

    def remark(self) -> str | None:
        """Say how the loss differs from the negative ELBO after the warm-up; return None if it does not."""


class Draws(NamedTuple):
    """K samples of the posterior of each item, and the log likelihoods of the decoded samples."""

    posterior: DiagonalGaussian  # (B, D)
    prior: Prior
    z: Tensor  # (K, B, D)
    log_likelihood: Tensor  # (K, B)

    def elbo(self) -> Elbo:
        """Return the terms of the ELBO, averaged over the K samples."""
        kl = divergence(self.posterior, self.prior, self.z)
        if len(self.z) == 1:  # Fewer operations make the steps of small nets faster.
            return Elbo(self.log_likelihood[0], kl[0])
        return Elbo(self.log_likelihood.mean(0), kl.mean(0))


def draw(vae: VAE, x: Tensor, eps: Tensor) -> Draws:
    """Encode once, and decode all K samples as one batch."""
    posterior = vae.encode(x)
    z = posterior.sample(eps)
    repeated = x.expand(len(eps), *x.shape).flatten(0, 1)  # (K B, *shape)
    log_likelihood = vae.decode(z.flatten(0, 1)).log_prob(repeated).view(z.shape[:2])
    return Draws(posterior, vae.prior(z), z, log_likelihood)


def detached(terms: Elbo) -> Elbo:
    """Return the terms without gradients."""
    return Elbo(terms.log_likelihood.detach(), terms.kl.detach())


@dataclass(frozen=True)
class BetaElbo:
    """-log_likelihood + beta kl: the ELBO (Kingma & Welling 2014, arXiv:1312.6114), with beta as in Higgins et al. 2017."""

    beta: float = 1.0
    criterion: ClassVar[Criterion] = "elbo"

    def __call__(self, vae: VAE, x: Tensor, eps: Tensor, warm: Tensor | float = 1.0, share: Share = ALL) -> Loss:
        terms = draw(vae, x, eps).elbo()
        return Loss(terms.loss(warm * self.beta), detached(terms))

    def remark(self) -> str | None:
        return None if self.beta == 1 else f"the effective beta is {self.beta:g}, not 1"


@dataclass(frozen=True)
class FreeBits:
    """-log_likelihood + beta sum_d max(nats, kl_d), where kl_d is the KL of dimension d, averaged over the batch.

    Kingma et al. 2016, arXiv:1606.04934, equation 15, with groups of one dimension. Needs a Gaussian prior.
    """

    nats: float
    beta: float = 1.0
    criterion: ClassVar[Criterion] = "elbo"

    def __call__(self, vae: VAE, x: Tensor, eps: Tensor, warm: Tensor | float = 1.0, share: Share = ALL) -> Loss:
        draws = draw(vae, x, eps)
        if not isinstance(draws.prior, DiagonalGaussian):
            raise TypeError("free bits need the KL of each dimension, which only a Gaussian prior has")
        standard = DiagonalGaussian.standard(draws.posterior.mu)
        charged = share.mean(draws.posterior.kl_per_dim(standard).mean(0)).clamp(min=self.nats).sum()
        terms = draws.elbo()
        return Loss(-terms.log_likelihood.mean() + warm * self.beta * charged, detached(terms))

    def remark(self) -> str | None:
        beta = BetaElbo(self.beta).remark()
        return f"a KL of {self.nats:g} nats per dimension is free" + (f", and {beta}" if beta else "")


@dataclass(frozen=True)
class BetaTC:
    """-log_likelihood + index-code mutual information + beta total correlation + dimension-wise KL.

    Chen et al. 2018, arXiv:1802.04942, equation 4 with alpha = gamma = 1. log q(z) is estimated on the batch, by
    minibatch-weighted sampling (its equation 5) or minibatch stratified sampling (its appendix C.2; unbiased for q(z)).
    The warm-up scales all three parts of the KL. At beta = 1 the loss is the negative ELBO with a sampled KL.
    """

    dataset_size: int
    beta: float = 1.0
    stratified: bool = False
    criterion: ClassVar[Criterion] = "elbo"

    def __call__(self, vae: VAE, x: Tensor, eps: Tensor, warm: Tensor | float = 1.0, share: Share = ALL) -> Loss:
        draws = draw(vae, x, eps)
        log_priors = draws.prior.log_prob(draws.z)  # (K, B)
        each = [self.parts(draws.posterior, *sample, share) for sample in zip(draws.z, log_priors, strict=True)]
        parts = torch.stack(each).mean(0)  # (3, B)
        information, correlation, dimension_wise = parts.mean(1)
        terms = draws.elbo()
        kl = information + self.beta * correlation + dimension_wise
        return Loss(-terms.log_likelihood.mean() + warm * kl, detached(terms))

    def parts(self, posterior: DiagonalGaussian, z: Tensor, log_prior: Tensor, share: Share = ALL) -> Tensor:
        """Return mutual information, total correlation, dimension-wise KL, one sample per item: (B, D), (B,) -> (3, B)."""
        everyone = DiagonalGaussian(share.all_rows(posterior.mu), share.all_rows(posterior.logvar))
        pairs = everyone.log_prob_per_dim(z[:, None])  # (B, B, D): z of row i under the posterior of row j
        weights = share.own(self.log_weights(pairs.shape[1])).to(pairs)  # (B, B)
        log_q = torch.logsumexp(weights + pairs.sum(2), 1)  # (B,)
        log_product = torch.logsumexp(weights[..., None] + pairs, 1).sum(1)  # (B,)
        return torch.stack([posterior.log_prob(z) - log_q, log_q - log_product, log_product - log_prior])

    def log_weights(self, rows: int) -> Tensor:
        """Return the log weight of row j's posterior in the estimate of q(z_i), (B, B)."""
        n, others = self.dataset_size, rows - 1
        if not self.stratified:
            return torch.full((rows, rows), -math.log(rows * n))
        weights = torch.full((rows, rows), 1 / max(1, others))
        index = torch.arange(rows)
        weights[index, (index - 1) % rows] = (n - others) / (n * max(1, others))  # stands for all other items
        weights[index, index] = 1 / n
        return weights.log()

    def remark(self) -> str | None:
        return None if self.beta == 1 else f"the weight of the total correlation is {self.beta:g}, not 1"


@dataclass(frozen=True)
class Iwae:
    """-(logsumexp_k log w_k - log K), w = p(x given z) (p(z) / q(z given x))^beta: Burda et al. 2016, arXiv:1509.00519, eq. 8.

    The gradient is the plain one through all samples. At beta = 1 it is the bound; other values only serve the warm-up.
    """

    beta: float = 1.0
    criterion: ClassVar[Criterion] = "bound"

    def __call__(self, vae: VAE, x: Tensor, eps: Tensor, warm: Tensor | float = 1.0, share: Share = ALL) -> Loss:
        draws = draw(vae, x, eps)
        log_ratio = draws.prior.log_prob(draws.z) - draws.posterior.log_prob(draws.z)  # (K, B)
        bound = torch.logsumexp(draws.log_likelihood + warm * self.beta * log_ratio, 0) - math.log(len(eps))
        return Loss(-bound.mean(), detached(draws.elbo()))

    def remark(self) -> str | None:
        return BetaElbo(self.beta).remark()


@dataclass(frozen=True)
class DoublyReparameterized(Iwae):
    """The loss of `Iwae`, with the encoder's gradient of Tucker et al. 2019, arXiv:1810.04152, equation 8.

    The gradient has the same expectation, and a variance that does not swamp it as K grows. With the weights normalised to
    v_k, log q is taken at fixed mu and sigma, and the gradient of log w_k that reaches z_k is multiplied by
    1 - beta + beta v_k, which is v_k at beta = 1. Decoder and prior get the gradient of `Iwae`.
    """

    def __call__(self, vae: VAE, x: Tensor, eps: Tensor, warm: Tensor | float = 1.0, share: Share = ALL) -> Loss:
        draws = draw(vae, x, eps)
        fixed = DiagonalGaussian(draws.posterior.mu.detach(), draws.posterior.logvar.detach())
        log_ratio = draws.prior.log_prob(draws.z) - fixed.log_prob(draws.z)  # (K, B)
        beta = warm * self.beta
        log_w = draws.log_likelihood + beta * log_ratio
        if draws.z.requires_grad:
            normalized = torch.softmax(log_w.detach(), 0)[..., None]  # (K, B, 1)
            draws.z.register_hook(lambda gradient: (1 - beta + beta * normalized) * gradient)
        bound = torch.logsumexp(log_w, 0) - math.log(len(eps))
        return Loss(-bound.mean(), detached(draws.elbo()))


@dataclass(frozen=True)
class Autoencoder:
    """-log_likelihood at z = mu: a deterministic autoencoder, whose sigma is never trained."""

    beta: ClassVar[float] = 0.0
    criterion: ClassVar[Criterion] = "last"

    def __call__(self, vae: VAE, x: Tensor, eps: Tensor, warm: Tensor | float = 1.0, share: Share = ALL) -> Loss:
        value = -vae.decode(vae.encode(x).mu).log_prob(x).mean()
        with torch.no_grad():
            terms = draw(vae, x, eps).elbo()
        return Loss(value, terms)

    def remark(self) -> str | None:
        return "a deterministic autoencoder: the effective beta is 0, and nothing is sampled"


@dataclass(frozen=True)
class KLOnly:
    """The KL alone: every posterior becomes the prior, and the decoder is never trained."""

    beta: ClassVar[float] = 1.0
    criterion: ClassVar[Criterion] = "last"

    def __call__(self, vae: VAE, x: Tensor, eps: Tensor, warm: Tensor | float = 1.0, share: Share = ALL) -> Loss:
        posterior = vae.encode(x)
        kl = divergence(posterior, vae.prior(eps), posterior.sample(eps)).mean()
        with torch.no_grad():
            terms = draw(vae, x, eps).elbo()
        return Loss(warm * kl, terms)

    def remark(self) -> str | None:
        return "only the KL is minimised, so reconstructions are ignored"
