"""Sigma of a Gaussian likelihood: the closed form is the best one, and the effective beta gives the same optimum."""

import math
from typing import Any

import pytest
import torch

from models.distributions import SIGMA_FLOOR, Gaussian
from models.sigma import calibrate, effective_beta, mean_squared_error, record, sigma_of, told
from models.vae import VAE, VAEConfig

X = torch.rand(20, 1, 6, 5, generator=torch.Generator().manual_seed(0))


def gaussian(sigma: float | str) -> VAE:
    torch.manual_seed(0)
    return VAE(VAEConfig((1, 6, 5), 3, "mlp", {"hidden": [8]}, "gaussian", {"sigma": sigma})).eval()


def test_the_closed_form_is_the_best_sigma() -> None:
    vae = gaussian("optimal")
    mse = mean_squared_error(vae, X.split(7), torch.Generator().manual_seed(1))
    calibrate(vae, mse)
    assert sigma_of(vae) == pytest.approx(mse**0.5, rel=1e-6)

    def log_likelihood(sigma: float) -> float:
        noise = torch.Generator().manual_seed(1)
        total = 0.0
        with torch.no_grad():
            for x in X.split(7):
                posterior = vae.encode(x)
                mean = vae.decode(posterior.sample(torch.randn(posterior.mu.shape, generator=noise))).mean
                total += float(Gaussian(mean, torch.tensor(sigma)).log_prob(x).sum())
        return total

    best = log_likelihood(mse**0.5)
    assert best > log_likelihood(1.1 * mse**0.5)
    assert best > log_likelihood(mse**0.5 / 1.1)


def test_sigma_never_falls_below_a_step_of_the_pixels() -> None:
    vae = gaussian("optimal")
    calibrate(vae, 1e-9)
    assert sigma_of(vae) == SIGMA_FLOOR
    assert effective_beta(1.0, SIGMA_FLOOR, 1e-9) == pytest.approx(1.0)
    assert "raised to 1/255" in told({"sigma": record(vae, 1e-9, 1.0, 20)})


@pytest.mark.parametrize(("sigma", "value"), [(0.3, 0.3), ("learned", 1.0)])
def test_other_sigmas_stay(sigma: float | str, value: float) -> None:
    vae = gaussian(sigma)
    calibrate(vae, 0.01)
    assert sigma_of(vae) == pytest.approx(value)
    assert sigma_of(VAE(VAEConfig((1, 6, 5), 3, "mlp"))) is None


def test_the_effective_beta_has_the_same_optimum() -> None:
    """-log_likelihood + beta KL at a sigma is, but for constants and scale, that at sigma^2 = MSE with the effective beta."""
    sse, kl, beta, sigma, mse = 3.0, 20.0, 2.0, 0.35, 0.028**2
    ratio = (sse / (2 * sigma**2) + beta * kl) / (sse / (2 * mse) + effective_beta(beta, sigma, mse) * kl)
    assert ratio == pytest.approx(mse / sigma**2)
    assert effective_beta(1.0, 0.35, 0.028**2) == pytest.approx(156.25)


@pytest.mark.parametrize(
    ("sigma", "mse", "words"),
    [
        ("optimal", 0.0004, "pixel sigma 0.0200, in closed form: the RMSE of 20 validation pictures; on these pictures, "
                          "the effective beta"),
        (0.35, 0.028**2, "pixel sigma 0.3500, fixed; the RMSE of 20 validation pictures is 0.0280; on these pictures, the "
                         "effective beta against a decoder with the best pixel sigma is 156, so the ELBO depends on the "
                         "choice of the pixel sigma; --sigma optimal calibrates it"),
        (0.1, 0.0101, "pixel sigma 0.1000, fixed; the RMSE of 20 validation pictures is 0.1005; on these pictures, the "
                      "effective beta against a decoder with the best pixel sigma is 0.99"),
    ],
)  # fmt: skip
def test_what_is_said(sigma: float | str, mse: float, words: str) -> None:
    vae = gaussian(sigma)
    calibrate(vae, mse)
    found: dict[str, Any] = record(vae, mse, 1.0, 20)
    assert math.isclose(found["validation_rmse"] ** 2, mse)
    line = told({"sigma": found})
    assert line.startswith(words)
    assert ("--sigma" in line) == (sigma == 0.35)
    assert told({}) == ""
