"""The variational autoencoder: a net, a likelihood and a prior; `encode` gives a posterior, `decode` a likelihood.

Knows nothing of objectives, training, files or HTTP.
"""

from dataclasses import asdict, dataclass, field
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor, nn

from models.distributions import DiagonalGaussian, Likelihood, build_likelihood
from models.nets import build_net
from models.nets.layers import MAX_WIDTH, is_whole
from models.nets.net import Net
from models.priors import Prior, build_prior

# Variances from exp(-30) to exp(20): far wider than any trained posterior needs, and still finite in float32.
LOGVAR_MIN, LOGVAR_MAX = -30.0, 20.0
# Largest height or width in pixels, the same as in JPEG.
MAX_SIDE = 65_535


@dataclass(frozen=True)
class VAEConfig:
    """Everything that defines a VAE except its weights; stored as `model` in a checkpoint's config.json."""

    shape: tuple[int, int, int]  # (C, H, W)
    latent_dim: int
    arch: str = "conv"
    arch_options: dict[str, Any] = field(default_factory=dict)
    likelihood: str = "bernoulli"
    likelihood_options: dict[str, Any] = field(default_factory=dict)
    prior: str = "standard"
    prior_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError if a value has the wrong type or is out of range."""
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON has no tuples.
        if (
            len(self.shape) != 3
            or not all(is_whole(n, MAX_SIDE) for n in self.shape)
            or not is_whole(self.latent_dim, MAX_WIDTH)
        ):
            raise ValueError(
                f"shape must be three positive integers (C, H, W) up to {MAX_SIDE} and latent_dim one up to {MAX_WIDTH}, "
                f"not {short_repr(self.shape)}, {short_repr(self.latent_dim)}"
            )
        if not all(isinstance(name, str) for name in (self.arch, self.likelihood, self.prior)):
            arch, likelihood, prior = map(short_repr, (self.arch, self.likelihood, self.prior))
            raise ValueError(f"the architecture {arch}, the likelihood {likelihood} and the prior {prior} must all be strings")
        for name in ("arch_options", "likelihood_options", "prior_options"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} must be an object, not {short_repr(getattr(self, name))}")
        if self.shape[0] not in (1, 3):
            raise ValueError(f"pictures have 1 or 3 channels, not {self.shape[0]}")

    def stored(self) -> dict[str, Any]:
        """Return the fields to store in a checkpoint. A standard prior is left out, as before other priors existed."""
        fields = asdict(self)
        if (self.prior, self.prior_options) == ("standard", {}):
            del fields["prior"], fields["prior_options"]
        return fields


class VAE(nn.Module):
    """A variational autoencoder: p(z) = `prior(z)`, q(z given x) = `encode(x)`, p(x given z) = `decode(z)`."""

    net: Net
    likelihood: nn.Module

    def __init__(self, config: VAEConfig) -> None:
        """Build the model. Raises ValueError for an unknown architecture, likelihood, prior or option."""
        super().__init__()
        self.config = config
        self.net = build_net(config.arch, config.shape, config.latent_dim, config.arch_options)
        self.likelihood = build_likelihood(config.likelihood, config.likelihood_options)
        self.prior_layer = build_prior(config.prior, config.shape, config.prior_options)

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """Return the posterior of each picture: (B, C, H, W), floats in [0, 1] or uint8 -> parameters of shape (B, D)."""
        if tuple(x.shape[1:]) != self.config.shape:
            raise ValueError(f"x must have shape (B, {', '.join(map(str, self.config.shape))}), not {tuple(x.shape)}")
        mu, logvar = self.net.encode(to_unit_interval(x))
        return DiagonalGaussian(_full_precision(mu), _full_precision(logvar).clamp(LOGVAR_MIN, LOGVAR_MAX))

    def decode(self, z: Tensor) -> Likelihood:
        """Return p(x given z) for each latent: (B, D) -> a distribution over (B, C, H, W)."""
        if z.dim() != 2 or z.shape[1] != self.config.latent_dim:
            raise ValueError(f"z must have shape (B, {self.config.latent_dim}), not {tuple(z.shape)}")
        likelihood: Likelihood = self.likelihood(_full_precision(self.net.decode(z)))
        return likelihood

    def prior(self, like: Tensor) -> Prior:
        """Return p(z), with the type and device of `like` (B, D). A VampPrior runs the encoder to compute it."""
        prior: Prior = self.prior_layer(like, self.encode)
        return prior


def to_unit_interval(x: Tensor) -> Tensor:
    """Convert uint8 pixels to float32 in [0, 1]; return floats unchanged."""
    return x.to(torch.float32) / 255 if x.dtype == torch.uint8 else x


def _full_precision(t: Tensor) -> Tensor:
    """Convert half-precision outputs of a net to float32, which the distributions need."""
    return t.float() if t.dtype in (torch.bfloat16, torch.float16) else t
