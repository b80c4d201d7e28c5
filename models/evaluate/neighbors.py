"""5-NN accuracy of the labels by every metric of the service, and in pixels: what a search by each of them is worth.

Knows nothing of files.
"""

from typing import Any

import torch
from torch import Tensor

from models.distributions import DiagonalGaussian
from models.metric_choice import NEIGHBORS, MetricChoice, accuracy, cosine, distance_of, l2, majority

# Elements of one block of pairs, so that a processor's cache holds them.
BLOCK_NUMBERS = 1 << 18
# Pictures of the training split in one block of pixels.
PIXEL_ROWS = 4096
KEY = "search"


def metric_numbers(
    choice: MetricChoice, references: DiagonalGaussian, labels: Tensor, queries: DiagonalGaussian, query_labels: Tensor
) -> dict[str, float]:
    """Return the accuracy by the distance that new collections have, and by each metric, with w2 as it is published."""
    distances = {
        "chosen": distance_of(choice),
        "l2": l2,
        "cosine": cosine,
        "w2": distance_of(MetricChoice("w2")),
        "jeffreys": jeffreys,
        "bhattacharyya": bhattacharyya,
        "fisher_rao": fisher_rao,
    }
    found = {name: accuracy(one, references, labels, queries, query_labels) for name, one in distances.items()}
    return {**found, "hellinger": found["bhattacharyya"]}  # They have the same order.


def named(name: str) -> str:
    """Return the name of one of these numbers in words."""
    words = {"chosen": "the distance of new collections", "pixels": "L2 of pixels"}
    return f"5-NN accuracy by {words.get(name, name)}"


def protocol(choice: MetricChoice, raw: str, references: int, all_of_them: bool = True) -> str:
    """Return how these numbers were measured. `raw`: what pixels the pictures have. `references`: the number of them.

    `all_of_them`: they include those for validation.
    """
    return (
        f"share of the test pictures whose label is that of most of the {NEIGHBORS} nearest of {references:,} training "
        f"pictures{', those for validation included' if all_of_them else ''} (of those with as many votes, that of the "
        f"nearest), {raw}; new collections "
        f"are searched by {choice}" + (f", chosen by {choice.chosen_by}" if choice.chosen_by else "")
    )


def jeffreys(queries: DiagonalGaussian, references: DiagonalGaussian) -> Tensor:
    """Return twice the Jeffreys divergences, (b, N): sum of (d^2 + s1^2) / s2^2 + (d^2 + s2^2) / s1^2 - 2."""
    a, b = queries, references
    own, other = torch.exp(-a.logvar), torch.exp(-b.logvar)  # 1 / sigma^2
    first = (a.mu.square() + 1 / own) @ other.T - 2 * a.mu @ (b.mu * other).T + (b.mu.square() * other).sum(1)
    second = own @ (b.mu.square() + 1 / other).T - 2 * (a.mu * own) @ b.mu.T + (a.mu.square() * own).sum(1, keepdim=True)
    return first + second - 2 * a.mu.shape[1]


def bhattacharyya(queries: DiagonalGaussian, references: DiagonalGaussian) -> Tensor:
    """Return Bhattacharyya distances in nats, (b, N), computed in float32."""

    def term(mu: Tensor, sigma: Tensor, others_mu: Tensor, others_sigma: Tensor) -> Tensor:
        both = sigma.square() + others_sigma.square()
        return (others_mu - mu).square().div_(both).mul_(0.25) + both.div_(2 * sigma * others_sigma).log_().mul_(0.5)

    return _summed(term, queries, references)


def fisher_rao(queries: DiagonalGaussian, references: DiagonalGaussian) -> Tensor:
    """Return half the squared Fisher-Rao distances, (b, N), computed in float32."""

    def term(mu: Tensor, sigma: Tensor, others_mu: Tensor, others_sigma: Tensor) -> Tensor:
        apart = (others_mu - mu).square().mul_(0.5).add_((others_sigma - sigma).square())
        t = apart.div_(2 * sigma * others_sigma)
        return torch.log1p(t + (t * (t + 2)).sqrt_()).square_()  # arccosh^2(1 + t)

    return _summed(term, queries, references)


def _summed(term: Any, queries: DiagonalGaussian, references: DiagonalGaussian) -> Tensor:
    """Sum a term of one dimension, which takes (b, 1), (b, 1), (n,) and (n,), over all dimensions, block by block."""
    numbers = [one.T.contiguous().float() for one in (queries.mu, queries.sigma, references.mu, references.sigma)]  # (D, rows)
    size, found = max(1, BLOCK_NUMBERS // len(queries.mu)), []
    for start in range(0, len(references.mu), size):
        rows = slice(start, start + size)
        dimensions = zip(*numbers, strict=True)
        found.append(sum(term(m[:, None], s[:, None], other_m[rows], other_s[rows]) for m, s, other_m, other_s in dimensions))
    return torch.cat(found, dim=1)


@torch.no_grad()
def pixel_accuracy(references: Tensor, labels: Tensor, queries: Tensor, query_labels: Tensor) -> float:
    """Return the accuracy by the Euclidean distance of pixels: uint8 (N, C, H, W), (Q, C, H, W). Computes in float32."""
    hits = 0
    for part, known in zip(queries.split(1000), query_labels.split(1000), strict=True):
        flat = part.flatten(1).float() / 255
        distances = torch.cat(
            [torch.cdist(flat, rows.flatten(1).float() / 255) for rows in references.split(PIXEL_ROWS)], dim=1
        )
        nearest = distances.topk(min(NEIGHBORS, len(references)), largest=False).indices
        hits += int((majority(labels[nearest]) == known).sum())
    return hits / len(query_labels)
