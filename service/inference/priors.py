"""The priors of one model: N(0, I), its learnt prior, and the mixture that was fitted to its aggregate posterior.

Knows nothing of requests, seeds or pictures.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.checkpoint import Checkpoint
from models.mixture import StalePrior, read_prior
from models.priors import PosteriorMixture
from service.latents.mixture import Mixture

log = logging.getLogger(__name__)

STANDARD, VAMP, AGGREGATE = "standard", "vamp", "aggregate"


class NoSuchPrior(Exception):
    """The model does not have this prior."""


@dataclass(frozen=True)
class Priors:
    """The priors of a model. N(0, I) needs no mixture, and every model has it."""

    model: str
    own: str  # the prior that the model was trained with
    mixtures: Mapping[str, Mixture]
    missing: Mapping[str, str]  # prior -> the reason why the model does not have it
    digests: Mapping[str, str]  # prior -> SHA-256 of its mixture's numbers

    @property
    def default(self) -> str:
        """The prior that new pictures come from: the aggregate one if there is one, else the model's own."""
        return AGGREGATE if AGGREGATE in self.mixtures else self.own

    @property
    def names(self) -> list[str]:
        """The names of the model's priors: the default first, then the one that it was trained with."""
        return sorted((STANDARD, *self.mixtures), key=lambda name: (name != self.default, name != self.own))

    def choose(self, prior: str | None) -> tuple[str, Mixture | None]:
        """Return a prior's name and mixture; None asks for the default. Raises NoSuchPrior."""
        prior = prior or self.default
        return prior, self.mixture(prior)

    def mixture(self, prior: str) -> Mixture | None:
        """Return the mixture of a prior, or None for N(0, I). Raise NoSuchPrior."""
        if prior != STANDARD and prior not in self.mixtures:
            reason = self.missing.get(prior, "unknown prior")
            raise NoSuchPrior(f"the model {self.model!r} has no {prior} prior; {reason}. Choose {' or '.join(self.names)}.")
        return self.mixtures.get(prior)


def priors_of(model: str, directory: Path, checkpoint: Checkpoint) -> Priors:
    """Return the priors of a checkpoint, and of the fitted mixture beside it. Raise CheckpointError for a corrupt file."""
    mixtures: dict[str, Mixture] = {}
    missing = {VAMP: "only models trained with --prior vamp have one"}
    with torch.inference_mode():
        learnt = checkpoint.vae.prior(torch.zeros(1, checkpoint.manifest.model.latent_dim))
    if isinstance(learnt, PosteriorMixture):
        components = learnt.components
        k = len(components.mu)
        mixtures[VAMP] = Mixture(np.full(k, 1 / k), components.mu.double().numpy(), components.sigma.double().numpy())
    try:
        fitted = read_prior(directory, checkpoint.digest, checkpoint.manifest.model.latent_dim)
    except StalePrior as error:
        log.warning("%s", error)
        fitted, missing[AGGREGATE] = None, "the file beside its weights was fitted to other weights"
    else:
        missing[AGGREGATE] = "none was fitted (python -m models.evaluate PATH --fit-prior)"
    if fitted is not None:
        parts = fitted.mixture
        mixtures[AGGREGATE] = Mixture(parts.weights.numpy(), parts.means.numpy(), parts.scale.numpy())
    digests = {name: _digest(mixture) for name, mixture in mixtures.items()}
    return Priors(model, VAMP if VAMP in mixtures else STANDARD, mixtures, missing, digests)


def _digest(mixture: Mixture) -> str:
    numbers = b"".join(part.tobytes() for part in (mixture.weights, mixture.means, mixture.scale))
    return hashlib.sha256(numbers).hexdigest()
