"""Disentanglement metrics for data sets with labelled factors: MIG, SAP and DCI. Knows nothing of networks or files.

Each takes factors as name -> int64 (N,). All range from 0 to 1, and are higher if each factor has its own dimension.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.distributions import LOG_2PI, DiagonalGaussian
from models.evaluate.html import number, row

Factors = Mapping[str, Tensor]
BINS = 20
PENALTY = 0.01
MAX_STEPS = 500


class Disentanglement(NamedTuple):
    """DCI: each dimension predicts one factor, each factor is predicted by one dimension, and accuracy of the prediction."""

    disentanglement: float
    completeness: float
    informativeness: float


def mutual_information_gap(posterior: DiagonalGaussian, factors: Factors, eps: Tensor) -> float:
    """Return MIG: the mean over factors of (I_first - I_second) / H(factor) for the two most informative dimensions.

    Chen et al. 2018, arXiv:1802.04942, equation 5 and appendix. See `information_of_dimensions`. A factor that is the same in
    all pictures has no entropy, and is left out; NaN if all are.
    """
    information, entropy = information_of_dimensions(posterior, factors, eps)
    first, second = _two_largest(information)
    return float(((first - second) / entropy)[entropy > 0].mean())


def constant(factors: Factors) -> list[str]:
    """Return the names of the factors that have one value in all pictures."""
    return [name for name, values in factors.items() if len(values.unique()) < 2]


def information_of_dimensions(posterior: DiagonalGaussian, factors: Factors, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Return I(z_j; factor) in nats, (F, D), and H(factor), (F,), for pictures with these posteriors.

    z_j is one sample of each posterior, eps (N, D); q(z_j) and q(z_j given the factor's value) are the exact mixtures of the
    posteriors of all N pictures, and of those with that value.
    """
    mu, logvar = posterior.mu.double(), posterior.logvar.double()
    z = DiagonalGaussian(mu, logvar).sample(eps.double())
    information = torch.zeros(len(factors), mu.shape[1], dtype=torch.float64)
    for j in range(mu.shape[1]):
        for rows in torch.arange(len(z), device=z.device).split(2048):
            squared = (z[rows, j, None] - mu[None, :, j]).square() * torch.exp(-logvar[None, :, j])
            density = torch.exp(-0.5 * (squared + logvar[None, :, j] + LOG_2PI))  # (n, N)
            total = density.mean(1)
            for f, values in enumerate(factors.values()):
                one_hot = torch.nn.functional.one_hot(values).to(density)  # (N, V)
                given = (density @ one_hot / one_hot.sum(0)).gather(1, values[rows, None]).squeeze(1)
                information[f, j] += float((given.log() - total.log()).sum())
    return information / len(z), torch.stack([_entropy(values) for values in factors.values()])


def attribute_gap(train: Tensor, train_factors: Factors, test: Tensor, test_factors: Factors) -> float:
    """Return SAP: the mean over factors of the score difference between the two dimensions that predict it best, each alone.

    Kumar et al. 2018, arXiv:1711.00848, section 3: the score of a dimension is the balanced accuracy on `test` with thresholds
    from `train`. Here the thresholds are quantiles of the dimension that make 20 bins, and each bin predicts the value that is
    most frequent in it, with values weighted to be equally frequent. train and test are mu, (N, D).
    """
    scores = [
        [_accuracy_of_bins(train[:, j], values, test[:, j], test_factors[name]) for j in range(train.shape[1])]
        for name, values in train_factors.items()
    ]
    first, second = _two_largest(torch.tensor(scores, dtype=torch.float64))
    return float((first - second).mean())


def _accuracy_of_bins(train: Tensor, values: Tensor, test: Tensor, expected: Tensor) -> float:
    inner = torch.linspace(0, 1, BINS + 1, dtype=torch.float64, device=train.device)[1:-1]
    train, test = train.double().contiguous(), test.double().contiguous()
    edges = train.quantile(inner)
    count = int(max(values.max(), expected.max())) + 1
    seen = torch.zeros(BINS, count, dtype=torch.float64, device=train.device)
    place = torch.bucketize(train, edges)
    seen.index_put_((place, values), torch.ones_like(train), accumulate=True)
    told = (seen / seen.sum(0).clamp(min=1)).argmax(1)[torch.bucketize(test, edges)]
    return _balanced_accuracy(told, expected)


def _balanced_accuracy(told: Tensor, expected: Tensor) -> float:
    """Return the mean over the values of the share of their items that is predicted correctly."""
    right = (told == expected).double()
    return float(torch.stack([right[expected == value].mean() for value in expected.unique()]).mean())


def disentanglement(train: Tensor, train_factors: Factors, test: Tensor, test_factors: Factors) -> Disentanglement:
    """Return DCI (Eastwood & Williams 2018, ICLR, section 2) with L1-penalised multinomial logistic regression.

    The importance of a dimension for a factor is the mean over its values of |coefficient|, on mu scaled to variance 1.
    Disentanglement: 1 - entropy (base F) of a dimension's importances, weighted by its share of all importance;
    completeness: 1 - entropy (base D) of a factor's importances, mean; informativeness: balanced accuracy on `test`, mean.
    """
    center, spread = train.double().mean(0), train.double().std(0).clamp(min=1e-12)
    inputs, queries = (train.double() - center) / spread, (test.double() - center) / spread
    importance, accuracies = [], []
    for name, values in train_factors.items():
        weight, bias = sparse_logistic(inputs, values)
        importance.append(weight.abs().mean(1))
        accuracies.append(_balanced_accuracy((queries @ weight + bias).argmax(1), test_factors[name]))
    r = torch.stack(importance)  # (F, D)
    return Disentanglement(*_order(r), sum(accuracies) / len(accuracies))


def _order(importance: Tensor) -> tuple[float, float]:
    """Return disentanglement and completeness for importances (F, D)."""
    factors, dims = importance.shape
    of_dim = importance / importance.sum(0).clamp(min=1e-12)  # each dimension's share for each factor
    of_factor = importance / importance.sum(1, keepdim=True).clamp(min=1e-12)
    share = importance.sum(0) / importance.sum().clamp(min=1e-12)
    apart = 1 + torch.special.xlogy(of_dim, of_dim).sum(0) / math.log(max(factors, 2))
    whole = 1 + torch.special.xlogy(of_factor, of_factor).sum(1) / math.log(max(dims, 2))
    return float((share * apart).sum()), float(whole.mean())


def sparse_logistic(inputs: Tensor, values: Tensor, penalty: float = PENALTY) -> tuple[Tensor, Tensor]:
    """Return weights (D, V) and biases (V,) that minimise the mean cross-entropy + penalty sum |weight|.

    Accelerated proximal gradient with restarts (Beck & Teboulle 2009, doi:10.1137/080716542); inputs float64 (N, D).
    """
    one_hot = torch.nn.functional.one_hot(values).to(inputs)  # (N, V)
    x = torch.cat([inputs, torch.ones_like(inputs[:, :1])], 1)
    rate = 2 / float(torch.linalg.matrix_norm(x, 2).square() / len(x))  # The curvature of softmax is at most 1/2.
    w = x.new_zeros(x.shape[1], one_hot.shape[1])
    ahead, momentum = w, 1.0
    for _ in range(MAX_STEPS):
        gradient = x.T @ (torch.softmax(x @ ahead, 1) - one_hot) / len(x)
        moved = ahead - rate * gradient
        shrunk = moved.sign() * (moved.abs() - rate * penalty).clamp(min=0)
        after = torch.cat([shrunk[:-1], moved[-1:]])  # The bias is not penalised.
        if float(((ahead - after) * (after - w)).sum()) > 0:
            momentum = 1.0
        following = 0.5 * (1 + math.sqrt(1 + 4 * momentum**2))
        ahead = after + (momentum - 1) / following * (after - w)
        change = float((after - w).abs().max())
        w, momentum = after, following
        if change < 1e-7:
            break
    return w[:-1], w[-1]


def _two_largest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest and second largest of each row of (F, D); with D = 1 the second is 0."""
    padded = torch.cat([scores, torch.zeros_like(scores[:, :1])], 1) if scores.shape[1] == 1 else scores
    top = padded.topk(2, dim=1).values
    return top[:, 0], top[:, 1]


def _entropy(values: Tensor) -> Tensor:
    share = torch.bincount(values).double() / len(values)
    entropy: Tensor = -torch.special.xlogy(share, share).sum().cpu()
    return entropy


def report_rows(metrics: Mapping[str, Any]) -> list[str]:
    """Return the rows of a report, as HTML; [] without factors."""
    if "factors" not in metrics:
        return []
    protocol = metrics["protocol"]
    return [
        row("MIG", number(metrics, "factors.mig", 3), protocol["factors"]),
        row("SAP", number(metrics, "factors.sap", 3), "factors: " + ", ".join(metrics["factors"]["names"])),
        row("DCI disentanglement", number(metrics, "factors.dci_disentanglement", 3), "a dimension predicts one factor"),
        row("DCI completeness", number(metrics, "factors.dci_completeness", 3), "a factor is predicted by one dimension"),
        row("DCI informativeness", number(metrics, "factors.dci_informativeness", 3), "balanced accuracy"),
    ]
