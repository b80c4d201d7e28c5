"""The perceptual objective: reconstructions are compared in the features of a classifier, which the run trains first.

Deep Feature Consistent VAE, Hou et al. 2016, arXiv:1610.00291. There the classifier is a large one that was trained on other
pictures; here it is a small one, trained on the labels of the run's own. Knows nothing of files or of the training loop.
"""

import argparse
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from tqdm import tqdm

from models.data import Items, data_kind
from models.distributions import SIGMA_FLOOR
from models.features import FeatureNet, feature_net
from models.objective import Elbo, divergence
from models.readers.left_out import plural
from models.train.losses import Criterion, Loss, detached
from models.train.share import ALL, Share
from models.train.training_error import TrainingError
from models.vae import VAE

CLASSIFIER = "classifier"  # the entry of the run's choices that describes it
FEATURE_WEIGHT, PIXEL_WEIGHT = 1.0, 1.0
# The seed of the classifier is this far from the run's, so that an evaluation with the run's seed trains another one: models
# are not judged by the very features that they were trained on. Generators on the CPU take the lowest 32 bits of a seed.
SEED_APART = 2**31


@dataclass(frozen=True)
class Perceptual:
    """features F - pixels log_likelihood + beta kl; F compares x with the decoded mean in the features of each layer.

    F = P/2 mean_l ln MSE_l, where MSE_l is the mean squared difference of the features of layer l in the batch, and P the
    number of values of a picture: up to a constant the negative log density of a Gaussian with the best sigma of each layer
    (Rybkin et al. 2021, arXiv:2006.13202), in which all layers together count as much as the pixels.
    """

    net: FeatureNet | None  # None only where nothing is computed
    features: float = FEATURE_WEIGHT
    pixels: float = PIXEL_WEIGHT
    beta: float = 1.0
    criterion: ClassVar[Criterion] = "loss"

    def __call__(self, vae: VAE, x: Tensor, eps: Tensor, warm: Tensor | float = 1.0, share: Share = ALL) -> Loss:
        posterior = vae.encode(x)
        z = posterior.sample(eps)  # (K, B, D)
        repeated = x.expand(len(eps), *x.shape).flatten(0, 1)  # (K B, C, H, W)
        likelihood = vae.decode(z.flatten(0, 1))
        log_likelihood = likelihood.log_prob(repeated).view(z.shape[:2]).mean(0)  # (B,)
        terms = Elbo(log_likelihood, divergence(posterior, vae.prior(z), z).mean(0))
        weighted = Elbo(self.pixels * log_likelihood, terms.kl).loss(warm * self.beta)
        return Loss(weighted + self.features * self.difference(repeated, likelihood.mean, share), detached(terms))

    def difference(self, x: Tensor, mean: Tensor, share: Share = ALL) -> Tensor:
        """Return F of pictures and decoded means, (B, C, H, W) -> ()."""
        if self.net is None:
            raise ValueError("there is no classifier whose features could be compared")
        pairs = zip(self.net.layers(x), self.net.layers(mean), strict=True)
        squared = torch.stack([(a.float() - b.float()).square().mean() for a, b in pairs])  # (layers,)
        return 0.5 * x[0].numel() * share.mean(squared).clamp(min=SIGMA_FLOOR**2).log().mean()

    def remark(self) -> str:
        beta = "" if self.beta == 1 else f", and the effective beta is {self.beta:g}"
        return (
            "the loss is not the negative ELBO: reconstructions are judged by features of a classifier (weight "
            f"{self.features:g}) and by the log likelihood of their pixels (weight {self.pixels:g}){beta}"
        )


def check(args: argparse.Namespace, training: Items) -> None:
    """Raise TrainingError if the perceptual objective is asked for, and there is nothing that a classifier could learn."""
    if args.objective != "perceptual":
        return
    kind, known = data_kind(args.data), [] if training.labels is None else training.labels.unique().tolist()
    if kind.name != "picture":
        raise TrainingError(
            f"--objective perceptual compares features of pictures, and {args.data} has {kind.many}: choose another "
            "objective, such as elbo"
        )
    if len(known) < 2:
        raise TrainingError(
            "--objective perceptual compares features of a classifier that learns the labels of the pictures, but "
            f"{args.data} has {f'the label {known[0]} only' if known else 'no labels'}: give a folder with a sub-folder for "
            "each class, or an npz file with an array `labels`; or choose another objective, such as elbo"
        )


def classifier(args: argparse.Namespace, training: Items, validation: Items, known: bool) -> FeatureNet | None:
    """Return the classifier of the perceptual objective, trained on the labels, and record how good it is; else None.

    It is not trained if its weights are `known`: in a run that goes on, they are in the saved state.
    """
    if args.objective != "perceptual":
        return None
    seed, device = args.seed + SEED_APART, training.x.device
    if known:
        return frozen(feature_net(training.x, None, seed, device))
    tqdm.write(f"classifier: it learns the labels of {plural(len(training), 'picture')}, for the features of the objective")
    net = feature_net(training.x, training.labels, seed, device)
    args.choices[CLASSIFIER] = told(net, validation)
    return frozen(net)


def told(net: FeatureNet, validation: Items) -> str:
    """Describe the classifier, and how many held-out pictures it knows."""
    text = f"features of three layers, trained in {plural(net.steps, 'step')} to tell {len(net.classes)} labels apart"
    if validation.labels is None:
        return text
    given = net.labels(net.features(validation.x))
    right = float((given == validation.labels).double().mean())
    most = float((validation.labels[:, None] == net.classes.to(given.device)).double().mean(0).max())
    return (
        f"{text}; it is right for {100 * right:.1f} % of {plural(len(validation), 'validation picture')}, of which "
        f"{100 * most:.1f} % have the commonest label"
    )


def frozen(net: FeatureNet) -> FeatureNet:
    """Return the net without gradients for its weights; those of its inputs stay."""
    net.body.requires_grad_(False).zero_grad()
    return net
