"""Calibrate sigma of a Gaussian likelihood, and say how far a sigma that was chosen by hand is from calibrated.

With sigma^2 = MSE, log p(x given z) is as high as it can be (Rybkin et al. 2021, arXiv:2006.13202, equation 5). Another sigma
weighs the squared error against the KL like beta * sigma^2 / MSE does with the best one: the effective beta.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from models.distributions import SIGMA_FLOOR, GaussianLayer
from models.kinds import KINDS
from models.kinds.kind import Kind
from models.vae import VAE

# An effective beta outside of 1 / FAR to FAR is told as a warning.
FAR = 2.0


@torch.no_grad()
def mean_squared_error(vae: VAE, blocks: Iterable[Tensor], noise: torch.Generator, condition: Tensor | None = None) -> float:
    """Return the mean over items and their values of (x - mean of p(x given z))^2, with one draw z of each posterior.

    blocks: x (B, *shape); `condition`: what a conditional model is told about all of them, int64 (N,).
    """
    total, count, first = torch.zeros((), dtype=torch.float64), 0, 0
    for x in blocks:
        told = vae.given(None if condition is None else condition[first : first + len(x)])
        posterior, first = told.encode(x), first + len(x)
        eps = torch.randn(posterior.mu.shape, generator=noise, device=x.device)
        total += (told.decode(posterior.sample(eps)).mean - x).square().sum(dtype=torch.float64).cpu()
        count += x.numel()
    return float(total) / count


@torch.no_grad()
def sigma_of(vae: VAE) -> float | None:
    """Return sigma of the pixels; None for other likelihoods."""
    layer = vae.likelihood
    if not isinstance(layer, GaussianLayer):
        return None
    if layer.kind == "learned":
        return max(SIGMA_FLOOR, float(layer.log_sigma.exp()))
    return float(layer.sigma) if layer.kind == "fixed" else max(SIGMA_FLOOR, float(layer.variance) ** 0.5)


@torch.no_grad()
def calibrate(vae: VAE, mse: float) -> None:
    """Set sigma^2 to `mse` if the likelihood is a Gaussian with the optimal sigma; change nothing otherwise."""
    if isinstance(vae.likelihood, GaussianLayer) and vae.likelihood.kind == "optimal":
        vae.likelihood.variance.fill_(mse)


def effective_beta(beta: float, sigma: float, mse: float) -> float:
    """Return the weight of the KL that the best pixel sigma would need for the same optimum; sigma has the floor 1/255."""
    return beta * sigma**2 / max(mse, SIGMA_FLOOR**2)


def record(vae: VAE, mse: float, beta: float | None, pictures: int) -> dict[str, Any]:
    """Return what config.json keeps of sigma: its kind and value, and RMSE and effective beta on the validation pictures.

    `beta` is None if the loss has more terms than the ELBO: then there is no effective beta.
    """
    sigma = sigma_of(vae) or 0.0
    return {
        "kind": vae.config.likelihood_options.get("sigma", "optimal") if sigma else None,
        "value": sigma,
        "validation_rmse": mse**0.5,
        "validation_pictures": pictures,
        "effective_beta": None if beta is None else effective_beta(beta, sigma, mse),
    }


def told(data: Mapping[str, Any], of: Kind = KINDS["picture"]) -> str:
    """Describe sigma from the `data` of a checkpoint's manifest; return "" if nothing is recorded."""
    found = data.get("sigma")
    if not isinstance(found, dict):
        return ""
    beta, rmse = found["effective_beta"], found["validation_rmse"]
    on = f"the RMSE of {found['validation_pictures']:,} validation {of.many}"
    if found["kind"] == "optimal":
        line = f"pixel sigma {found['value']:.4f}, in closed form: {on}"
        line += ", raised to 1/255, the step of 8-bit pixels" if rmse < SIGMA_FLOOR else ""
    else:
        kind = "learned" if found["kind"] == "learned" else "fixed"
        line = f"pixel sigma {found['value']:.4f}, {kind}; {on} is {rmse:.4f}"
    if beta is None:
        return line
    line += f"; on these {of.many}, the effective beta against a decoder with the best pixel sigma is {beta:.3g}"
    far = found["kind"] != "optimal" and not 1 / FAR <= beta <= FAR
    line += ", so the ELBO depends on the choice of the pixel sigma; --sigma optimal calibrates it" if far else ""
    return of.worded(line)
