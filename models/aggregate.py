"""Fit Gaussian mixtures to the aggregate posterior, q(z) = 1/N sum_n q(z given x_n), by expectation-maximisation.

They are fitted to samples of the posteriors, not to their means, which would ignore the width of every posterior. If the
pictures have labels, each label gets a mixture of its own, and the prior is their union: p(z) = sum_y p(y) p(z given y).
Training and evaluation both use it. Knows nothing of files or of the service.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from tqdm import tqdm

from models.condition import blocks
from models.distributions import LOG_2PI, DiagonalGaussian
from models.mixture import GaussianMixture
from models.vae import VAE

Covariance = Literal["full", "diagonal"]
COVARIANCES: tuple[str, ...] = get_args(Covariance)
CANDIDATES = (1, 2, 5, 10, 20, 50, 100, 200)
# Added to every variance, so that it cannot collapse: (1/20)^2, a twentieth of the prior's standard deviation.
FLOOR = 0.0025
# Each covariance is averaged with the mean covariance of all components, which counts as so many draws per latent dimension.
# Without it, mixtures of more than 50 components in 40 dimensions memorise the posteriors of the training pictures.
SHRINKAGE = 10
MAX_SWEEPS = 100
# EM stops when a sweep raises the likelihood by fewer nats per sample.
TOLERANCE = 2e-3
DRAWS = 2
# EM takes so many samples at a time that their statistics stay in the cache of a core. With all in memory, a sweep in 128
# dimensions took four times as long.
MOST_STATISTICS, FEWEST_ROWS, MOST_ROWS = 1 << 18, 128, 8192


# With labels, each label must have so many samples for each of its D + 1 numbers; fewer would only memorise pictures.
SAMPLES_PER_NUMBER = 10


class TooFewSamples(ValueError):
    """There are too few samples for a mixture; the message says how many are needed."""


@dataclass(frozen=True)
class Fit:
    """The chosen mixture, and the mean log density in nats of held-out samples under every candidate and under N(0, I)."""

    mixture: GaussianMixture
    held_out: dict[int, float]  # number of components -> nats
    standard: float
    labels: Tensor | None = None  # int64 (K,), the label of each component, if it was fitted label by label


def fit_prior(
    vae: VAE,
    training: Tensor,
    held_out: Tensor,
    covariance: Covariance = "full",
    candidates: Sequence[int] = CANDIDATES,
    seed: int = 0,
    binarize: bool = False,
    labels: Tensor | None = None,
    classes: Sequence[str] | None = None,
    conditions: tuple[Tensor | None, Tensor | None] = (None, None),
) -> tuple[Fit, dict[str, Any]]:
    """Fit a mixture to the posteriors of training pictures; return it and a record of the fit for `write_prior`.

    The pictures are uint8 (N, C, H, W) on the device of `vae`. Those held out choose the number of components. `labels`, int64
    (N,), are those of the training pictures; they are left out, and the record says why, if a label has too few pictures.
    `classes` has the names of the labels 0, 1, ..., for this reason only. `conditions` are what a conditional model is told
    about the items, int64 (N,) each.
    """
    noise = torch.Generator(training.device).manual_seed(seed)
    draws, check = (
        draw_posteriors(vae, x, noise, DRAWS, binarize, told) for x, told in zip((training, held_out), conditions, strict=True)
    )
    record: dict[str, Any] = {"fitted_draws": len(draws), "fit_seed": seed}
    if labels is not None and (reason := why_no_labels(labels, draws.shape[1], classes)):
        record["labels_left_out"], labels = reason, None
    fit = choose_mixture(draws, check, covariance, candidates, seed, None if labels is None else labels.repeat(DRAWS))
    scores = {str(components): score for components, score in fit.held_out.items()}
    return fit, {"held_out_log_density": scores, **record}


def why_no_labels(labels: Tensor, dim: int, classes: Sequence[str] | None = None) -> str:
    """Return why no mixture over `dim` latent dimensions is fitted label by label to these, int64 (N,); "" if one is.

    `classes` has the names of the labels 0, 1, ...
    """
    distinct, counts = labels.unique(return_counts=True)
    needed = math.ceil(SAMPLES_PER_NUMBER * (dim + 1) / DRAWS)
    if len(counts) < 2:
        return "all pictures have the same label"
    if (fewest := int(counts.min())) >= needed:
        return ""
    rarest = int(distinct[counts.argmin()])
    named = classes[rarest] if classes and 0 <= rarest < len(classes) else rarest
    has = f"{fewest} picture{'' if fewest == 1 else 's'}"
    most = DRAWS * fewest // SAMPLES_PER_NUMBER - 1
    helps = f", or a --latent-dim of at most {most}," if most >= 1 else ""
    dims = f"{dim} latent dimension{'' if dim == 1 else 's'}"
    return f"label {named} has {has}, and with {dims} each needs {needed}; more pictures{helps} would help"


@torch.no_grad()
def draw_posteriors(
    vae: VAE, x: Tensor, noise: torch.Generator, draws: int = DRAWS, binarize: bool = False, condition: Tensor | None = None
) -> Tensor:
    """Sample z ~ q(z given x), `draws` times for all items: rows or x, (N, ...) -> (draws N, D).

    `binarize`: greys are first drawn as 0 or 1, once for all samples, as in training. `condition`: what a conditional model
    is told about each item, int64 (N,).
    """
    found: list[Tensor] = []
    for own, block in blocks(vae, x, condition, 1024):
        x = vae.kind.to_x(vae.kind.cut(block))
        posterior = own.encode(torch.bernoulli(x, generator=noise) if binarize else x)
        eps = torch.randn(draws, *posterior.mu.shape, generator=noise, device=posterior.mu.device)
        found.append(posterior.sample(eps))  # (draws, n, D)
    return torch.cat(found, 1).flatten(0, 1)


def choose_mixture(
    z: Tensor,
    held_out: Tensor,
    covariance: Covariance = "full",
    candidates: Sequence[int] = CANDIDATES,
    seed: int = 0,
    labels: Tensor | None = None,
) -> Fit:
    """Fit one mixture per candidate (number of components), and choose the one with the best held-out log density.

    Candidates are tried in order, until two in a row are worse than the best so far. z, held_out: (N, D). Those that need more
    samples than there are, D + 1 for each component, are left out; raises TooFewSamples if all of them are. With `labels`,
    int64 (N,), the mixtures are unions of one mixture per label, so that the smallest candidate is the number of labels.
    """
    best: GaussianMixture | None = None
    of_best: Tensor | None = None
    possible = [count for count in candidates if count * (z.shape[1] + 1) <= len(z)]
    if labels is not None:
        possible = sorted({max(count, len(labels.unique())) for count in possible})
    scores: dict[int, float] = {}
    worse = 0
    for count in possible:
        if labels is None:
            mixture, own = fit_mixture(z, count, covariance, seed), None
        else:
            mixture, own = fit_labelled(z, labels, count, covariance, seed)
        scores[len(mixture)] = score = float(mixture.log_prob(held_out.double()).mean())
        best, of_best, worse = (mixture, own, 0) if score >= max(scores.values()) else (best, of_best, worse + 1)
        if worse == 2:
            break
    if best is None:
        raise TooFewSamples(_too_few(len(z), z.shape[1], min(candidates)))
    return Fit(best, scores, float(DiagonalGaussian.standard(held_out).log_prob(held_out).mean()), of_best)


def fit_labelled(
    z: Tensor, labels: Tensor, components: int, covariance: Covariance = "full", seed: int = 0
) -> tuple[GaussianMixture, Tensor]:
    """Fit one mixture per label; return their union, weighted by frequency, and the label of each component, int64 (K,).

    A label gets its share of the components, at least one, so that their number K may differ a little from `components`.
    """
    parts, shares, own = [], [], []
    for label in labels.unique().tolist():
        rows = z[labels == label]
        shares.append(len(rows) / len(z))
        parts.append(fit_mixture(rows, max(1, round(components * shares[-1])), covariance, seed))
        own += [label] * len(parts[-1])
    weights = torch.cat([share * part.weights for share, part in zip(shares, parts, strict=True)])
    union = GaussianMixture(weights, torch.cat([p.means for p in parts]), torch.cat([p.scale for p in parts]))
    return union, torch.tensor(own)


def _too_few(samples: int, dim: int, components: int) -> str:
    """Return why this many Gaussians cannot be fitted, and what to do."""
    most = samples // (dim + 1)
    return (
        f"a mixture of {components} Gaussian{'s' if components > 1 else ''} over {dim} dimensions needs at least "
        f"{components * (dim + 1)} draws, {DRAWS} from each picture, but there are {samples}. "
        + (
            f"Choose at most {most} component{'s' if most > 1 else ''}, or use more pictures."
            if most
            else "Use more pictures."
        )
    )


def fit_mixture(
    z: Tensor,
    components: int,
    covariance: Covariance = "full",
    seed: int = 0,
    on_sweep: Callable[[float], None] = lambda _: None,
) -> GaussianMixture:
    """Run EM (Dempster, Laird & Rubin 1977) from k-means++ centres: (N, D) -> a mixture in float64.

    `on_sweep` gets the mean log density before each sweep; it never falls, except for the effect of FLOOR. Everything is
    computed in float64 on centred samples, because variances are differences of squares and would lose digits.
    """
    full, dim, centre = covariance == "full", z.shape[1], z.double().mean(0)
    z = z.double() - centre
    mixture = _start(z, components, full, torch.Generator().manual_seed(seed))
    before = -torch.inf
    for _ in tqdm(range(MAX_SWEEPS), f"{components} components", unit="sweep", disable=None, leave=False):
        natural = _natural(mixture)
        sums, density = torch.zeros_like(natural), natural.new_zeros(())
        for rows in _blocks(z, full):
            statistics = _statistics(rows, full)  # (F, n)
            weighted = natural @ statistics  # (K, n), log(weight_k N(z; k))
            total = weighted.logsumexp(0, keepdim=True)
            sums += (weighted - total).exp() @ statistics.T  # (K, F)
            density += total.sum()
        mean = float(density) / len(z)
        on_sweep(mean)
        if mean - before < TOLERANCE:
            break
        mixture, before = _maximize(sums, dim, full), mean
    return replace(mixture, means=mixture.means + centre)


def _blocks(z: Tensor, full: bool) -> tuple[Tensor, ...]:
    """Split samples (N, D) into blocks whose statistics are small."""
    dim = z.shape[1]
    features = 1 + dim + (dim * (dim + 1) // 2 if full else dim)
    blocks: tuple[Tensor, ...] = z.split(min(MOST_ROWS, max(FEWEST_ROWS, MOST_STATISTICS // features)))
    return blocks


def _statistics(z: Tensor, full: bool) -> Tensor:
    """Return a Gaussian's sufficient statistics: 1, z, and the products z_i z_j (i <= j) or squares; (N, D) -> (F, N).

    They are computed again in each sweep, because those of all samples together would take gigabytes.
    """
    z = z.T.contiguous()
    if not full:
        return torch.cat([torch.ones_like(z[:1]), z, z.square()])
    i, j = torch.triu_indices(len(z), len(z), device=z.device)
    return torch.cat([torch.ones_like(z[:1]), z, z[i] * z[j]])


def _natural(mixture: GaussianMixture) -> Tensor:
    """Return the natural parameters, (K, F): their product with the statistics is log(weight_k N(z; k))."""
    mean, dim = mixture.means, mixture.latent_dim
    constant = mixture.weights.log() - 0.5 * dim * LOG_2PI
    if mixture.scale.dim() == 2:
        precision = mixture.scale.square().reciprocal()  # (K, D)
        constant = constant - mixture.scale.log().sum(1) - 0.5 * (mean.square() * precision).sum(1)
        return torch.cat([constant[:, None], mean * precision, -0.5 * precision], 1)
    precision = torch.cholesky_inverse(mixture.scale)  # (K, D, D)
    linear = (precision @ mean[:, :, None]).squeeze(2)  # (K, D)
    log_scale = mixture.scale.diagonal(dim1=1, dim2=2).log().sum(1)
    constant = constant - log_scale - 0.5 * (linear * mean).sum(1)
    i, j = torch.triu_indices(dim, dim, device=mean.device)
    return torch.cat([constant[:, None], linear, torch.where(i == j, -0.5, -1.0) * precision[:, i, j]], 1)


def _maximize(sums: Tensor, dim: int, full: bool) -> GaussianMixture:
    """Return the most likely mixture, but for SHRINKAGE and FLOOR, given the sums of each component's statistics, (K, F).

    The shrunk covariances are the most probable ones under an inverse Wishart prior (Fraley & Raftery 2007).
    """
    mass = sums[:, :1].clamp(min=1e-8)  # (K, 1)
    means, products = sums[:, 1 : 1 + dim] / mass, sums[:, 1 + dim :] / mass
    weights = (mass / mass.sum()).squeeze(1)
    if not full:
        variances = _shrunk((products - means.square()).clamp(min=0), mass, dim)
        return GaussianMixture(weights, means, (variances + FLOOR).sqrt())
    i, j = torch.triu_indices(dim, dim, device=sums.device)
    second = sums.new_zeros(len(sums), dim, dim)
    second[:, i, j] = second[:, j, i] = products
    covariances = _shrunk(second - means[:, :, None] * means[:, None, :], mass[:, :, None], dim)
    floor = FLOOR * torch.eye(dim, dtype=sums.dtype, device=sums.device)
    return GaussianMixture(weights, means, torch.linalg.cholesky(covariances + floor))


def _shrunk(spread: Tensor, mass: Tensor, dim: int) -> Tensor:
    """Average (co)variances, (K, ...), of components with this mass, (K, 1, ...), with their weighted mean."""
    common, weight = (mass * spread).sum(0) / mass.sum(), SHRINKAGE * dim
    return (mass * spread + weight * common) / (mass + weight)


def _start(z: Tensor, components: int, full: bool, noise: torch.Generator) -> GaussianMixture:
    """Start from k-means++ centres (Arthur & Vassilvitskii 2007), with covariances of the nearest samples and some of all."""
    centres = z[torch.randint(len(z), (1,), generator=noise).to(z.device)]  # (1, D)
    distance = (z - centres).square().sum(1)
    for _ in range(components - 1):
        far = torch.searchsorted(distance.cumsum(0), torch.rand(1, generator=noise).to(z) * distance.sum())
        centre = z[far.clamp(max=len(z) - 1)]
        centres = torch.cat([centres, centre])
        distance = torch.minimum(distance, (z - centre).square().sum(1))
    sums: Tensor | float = 0.0
    for rows in _blocks(z, full):
        nearest = torch.nn.functional.one_hot(torch.cdist(rows, centres).argmin(1), components).to(z.dtype)
        sums = sums + (0.9 * nearest + 0.1 / components).T @ _statistics(rows, full).T
    return _maximize(torch.as_tensor(sums), z.shape[1], full)
