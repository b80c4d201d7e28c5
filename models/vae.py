"""The variational autoencoder: a net, a likelihood and a prior; `encode` gives a posterior, `decode` a likelihood.

Knows nothing of objectives, training, files or HTTP.
"""

from copy import copy
from dataclasses import asdict, dataclass, field
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor, bfloat16, float16, nn

from models.build import build
from models.condition import Condition
from models.distributions import LIKELIHOODS, DiagonalGaussian, Likelihood, build_likelihood
from models.kinds import kind_of
from models.nets import ARCHITECTURES, build_net
from models.nets.layers import MAX_WIDTH, is_whole
from models.nets.net import Net
from models.priors import PRIORS, Prior, build_prior

# Variances from exp(-30) to exp(20): far wider than any trained posterior needs, and still finite in float32.
LOGVAR_MIN, LOGVAR_MAX = -30.0, 20.0


@dataclass(frozen=True)
class VAEConfig:
    """Everything that defines a VAE except its weights; stored as `model` in a checkpoint's config.json."""

    shape: tuple[int, ...]  # that of a row; (C, H, W) for pictures
    latent_dim: int
    arch: str = "conv"
    arch_options: dict[str, Any] = field(default_factory=dict)
    likelihood: str = "bernoulli"
    likelihood_options: dict[str, Any] = field(default_factory=dict)
    prior: str = "standard"
    prior_options: dict[str, Any] = field(default_factory=dict)
    kind: str = "picture"
    condition: Condition | None = None  # what encoder and decoder are told about each item

    def __post_init__(self) -> None:
        """Raise ValueError if a value has the wrong type or is out of range."""
        if not isinstance(self.shape, (list, tuple)):
            raise ValueError(f"shape must be a list of sizes, not {short_repr(self.shape)}")
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON has no tuples.
        try:
            kind_of(self.kind).check_shape(self.shape)
        except ValueError as error:
            raise ValueError(f"{error}; found the shape {short_repr(self.shape)}") from None
        if not is_whole(self.latent_dim, MAX_WIDTH):
            raise ValueError(f"latent_dim must be a positive integer up to {MAX_WIDTH}, not {short_repr(self.latent_dim)}")
        if not all(isinstance(name, str) for name in (self.arch, self.likelihood, self.prior)):
            arch, likelihood, prior = map(short_repr, (self.arch, self.likelihood, self.prior))
            raise ValueError(f"the architecture {arch}, the likelihood {likelihood} and the prior {prior} must all be strings")
        for name in ("arch_options", "likelihood_options", "prior_options"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} must be an object, not {short_repr(getattr(self, name))}")
        object.__setattr__(self, "condition", _condition(self.condition))
        if self.condition and self.prior != "standard":
            raise ValueError(f"a condition goes with the standard prior only, not with {short_repr(self.prior)}")

    def stored(self) -> dict[str, Any]:
        """Return the fields to store. A standard prior, the kind "picture" and no condition are left out, as before others."""
        fields = asdict(self)
        if self.condition is None:
            del fields["condition"]
        if self.kind == "picture":
            del fields["kind"]
        if (self.prior, self.prior_options) == ("standard", {}):
            del fields["prior"], fields["prior_options"]
        return fields


def _condition(stored: object) -> Condition | None:
    if stored is None or isinstance(stored, Condition):
        return stored
    return build(Condition, stored, "condition")


class VAE(nn.Module):
    """A variational autoencoder: p(z) = `prior(z)`, q(z given x) = `encode(x)`, p(x given z) = `decode(z)`.

    A conditional one has q(z given x, label) and p(x given z, label): see `given`.
    """

    net: Net
    likelihood: nn.Module
    _labels: Tensor | None = None  # one-hot (n, values), of the items of a view

    def __init__(self, config: VAEConfig) -> None:
        """Build the model. Raises ValueError for an unknown net, likelihood, prior or option, or one that does not fit."""
        super().__init__()
        self.config, self.kind = config, kind_of(config.kind)
        if config.arch in ARCHITECTURES and config.likelihood in LIKELIHOODS and config.prior in PRIORS:
            self.kind.check_parts(config.arch, config.likelihood, config.prior)  # the registries name unknown ones
        self.net = build_net(config.arch, config.shape, config.latent_dim, config.arch_options, self.values)
        self.likelihood = build_likelihood(config.likelihood, config.likelihood_options)
        self.prior_layer = build_prior(config.prior, config.shape, config.prior_options)

    @property
    def values(self) -> int:
        """The number of values of the condition, 0 without one."""
        return len(self.config.condition) if self.config.condition else 0

    def given(self, labels: Tensor | None) -> "VAE":
        """Return a view of a conditional model that knows the label of each item, int64 (n,): the same weights and methods.

        It takes n items, or a multiple: K samples of each, one after the other, (K n, ...). One label is for all items.
        Without a condition there are no labels, and the model itself is returned. Raises ValueError.
        """
        condition = self.config.condition
        if condition is None and labels is None:
            return self
        if condition is None:
            raise ValueError("the model has no condition, so it takes no labels")
        if labels is None:
            raise ValueError(f"the model needs the {condition.key} of each item: {condition.listed}")
        view = copy(self)
        view._labels = (labels[:, None] == torch.arange(len(condition), device=labels.device)).float()  # (n, values)
        return view

    def _told(self, values: Tensor) -> Tensor:
        """Append the labels to what the net takes; without a condition, return it as it is."""
        if self.config.condition is None:
            return values
        if self._labels is None:
            raise ValueError(f"the model needs labels, one of {self.config.condition.listed} for each item: vae.given(labels)")
        return self.net.append(values, self._labels)

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """Return the posterior of each item: rows or the x of the net, (B, *shape) -> parameters of shape (B, D)."""
        if not self.kind.fits(tuple(x.shape[1:]), self.config.shape):
            raise ValueError(f"x must have shape (B, {', '.join(map(str, self.config.shape))}), not {tuple(x.shape)}")
        mu, logvar = self.net.encode(self._told(self.kind.to_x(x)))
        return DiagonalGaussian(_full_precision(mu), _full_precision(logvar).clamp(LOGVAR_MIN, LOGVAR_MAX))

    def decode(self, z: Tensor) -> Likelihood:
        """Return p(x given z) for each latent: (B, D) -> a distribution over (B, *shape)."""
        if z.dim() != 2 or z.shape[1] != self.config.latent_dim:
            raise ValueError(f"z must have shape (B, {self.config.latent_dim}), not {tuple(z.shape)}")
        output = self.net.decode(self._told(z))  # a tensor, or for sequences a decoder that still waits for its steps
        likelihood: Likelihood = self.likelihood(_full_precision(output) if isinstance(output, Tensor) else output)
        return likelihood

    def prior(self, like: Tensor) -> Prior:
        """Return p(z), with the type and device of `like` (B, D). A VampPrior runs the encoder to compute it."""
        prior: Prior = self.prior_layer(like, self.encode)
        return prior


def _full_precision(t: Tensor) -> Tensor:
    """Convert half-precision outputs of a net to float32, which the distributions need."""
    return t.float() if t.dtype in (bfloat16, float16) else t
