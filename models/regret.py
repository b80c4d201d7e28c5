"""Likelihood regret: how much better a picture's ELBO gets if its posterior is optimised for this picture alone.

The encoder was trained on pictures like those of the data set, so its posteriors are good for them, and worse for others:
Xiao, Yan & Amit 2020, "Likelihood Regret", arXiv:2003.02977. Here mu and logvar themselves are optimised instead of the
encoder, by Adam (Kingma & Ba 2015, arXiv:1412.6980), in a fixed number of steps with noise that is the same for all pictures.

Knows nothing of batches, seeds or HTTP.
"""

import torch
from torch import Tensor

from models.distributions import DiagonalGaussian
from models.objective import divergence
from models.priors import PosteriorMixture, Prior
from models.vae import LOGVAR_MAX, LOGVAR_MIN, VAE

STEPS, HELD = 50, 8  # draws for the optimisation, one a step; draws that both ELBOs are measured with
LEARNING_RATE = 0.1  # of the first step; it falls to 0 in a straight line, so that the noise of the last steps averages out
DECAY1, DECAY2, TINY = 0.9, 0.999, 1e-8
# The state of one picture is (6, D): mu, logvar, the first moments of their gradients, and the second ones.
STATE = 6


def first_state(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the state before the first step, (B, 6, D), from posteriors (B, D)."""
    zeros = torch.zeros_like(mu)
    return torch.stack([mu, logvar, zeros, zeros, zeros, zeros], 1)


def own_prior(vae: VAE) -> Prior | None:
    """Return the mixture of a VampPrior, which is computed once; None for N(0, I)."""
    weight = next(vae.parameters())
    prior = vae.prior(torch.zeros(1, vae.config.latent_dim, device=weight.device))
    return prior if isinstance(prior, PosteriorMixture) else None


def step(vae: VAE, prior: Prior | None, x: Tensor, state: Tensor, count: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the state after one step of Adam on the one-sample ELBO, (B, 6, D), and that ELBO before it, (B,).

    Each picture is optimised by itself. x: (B, C, H, W) in [0, 1]; state: (B, 6, D); count: (B, 1), steps with this one, from
    1; eps: (B, D), standard normal.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # A clone is an ordinary tensor, also of one that was made in inference mode.
        x, eps, old = x.clone(), eps.clone(), state.clone()
        parameters = old[:, :2].detach().requires_grad_()  # (B, 2, D)
        posterior = DiagonalGaussian(parameters[:, 0], parameters[:, 1])
        z = posterior.sample(eps)  # (B, D)
        kl = divergence(posterior, prior or DiagonalGaussian.standard(posterior.mu), z)  # (B,)
        elbo = vae.decode(z).log_prob(x) - kl  # (B,)
        (gradient,) = torch.autograd.grad(elbo.sum(), parameters)  # (B, 2, D)
    with torch.no_grad():
        first = DECAY1 * old[:, 2:4] + (1 - DECAY1) * gradient  # (B, 2, D)
        second = DECAY2 * old[:, 4:] + (1 - DECAY2) * gradient.square()  # (B, 2, D)
        count = count.clone()[:, :, None]  # (B, 1, 1)
        size = first / (1 - DECAY1**count) / ((second / (1 - DECAY2**count)).sqrt() + TINY)
        rate = LEARNING_RATE * (1 - (count - 1) / STEPS)
        moved = old[:, :2] + rate * size  # up, since the ELBO is to grow
        moved[:, 1].clamp_(LOGVAR_MIN, LOGVAR_MAX)
        return torch.cat([moved, first, second], 1), elbo.detach()


def regret(vae: VAE, x: Tensor, eps: Tensor) -> Tensor:
    """Return ELBO(optimised posterior) - ELBO(the encoder's) in nats, float64 (B,), of pictures x (B, C, H, W).

    eps: (HELD + STEPS, D), standard normal. Both ELBOs are means over the first HELD draws, which no step sees; it may be
    negative by their noise.
    """
    posterior, prior = vae.encode(x), own_prior(vae)
    state = first_state(posterior.mu, posterior.logvar)
    before = _elbo(vae, prior, x, state, eps[:HELD])
    for count, noise in enumerate(eps[HELD:], 1):
        counts = torch.full((len(x), 1), float(count), device=x.device)
        state, _ = step(vae, prior, x, state, counts, noise.expand(len(x), -1))
    return _elbo(vae, prior, x, state, eps[:HELD]) - before


def _elbo(vae: VAE, prior: Prior | None, x: Tensor, state: Tensor, eps: Tensor) -> Tensor:
    """Return the mean of the ELBOs of several draws (K, D), float64 (B,)."""
    once = torch.ones(len(x), 1, device=x.device)
    each = [step(vae, prior, x, state, once, noise.expand(len(x), -1))[1].double() for noise in eps]
    return torch.stack(each).mean(0)
