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
from models.mixture import FittedPrior, GaussianMixture, StalePrior, read_prior
from models.priors import PosteriorMixture
from models.spatial_latents import SpatialLatents, spatial_latents
from service.latents.mixture import Mixture

log = logging.getLogger(__name__)

# An error message names so many labels.
SHOWN_LABELS = 20
STANDARD, VAMP, AGGREGATE = "standard", "vamp", "aggregate"


class NoSuchPrior(Exception):
    """The model does not have this prior."""


NO_LABELS = "its fitted prior was fitted without them, or there is none"
# A reason from a file is shown up to so many characters.
MOST_REASON = 500


class NoSuchLabel(Exception):
    """The prior does not know this label, or no labels at all."""


@dataclass(frozen=True)
class Priors:
    """The priors of a model. N(0, I) needs no mixture, and every model has it."""

    model: str
    own: str  # the prior that the model was trained with; of a model of diffusers the one that its configuration states
    mixtures: Mapping[str, Mixture]
    missing: Mapping[str, str]  # prior -> the reason why the model does not have it
    digests: Mapping[str, str]  # prior -> SHA-256 of its mixture's numbers and labels
    labels: Mapping[str, Mixture]  # label -> that part of the fitted prior; {} if it was fitted without labels
    no_labels: str = ""  # the reason for {}, if it is known

    @property
    def default(self) -> str:
        """The prior that new pictures come from: the aggregate one if there is one, else the model's own."""
        return AGGREGATE if AGGREGATE in self.mixtures else self.own

    @property
    def names(self) -> list[str]:
        """The names of the model's priors: the default first, then the one that it was trained with."""
        return sorted((STANDARD, *self.mixtures), key=lambda name: (name != self.default, name != self.own))

    def choose(self, prior: str | None, label: str | None = None) -> tuple[str, Mixture | None]:
        """Return a prior's name and mixture, or its part for a label; None asks for the default.

        Raises NoSuchPrior, NoSuchLabel.
        """
        prior = prior or self.default
        mixture = self.mixture(prior)
        return prior, mixture if label is None else self._of_label(prior, label)

    def _of_label(self, prior: str, label: str) -> Mixture:
        """Return the part of the fitted prior for a label. Raises NoSuchLabel."""
        if prior == AGGREGATE and label in self.labels:
            return self.labels[label]
        if not self.labels:
            raise NoSuchLabel(
                f"the model {self.model!r} knows no labels: {self.no_labels or NO_LABELS}. "
                "Leave out label, or fit the prior to data with labels (python -m models.evaluate PATH --fit-prior)."
            )
        if prior != AGGREGATE:
            raise NoSuchLabel(f"the prior {prior!r} knows no labels. Leave out label, or choose prior=aggregate.")
        known = list(self.labels)
        more = f" and {len(known) - SHOWN_LABELS} more, see /models" if len(known) > SHOWN_LABELS else ""
        raise NoSuchLabel(
            f"the model {self.model!r} has no label {label[:80]!r}. Choose {', '.join(known[:SHOWN_LABELS])}{more}."
        )

    def mixture(self, prior: str) -> Mixture | None:
        """Return the mixture of a prior, or None for N(0, I). Raise NoSuchPrior."""
        if prior != STANDARD and prior not in self.mixtures:
            reason = self.missing.get(prior, "unknown prior")
            named = "fitted prior (prior=aggregate)" if prior == AGGREGATE else f"{prior} prior"
            raise NoSuchPrior(f"the model {self.model!r} has no {named}; {reason}. Choose {' or '.join(self.names)}.")
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
    labels: dict[str, Mixture] = {}
    spatial = spatial_latents(checkpoint.manifest.model)
    if fitted is None and spatial is not None:
        mixtures[AGGREGATE] = _stated(spatial, checkpoint.manifest.model.latent_dim)
    if fitted is not None:
        mixtures[AGGREGATE] = _arrays(fitted.mixture)
        labels = {label: _arrays(part) for label, part in fitted.by_label().items()}
    digests = {name: _digest(mixture, *(labels.values() if name == AGGREGATE else ())) for name, mixture in mixtures.items()}
    reason = "" if labels else why_no_labels(checkpoint, fitted)
    own = VAMP if VAMP in mixtures else STANDARD
    return Priors(model, own if spatial is None else AGGREGATE, mixtures, missing, digests, labels, reason)


def _stated(spatial: SpatialLatents, dim: int) -> Mixture:
    """Return one Gaussian with the means and standard deviations that a configuration of diffusers states of its latents."""
    means, deviations = (np.repeat(np.array(each, np.float64), dim // spatial.channels)[None] for each in spatial.usual)
    return Mixture(np.ones(1), means, deviations)


def why_no_labels(checkpoint: Checkpoint, fitted: FittedPrior | None) -> str:
    """Return the reason, recorded by the fit or else by training, why the fitted prior knows no labels; "" if none is."""
    record, key = (checkpoint.manifest.data.get("choices"), "labels") if fitted is None else (fitted.fitted, "labels_left_out")
    reason = record.get(key) if isinstance(record, dict) else None
    return reason[:MOST_REASON] if isinstance(reason, str) else ""


def _arrays(mixture: GaussianMixture) -> Mixture:
    return Mixture(mixture.weights.numpy(), mixture.means.numpy(), mixture.scale.numpy())


def _digest(*mixtures: Mixture) -> str:
    numbers = b"".join(part.tobytes() for one in mixtures for part in (one.weights, one.means, one.scale))
    return hashlib.sha256(numbers).hexdigest()
