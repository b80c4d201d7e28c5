"""The registry of training objectives: it maps a name of the command line to what training minimises.

To add an objective, add one line below. Knows nothing of data sets, optimisers or files.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import NamedTuple

from models.features import FeatureNet
from models.train.losses import Autoencoder, BetaElbo, BetaTC, DoublyReparameterized, FreeBits, Iwae, KLOnly, Objective
from models.train.perceptual import Perceptual


class Wishes(NamedTuple):
    """The options of all objectives."""

    beta: float
    free_bits: float  # nats per dimension
    stratified: bool
    dataset_size: int
    feature_weight: float = 1.0
    pixel_weight: float = 1.0
    features: FeatureNet | None = None  # None: the objective is only described


def wishes(args: argparse.Namespace, dataset_size: int, features: FeatureNet | None = None) -> Wishes:
    """Return the options that the command line gives."""
    return Wishes(args.beta, args.free_bits, args.stratified, dataset_size, args.feature_weight, args.pixel_weight, features)


OBJECTIVES: Mapping[str, Callable[[Wishes], Objective]] = {
    "elbo": lambda wishes: BetaElbo(wishes.beta),
    "free-bits": lambda wishes: FreeBits(wishes.free_bits, wishes.beta),
    "beta-tc": lambda wishes: BetaTC(wishes.dataset_size, wishes.beta, wishes.stratified),
    "iwae": lambda wishes: Iwae(wishes.beta),
    "iwae-dreg": lambda wishes: DoublyReparameterized(wishes.beta),
    "perceptual": lambda wishes: Perceptual(wishes.features, wishes.feature_weight, wishes.pixel_weight, wishes.beta),
    "autoencoder": lambda _wishes: Autoencoder(),
    "kl-only": lambda _wishes: KLOnly(),
}
