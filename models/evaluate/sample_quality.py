"""Measure how good samples are: Fréchet distance, precision and recall in features, and the labels that a classifier confirms.

Knows nothing of files or cards, except for the words of its rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.condition import LABEL, blocks
from models.data import Splits
from models.features import FEATURES, MOST_SIDE, NET, FeatureNet, feature_net
from models.mixture import ComponentLabels, FittedPrior
from models.priors import NAMES
from models.vae import VAE

KEY = "sample_quality"
DRAWS = 10_000
NEIGHBORS = 3  # Kynkäänniemi et al. 2019, arXiv:1904.06991, section 3
TEMPERATURE = 0.7
# Each half of the test pictures needs more pictures than features, or its covariance has no full rank.
FEWEST = 2 * (FEATURES + 1)
BLOCK_ROWS = 1000
REAL, REAL_IN_ORDER, OWN, COOL, FITTED = "real", "real_in_order", "own_prior", "own_prior_cooled", "aggregate_prior"


class Likeness(NamedTuple):
    """How near one set of features is to another."""

    frechet: float
    precision: float
    recall: float


def compare(real: Tensor, made: Tensor) -> Likeness:
    """Compare made features with real ones: (N, F), (M, F)."""
    real, made = real.double(), made.double()
    real_reach, made_reach = reach(real), reach(made)
    return Likeness(frechet_distance(real, made), share_within(made, real, real_reach), share_within(real, made, made_reach))


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two sets of features, float64 (N, F), (M, F).

    It is the squared 2-Wasserstein distance of the Gaussians with their moments (Heusel et al. 2017, arXiv:1706.08500).
    """
    first, second = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # C_a C_b has the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2).
    both = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + first.trace() + second.trace() - 2 * both)


def reach(points: Tensor) -> Tensor:
    """Return the distance of each point to its third nearest neighbour in the same set: (N, F) -> (N,)."""
    count = min(NEIGHBORS + 1, len(points))  # A point is the nearest to itself.
    return torch.cat([torch.cdist(rows, points).topk(count, largest=False).values[:, -1] for rows in points.split(BLOCK_ROWS)])


def share_within(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    """Return the share of points inside of at least one ball: (N, F), (M, F), (M,). Kynkäänniemi et al. 2019, equation 2."""
    inside = [(torch.cdist(rows, centres) <= radii).any(1) for rows in points.split(BLOCK_ROWS)]
    return float(torch.cat(inside).double().mean())


@torch.no_grad()
def sample_quality(
    vae: VAE,
    splits: Splits,
    prior: FittedPrior | None,
    seed: int,
    device: torch.device,
    classes: Sequence[str] | None = None,
) -> tuple[dict[str, Any], str]:
    """Return the numbers of the model's samples and their protocol; no numbers if there are too few test pictures.

    `classes` are the names of the labels 0, 1, ..., if they have names.
    """
    test = splits.test
    if len(test) < FEWEST:
        return {}, f"not measured: there are {len(test)} test pictures, and at least {FEWEST} are needed"
    with torch.enable_grad():
        net = feature_net(splits.train.x, splits.train.labels, seed, device)
    count, noise = min(DRAWS, len(test)), torch.Generator().manual_seed(seed)
    order = torch.randperm(len(test), generator=noise)
    eps = torch.randn(count, vae.config.latent_dim, generator=noise)
    uniform = torch.rand(count, generator=noise, dtype=torch.float64)
    features = net.features(test.x.to(device))
    half, real = len(test) // 2, features[order[:count].to(device)]
    first, second = features[order[:half].to(device)], features[order[half : 2 * half].to(device)]
    told = None if test.condition is None else test.condition[order[:count]].to(device)
    own = {OWN: eps, COOL: TEMPERATURE * eps}
    drawn = {name: vae.prior(e.to(device)).sample(e.to(device)) for name, e in own.items()}
    if prior is not None:
        drawn[FITTED] = prior.mixture.sample(eps.double(), uniform).float().to(device)
    numbers: dict[str, Any] = {
        REAL: compare(first, second)._asdict(),
        REAL_IN_ORDER: compare(features[:half], features[half : 2 * half])._asdict(),
        **{name: compare(real, net.features(decoded(vae, z, told)))._asdict() for name, z in drawn.items()},
    }
    if net.head is not None and test.labels is not None:
        numbers["classifier_accuracy"] = float((net.labels(features).cpu() == test.labels).double().mean())
        if vae.config.condition and vae.config.condition.key == LABEL:
            numbers["confirmed"] = of_condition(vae, net, prior, classes, count, noise, device)
        elif prior is not None and prior.labels is not None:
            numbers["confirmed"] = confirmed(vae, net, prior, classes, count, noise, device)
    return numbers, protocol(net, NAMES[vae.config.prior], count, half, seed)


@torch.no_grad()
def decoded(vae: VAE, z: Tensor, condition: Tensor | None = None) -> Tensor:
    """Return the mean pictures of latents as /sample sends them, rounded to bytes: (N, D) -> uint8 (N, C, H, W).

    `condition`: what a conditional model is told about each, int64 (N,).
    """
    means = (own.decode(rows).mean for own, rows in blocks(vae, z, condition, BLOCK_ROWS))
    return torch.cat([(255 * mean.clamp(0, 1)).round().to(torch.uint8) for mean in means])


def confirmed(
    vae: VAE,
    net: FeatureNet,
    prior: FittedPrior,
    classes: Sequence[str] | None,
    count: int,
    noise: torch.Generator,
    device: torch.device,
) -> dict[str, Any]:
    """Return the share of samples of each label to which the classifier gives this label, and the mean of these shares."""
    names = ComponentLabels.named(net.classes, classes).names
    shares = {}
    for name, part in prior.by_label().items():
        if name not in names:
            continue
        each = max(1, count // len(names))
        eps = torch.randn(each, vae.config.latent_dim, generator=noise)
        uniform = torch.rand(each, generator=noise, dtype=torch.float64)
        z = part.sample(eps.double(), uniform).float().to(device)
        given = net.labels(net.features(decoded(vae, z)))
        shares[name] = float((given == net.classes[names.index(name)]).double().mean())
    return {"share": sum(shares.values()) / len(shares), "by_label": shares}


@torch.no_grad()
def of_condition(
    vae: VAE,
    net: FeatureNet,
    prior: FittedPrior | None,
    classes: Sequence[str] | None,
    count: int,
    noise: torch.Generator,
    device: torch.device,
) -> dict[str, Any]:
    """Return what `confirmed` does for a conditional model: each label is told to the decoder, all latents have one prior.

    The prior is the fitted one, as /sample has it, if there is one.
    """
    names, shares = ComponentLabels.named(net.classes, classes).names, {}
    for index, value in enumerate(vae.config.condition.values if vae.config.condition else ()):
        if value not in names:
            continue
        each = max(1, count // len(names))
        eps = torch.randn(each, vae.config.latent_dim, generator=noise)
        uniform = torch.rand(each, generator=noise, dtype=torch.float64)
        z = eps if prior is None else prior.mixture.sample(eps.double(), uniform).float()
        label = torch.full((each,), index, device=device)
        given = net.labels(net.features(decoded(vae, z.to(device), label)))
        shares[value] = float((given == net.classes[names.index(value)]).double().mean())
    return {"share": sum(shares.values()) / len(shares), "by_label": shares}


def protocol(net: FeatureNet, prior: str, count: int, half: int, seed: int) -> str:
    """Return all that a script needs to compute the numbers again."""
    text = (
        f"features: {NET}; {net.training}; seed {seed}; sides above {MOST_SIDE} pixels are averaged down to it "
        f"(adaptive_avg_pool2d). Samples: {count} decoded means, rounded to bytes, of z = eps and {TEMPERATURE} eps "
        f"({prior}), and of the fitted prior's means_k + scale_k eps, k by the inverse CDF of its weights at a uniform "
        "number (float64). One generator of the seed on the CPU draws in this order: torch.randperm of the test pictures, "
        f"eps, uniform. Samples are compared with the first {count} test pictures of the permutation. Fréchet distance: |m1 "
        "- m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of means and covariances (N - 1), float64. Precision and recall: "
        f"Kynkäänniemi et al. 2019, {NEIGHBORS} nearest neighbours. Real against real: the first {half} pictures of the "
        f"permutation against the next {half}; in order: the first {half} test pictures against the next {half}, which "
        "differ by more than chance if the data set is sorted"
    )
    if net.head is None:
        return text
    return text + (
        f". Samples of a label: for each label of the prior in turn, {max(1, count // len(net.classes))} latents from its "
        "components, whose weights are divided by their sum; the same generator draws eps, then uniform. Confirmed is the "
        "share to which the classifier gives the same label; its accuracy on the test pictures says how far to trust it"
    )


def sample_rows(metrics: Mapping[str, Any], prior: str) -> list[tuple[str, str, str]]:
    """Return (what, numbers as text, key) of each set of samples, whose numbers are metrics[KEY][key]; [] if not measured."""
    found = metrics.get(KEY, {})
    names = {
        OWN: f"samples of {prior}",
        COOL: f"samples of {prior} at temperature {TEMPERATURE}",
        FITTED: "samples of the fitted prior",
        REAL: "real against real, halves at random",
        REAL_IN_ORDER: "real against real, halves in order",
    }
    texts = {key: _text(Likeness(**found[key])) for key in names if key in found}
    return [(names[key], text, key) for key, text in texts.items()]


def _text(found: Likeness) -> str:
    return f"{found.frechet:.2f}; {100 * found.precision:.1f} %, {100 * found.recall:.1f} %"
