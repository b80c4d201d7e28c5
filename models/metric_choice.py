"""The distance by which the latents of a model are best searched: how it is chosen, and how config.json records it.

Dividing by sigma makes the nearest neighbours worse, sigma as a feature makes them better: the 2-Wasserstein distance with a
weight w is the Euclidean distance of [mu, w sigma], and w is chosen on labelled validation pictures, or on all pictures with
one left out where there are too few. config.json has the choice as `search`. Knows nothing of files.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from models.distributions import DiagonalGaussian
from models.kinds.kind import Kind
from models.vae import VAE

NEIGHBORS = 5
METRICS = ("l2", "cosine", "w2")  # those that a search can bound, so that it is fast
# With 12, the vote of the neighbours becomes worse again: 87.6 % of Fashion-MNIST instead of 88.0 % with 8.
WEIGHTS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
MAX_WEIGHT = 1000.0
MAX_WORDS = 1000
# With fewer queries, chance would choose.
LEAST_QUERIES = 200
# More would take minutes and change little.
MOST_REFERENCES, MOST_QUERIES = 60_000, 5_000
BLOCK = 250

# (posteriors of b queries, posteriors of N references) -> what orders the references for each query, (b, N)
Distance = Callable[[DiagonalGaussian, DiagonalGaussian], Tensor]


@dataclass(frozen=True)
class MetricChoice:
    """The metric of searches, the weight of sigma if it is w2, and how they were chosen: "" for the default, l2."""

    metric: str = "l2"
    sigma_weight: float = 1.0
    chosen_by: str = ""

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {self.metric!r}")
        weight = self.sigma_weight
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= MAX_WEIGHT:
            raise ValueError(f"sigma_weight must be a number above 0 and at most {MAX_WEIGHT:g}, not {weight!r}")
        if self.metric != "w2" and weight != 1:
            raise ValueError(f"sigma_weight is {weight!r}, but only w2 has a weight, and metric is {self.metric!r}")
        if not isinstance(self.chosen_by, str) or len(self.chosen_by) > MAX_WORDS:
            raise ValueError(f"chosen_by must be a text of at most {MAX_WORDS} characters")

    def __str__(self) -> str:
        return f"{self.metric} with sigma_weight {self.sigma_weight:g}" if self.metric == "w2" else self.metric


def no_labels(kind: Kind) -> str:
    """Say that items have no labels by which a metric could be chosen, and what would give them some."""
    return f"the {kind.many} have no labels by which a metric could be chosen; {kind.labels_from} would help"


def l2(queries: DiagonalGaussian, references: DiagonalGaussian) -> Tensor:
    """Return Euclidean distances of the means, (b, N)."""
    return torch.cdist(queries.mu, references.mu)


def cosine(queries: DiagonalGaussian, references: DiagonalGaussian) -> Tensor:
    """Return distances of the means' directions, (b, N), which order as their angles do."""
    near, far = (torch.nn.functional.normalize(one.mu) for one in (queries, references))
    return torch.cdist(near, far)


def w2(queries: DiagonalGaussian, references: DiagonalGaussian, sigma_weight: float) -> Tensor:
    """Return 2-Wasserstein distances with a weight of sigma: the Euclidean ones of [mu, w sigma], (b, N)."""
    near, far = (torch.cat([one.mu, sigma_weight * one.sigma], dim=1) for one in (queries, references))
    return torch.cdist(near, far)


def distance_of(choice: MetricChoice) -> Distance:
    """Return the distance that a choice means."""
    return (
        partial(w2, sigma_weight=choice.sigma_weight) if choice.metric == "w2" else {"l2": l2, "cosine": cosine}[choice.metric]
    )


def majority(labels: Tensor) -> Tensor:
    """Return the most frequent label of each row, nearest first: (Q, k) -> (Q,). A tie goes to the label of the nearest."""
    votes = (labels[:, :, None] == labels[:, None, :]).sum(2)  # votes for each neighbour's label
    return labels.gather(1, votes.argmax(1, keepdim=True)).squeeze(1)


@torch.no_grad()
def nearest_labels(
    distance: Distance, references: DiagonalGaussian, labels: Tensor, queries: DiagonalGaussian, own: Tensor | None = None
) -> Tensor:
    """Return the labels of the 5 nearest references of each query, nearest first, (Q, 5). Computes in float64.

    `own`, int64 (Q,), has the row of each query among the references, which is then left out.
    """
    references, found = _doubles(references, slice(None)), []
    for start in range(0, len(queries.mu), BLOCK):
        rows = slice(start, start + BLOCK)
        distances = distance(_doubles(queries, rows), references)
        if own is not None:
            distances.scatter_(1, own[rows, None], torch.inf)
        count = min(NEIGHBORS, len(labels) - (own is not None))
        found.append(labels[distances.topk(count, largest=False).indices])
    return torch.cat(found)


def accuracy(
    distance: Distance, references: DiagonalGaussian, labels: Tensor, queries: DiagonalGaussian, query_labels: Tensor
) -> float:
    """Return the share of the queries whose label is that of most of their 5 nearest references."""
    found = majority(nearest_labels(distance, references, labels, queries))
    return int((found == query_labels).sum()) / len(query_labels)


def _doubles(gaussians: DiagonalGaussian, rows: slice) -> DiagonalGaussian:
    return DiagonalGaussian(gaussians.mu[rows].double(), gaussians.logvar[rows].double())


def choose(references: DiagonalGaussian, labels: Tensor, queries: DiagonalGaussian, query_labels: Tensor) -> MetricChoice:
    """Return the distance by which most neighbours have the label of the query: l2, w2 with one of WEIGHTS, or cosine.

    Each of the 5 nearest references of each held-out query counts, since their vote alone would be decided by a few queries.
    With fewer than 200 queries, each picture of both sets, or each nth of more than 5,000, is a query among all others. A tie
    goes to the first distance, and among weights to the smallest. Raises ValueError for fewer than 200 pictures in all, and if
    all labels are the same.
    """
    held_out, together = len(query_labels), torch.cat([query_labels, labels])
    if len(together.unique()) < 2:
        raise ValueError("all pictures have the same label; labels that tell the pictures apart would help")
    if len(together) < LEAST_QUERIES:
        raise ValueError(
            f"there are {len(together)} pictures with labels, and at least {LEAST_QUERIES} are needed; more of them would help"
        )
    own: Tensor | None = None
    whose = f"{len(labels):,} training pictures to each of {held_out:,} validation pictures"
    if held_out < LEAST_QUERIES:
        references, labels = _joined(queries, references), together
        own = torch.arange(0, len(labels), -(-len(labels) // MOST_QUERIES), device=labels.device)
        queries, query_labels = DiagonalGaussian(references.mu[own], references.logvar[own]), labels[own]
        whose = f"{len(labels) - 1:,} other pictures of training and validation to each of {len(own):,} (leave-one-out)"
    tried = [MetricChoice(), *(MetricChoice("w2", weight) for weight in WEIGHTS), MetricChoice("cosine")]
    near = [nearest_labels(distance_of(one), references, labels, queries, own) == query_labels[:, None] for one in tried]
    shares = [float(hits.double().mean()) for hits in near]
    best = tried[shares.index(max(shares))]
    words = f"the labels of the {NEIGHBORS} nearest of {whose}: {100 * max(shares):.2f} % are right"
    if best.metric != "l2":
        words += f", with l2 {100 * shares[0]:.2f} %"
    if own is not None:
        words += (
            f"; only {held_out} are for validation, fewer than {LEAST_QUERIES}, so the model was trained on most of the "
            "queries, and the share is higher than for new pictures"
        )
    return MetricChoice(best.metric, best.sigma_weight, words)


def _joined(first: DiagonalGaussian, second: DiagonalGaussian) -> DiagonalGaussian:
    return DiagonalGaussian(torch.cat([first.mu, second.mu]), torch.cat([first.logvar, second.logvar]))


def choose_for(vae: VAE, x: Tensor, labels: Tensor, held_out_x: Tensor, held_out_labels: Tensor) -> MetricChoice:
    """Encode rows, (N, ...) on the device of `vae`, and choose by them. Raises ValueError, see `choose`.

    At most 60,000 training and 5,000 held-out pictures are used.
    """
    references, queries = (encoded(vae, part) for part in (x[:MOST_REFERENCES], held_out_x[:MOST_QUERIES]))
    found = choose(references, labels[:MOST_REFERENCES], queries, held_out_labels[:MOST_QUERIES])
    return replace(found, chosen_by=vae.kind.worded(found.chosen_by))


@torch.no_grad()
def encoded(vae: VAE, x: Tensor) -> DiagonalGaussian:
    """Return the posteriors of rows as the service stores them, pictures not binarised: (N, ...) -> (N, D)."""
    parts = [vae.encode(vae.kind.cut(block)) for block in x.split(1024)]
    return DiagonalGaussian(torch.cat([part.mu for part in parts]), torch.cat([part.logvar for part in parts]))
