"""Numbers of likelihoods that are densities: bits per dimension of the 8-bit data, pixel sigma, RMSE and effective beta.

A density in nats depends on the scale of the pixels and has no upper limit, so it cannot be compared between data sets or with
a likelihood. Bits per dimension can. Also says when an importance-weighted bound is no estimate of a likelihood.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.evaluate import html as page
from models.evaluate.headings import KINDS, Headings
from models.sigma import effective_beta, mean_squared_error, sigma_of
from models.vae import VAE

DENSITIES = ("gaussian", "continuous_bernoulli")
# With a smaller mean effective sample size, a few of the K samples carry the whole bound.
LEAST_ESS = 5.0
BLOCK = 256
# Maps a key of the numbers to its name in the card and its decimals.
ROWS: Mapping[str, tuple[str, int]] = {
    "bits_per_dimension": ("bits per dimension, at most", 3),
    "elbo_bits_per_dimension": ("bits per dimension by the ELBO", 3),
    "aggregate_prior_bits_per_dimension": ("bits per dimension with the fitted prior, at most", 3),
    "rmse": ("RMSE of the pixels in [0, 1]", 4),
    "sigma": ("pixel sigma", 4),
    "effective_beta": ("effective beta against a decoder with the best pixel sigma, on the test pictures", 2),
}


def dequantized(x: Tensor, likelihood: str, noise: torch.Generator) -> Tensor:
    """Add uniform noise of one step to 8-bit pixels, so that a density of the result bounds the probability of the bytes.

    log P(x) >= E log p(y) - P ln S for P values (Uria et al. 2013, arXiv:1306.0186; Theis et al. 2016, arXiv:1511.01844), with
    y = (x + u - 1/2) / S, S = 255 for a Gaussian, whose mean is x / 255, and y = (x + u) / S, S = 256 for a continuous
    Bernoulli, which ends at 0 and 1. uint8 (N, C, H, W) -> float32.
    """
    u = torch.rand(x.shape, generator=noise, device=x.device)
    return (x + u - 0.5) / 255 if likelihood == "gaussian" else (x + u) / 256


def pixels(likelihood: str, seed: int) -> str:
    """Describe the result of `dequantized`, for the protocol."""
    formula = "(x + u - 1/2) / 255" if likelihood == "gaussian" else "(x + u) / 256"
    return f"bytes x with uniform noise, {formula}, u from 0 to 1 drawn once, seed {seed}"


def bits_per_dimension(nll: float, vae: VAE) -> float:
    """Convert nats of the density of `dequantized` pixels to bits per dimension of the bytes."""
    steps = 255 if vae.config.likelihood == "gaussian" else 256
    return (nll / math.prod(vae.config.shape) + math.log(steps)) / math.log(2)


def density_numbers(
    vae: VAE,
    x: Tensor,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    condition: Tensor | None = None,
) -> dict[str, Any]:
    """Return the numbers of a density; {} for a Bernoulli. x: uint8 (N, C, H, W); `metrics` has the bounds in nats.

    `condition`: what a conditional model is told about each picture, int64 (N,).
    """
    if vae.config.likelihood not in DENSITIES:
        return {}
    noise = torch.Generator(x.device).manual_seed(seed)
    mse = mean_squared_error(vae, (vae.kind.to_x(block) for block in x.split(BLOCK)), noise, condition)
    found: dict[str, Any] = {
        "bits_per_dimension": bits_per_dimension(metrics["iwae_nll"], vae),
        "elbo_bits_per_dimension": bits_per_dimension(-metrics["elbo"], vae),
        "rmse": mse**0.5,
    }
    if "aggregate_prior" in metrics:
        found["aggregate_prior_bits_per_dimension"] = bits_per_dimension(metrics["aggregate_prior"]["iwae_nll"], vae)
    if sigma := sigma_of(vae):
        found["sigma"] = sigma
        if training.get("objective", "elbo") not in ("autoencoder", "kl-only", "perceptual"):
            found["effective_beta"] = effective_beta(training.get("beta", 1.0), sigma, mse)
    return found


PROTOCOL = (
    "(L / P + ln S) / ln 2, L the negative log density in nats, P the number of values of a picture (height x width x "
    "channels), S the divisor in the formula of the pixels; RMSE: over all values, bytes / 255 against the mean of p(x given "
    "z), one draw z of each posterior; effective beta: beta * (pixel sigma)^2 / RMSE^2 (RMSE at least 1/255), the weight of "
    "the KL that a decoder with the best pixel sigma would need for the same optimum"
)


def is_density(metrics: Mapping[str, Any]) -> bool:
    """Return whether the nats are a density's. Evaluations of earlier versions did not say so."""
    return "densities" in metrics


def bound_name(metrics: Mapping[str, Any], names: Headings, prior: Mapping[str, Any] | None = None) -> str:
    """Return the name of the negative importance-weighted bound, which is a likelihood only if its samples suffice.

    `prior` has the numbers of the fitted prior, if the bound is the one with it.
    """
    named = f" with the fitted prior ({prior['components']} Gaussians, {prior['covariance']})" if prior else ""
    if is_density(metrics):
        return f"negative importance-weighted bound of the raw density{named}"
    if names == KINDS["likelihood"] and (prior or metrics)["ess_mean"] < LEAST_ESS:
        return f"negative importance-weighted bound{named}, no estimate of the likelihood"
    return f"{names.bound}{named}" if prior else f"importance-weighted {names.bound}"


def nats_rows(metrics: Mapping[str, Any], names: Headings) -> list[tuple[str, str]]:
    """Return the rows of the card that come first: bounds in nats or, for a density, bits per dimension and pixel sigma."""
    if not is_density(metrics):
        return [
            (bound_name(metrics, names), f"{metrics['iwae_nll']:.2f} +- {metrics['iwae_nll_standard_error']:.2f}"),
            ("ELBO", f"{metrics['elbo']:.2f}"),
            (f"{names.pixels} (one draw)", f"{metrics['log_likelihood']:.2f}"),
        ]
    found = metrics["densities"]
    return [(name, f"{found[key]:.{digits}f}") for key, (name, digits) in ROWS.items() if key in found]


def report_rows(metrics: Mapping[str, Any]) -> list[str]:
    """Return the rows of the report that only a density has, as HTML."""
    found = metrics.get("densities", {})
    return [
        page.row(name, page.number(metrics, f"densities.{key}", digits), metrics["protocol"]["densities"])
        for key, (name, digits) in ROWS.items()
        if key in found
    ]


def remarks(metrics: Mapping[str, Any]) -> list[str]:
    """Return paragraphs for the card: the raw density, and what a bound with few effective samples is."""
    found = []
    if is_density(metrics):
        raw = f"ELBO {metrics['elbo']:.2f}, importance-weighted bound {-metrics['iwae_nll']:.2f}"
        if "aggregate_prior" in metrics:
            raw += f", with the fitted prior {-metrics['aggregate_prior']['iwae_nll']:.2f}"
        found.append(
            f"Raw density, in nats per picture over pixels in [0, 1]: {raw} +- {metrics['iwae_nll_standard_error']:.2f}. It "
            "depends on the scale of the pixels and grows without limit as the pixel sigma falls: do not compare it with "
            "other data or other kinds of pixels."
        )
    samples = metrics["protocol"]["iwae_samples"]
    if (ess := metrics["ess_mean"]) < LEAST_ESS:
        found.append(
            f"The importance-weighted bound is no estimate of the likelihood: its mean effective sample size is {ess:.1f} of "
            f"{samples}, below {LEAST_ESS:g}, so one or a few draws of the posterior carry it. It is a lower bound of the log "
            "likelihood, better than the ELBO and still loose by an unknown amount. What helps: more samples (--samples), and "
            "a posterior that fits better, by longer training, a larger net, or --objective iwae with --init-from."
        )
    return found
