"""The distance for searches: what is chosen, on data for which the answer is known, and what config.json may say of it."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models import metric_choice
from models.distributions import DiagonalGaussian
from models.metric_choice import MetricChoice, accuracy, choose, distance_of, encoded, majority, nearest_labels
from models.vae import VAE, VAEConfig
from service.latents.distances import MAX_SIGMA_WEIGHT, METRICS


def gaussians(mu: Tensor, sigma: Tensor) -> DiagonalGaussian:
    return DiagonalGaussian(mu, 2 * sigma.log())


def labelled(rows: int, seed: int, spread: float, scale: float = 1.0) -> tuple[DiagonalGaussian, Tensor]:
    """Five classes whose means are of some use, and whose sigmas tell them apart if their differences count `spread` times."""
    noise = torch.Generator().manual_seed(seed)
    labels = torch.randint(5, (rows,), generator=noise)
    mu = 0.4 * torch.eye(5)[labels] + torch.randn(rows, 5, generator=noise)
    sigma = 0.5 + spread * torch.eye(5)[labels] + 0.01 * torch.rand(rows, 5, generator=noise)
    return gaussians(mu * scale, sigma), labels


def test_sigma_counts_where_it_says_the_label() -> None:
    references, labels = labelled(600, 0, 0.2)
    queries, known = labelled(300, 1, 0.2)
    best = choose(references, labels, queries, known)
    assert (best.metric, best.sigma_weight) == ("w2", 8.0)
    found = accuracy(distance_of(best), references, labels, queries, known)
    plain = accuracy(distance_of(MetricChoice()), references, labels, queries, known)
    assert found > 0.9 > plain
    shares = [
        100 * float((nearest_labels(distance_of(one), references, labels, queries) == known[:, None]).double().mean())
        for one in (best, MetricChoice())
    ]
    assert best.chosen_by == (
        "the labels of the 5 nearest of 600 training pictures to each of 300 validation pictures: "
        f"{shares[0]:.2f} % are right, with l2 {shares[1]:.2f} %"
    )


def test_l2_stays_where_nothing_is_better() -> None:
    (references, labels), (queries, known) = (labelled(600, seed, 0.0) for seed in (0, 1))
    same = torch.full_like(references.mu, 0.5)
    best = choose(gaussians(references.mu, same), labels, gaussians(queries.mu[:300], same[:300]), known[:300])
    assert best.metric in ("l2", "cosine")
    apart = 100 * torch.eye(5)[labels] + 0.01 * torch.randn(600, 5, generator=torch.Generator().manual_seed(0))
    best = choose(gaussians(apart, same), labels, gaussians(apart[:300], same[:300]), labels[:300])
    assert (best.metric, best.sigma_weight) == ("l2", 1.0)  # All are right, and the first one wins.
    assert best.chosen_by.endswith("300 validation pictures: 100.00 % are right")


def test_directions_count_where_lengths_mean_nothing() -> None:
    noise = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 5
    lengths = torch.rand(600, 1, generator=noise).mul(6).exp()
    mu = lengths * (torch.eye(5)[labels] + 0.3 * torch.randn(600, 5, generator=noise))
    posterior = gaussians(mu, 0.5 + torch.rand(600, 5, generator=noise))
    parts = [DiagonalGaussian(posterior.mu[rows], posterior.logvar[rows]) for rows in (slice(300), slice(300, None))]
    assert choose(parts[0], labels[:300], parts[1], labels[300:]).metric == "cosine"


def test_few_validation_pictures_are_compared_with_one_left_out() -> None:
    references, labels = labelled(600, 0, 0.2)
    queries, known = labelled(199, 1, 0.2)
    best = choose(references, labels, queries, known)
    assert (best.metric, best.sigma_weight) == ("w2", 8.0)
    assert best.chosen_by.startswith(
        "the labels of the 5 nearest of 798 other pictures of training and validation to each of 799 (leave-one-out): "
    )
    assert "; only 199 are for validation, fewer than 200, so the model was trained on most of the queries" in best.chosen_by
    mu, sigma = (torch.cat([getattr(one, name) for one in (queries, references)]) for name in ("mu", "sigma"))
    every, hits = torch.cat([known, labels]), 0
    for i in range(799):  # Its own label would be right each time.
        away = ((mu - mu[i]).double().square() + 64 * (sigma - sigma[i]).double().square()).sum(1)
        away[i] = torch.inf
        hits += int((every[away.argsort()[:5]] == every[i]).sum())
    assert f": {100 * hits / (5 * 799):.2f} % are right, with l2" in best.chosen_by


def test_of_many_pictures_some_are_left_out_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_choice, "MOST_QUERIES", 300)
    (references, labels), (queries, known) = (labelled(rows, seed, 0.2) for rows, seed in ((600, 0), (100, 1)))
    assert (
        "of 699 other pictures of training and validation to each of 234 ("
        in choose(references, labels, queries, known).chosen_by
    )


def test_few_pictures_choose_nothing() -> None:
    (references, labels), (queries, known) = (labelled(rows, seed, 0.2) for rows, seed in ((150, 0), (49, 1)))
    with pytest.raises(ValueError, match="there are 199 pictures with labels, and at least 200 are needed; more of them"):
        choose(references, labels, queries, known)


def test_a_single_label_chooses_nothing() -> None:
    references, labels = labelled(600, 0, 0.2)
    with pytest.raises(ValueError, match="all pictures have the same label"):
        choose(references, torch.ones_like(labels), references, torch.ones_like(labels))
    with pytest.raises(ValueError, match="all pictures have the same label"):  # More pictures would not help.
        choose(references, torch.ones_like(labels), references, torch.ones(5, dtype=torch.long))


def test_distances_order_as_those_of_the_service() -> None:
    noise = torch.Generator().manual_seed(0)
    mu, sigma = torch.randn(60, 3, generator=noise).double(), torch.rand(60, 3, generator=noise).double() + 0.1
    posterior = gaussians(mu, sigma)
    queries = DiagonalGaussian(posterior.mu[:4], posterior.logvar[:4])
    for choice in (MetricChoice(), MetricChoice("cosine"), MetricChoice("w2"), MetricChoice("w2", 2.5)):
        found = distance_of(choice)(queries, posterior)
        rank = METRICS[choice.metric].rank
        for i in range(4):
            own = mu[i].numpy(), choice.sigma_weight * sigma[i].numpy()
            wanted = rank(*own, mu.numpy(), choice.sigma_weight * sigma.numpy())
            assert found[i].argsort().tolist() == torch.from_numpy(wanted).argsort().tolist()


def test_accuracy_is_that_of_a_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    references, labels = labelled(80, 0, 0.1)
    queries, known = labelled(30, 1, 0.1)
    hits = 0
    for i in range(30):
        distances = (references.mu.double() - queries.mu[i].double()).square().sum(1)
        votes = labels[distances.argsort()[:5]].tolist()
        hits += max(votes, key=votes.count) == known[i]
    for block in (7, 250):
        monkeypatch.setattr(metric_choice, "BLOCK", block)
        assert accuracy(distance_of(MetricChoice()), references, labels, queries, known) == hits / 30


def test_a_tie_goes_to_the_nearest() -> None:
    rows = torch.tensor([[3, 1, 1, 2, 2], [2, 1, 1, 2, 2], [5, 4, 3, 2, 1]])
    assert majority(rows).tolist() == [1, 2, 5]


def test_posteriors_are_those_of_the_model_in_blocks() -> None:
    torch.manual_seed(0)
    vae = VAE(VAEConfig((1, 4, 4), 3, "mlp", {"hidden": [8]})).eval()
    x = torch.randint(256, (1030, 1, 4, 4), dtype=torch.uint8)
    with torch.no_grad():
        whole = vae.encode(x)
    torch.testing.assert_close(encoded(vae, x).mu, whole.mu)
    torch.testing.assert_close(encoded(vae, x).sigma, whole.sigma)


BAD: list[dict[str, Any]] = [
    {"metric": "jeffreys"},
    {"metric": ["l2"]},
    {"metric": None},
    *({"metric": "w2", "sigma_weight": weight} for weight in (0, -1, math.nan, math.inf, 1001, "1", None, True, [1])),
    {"metric": "l2", "sigma_weight": 2},
    {"metric": "cosine", "sigma_weight": 0.5},
    {"chosen_by": 7},
    {"chosen_by": "x" * 1001},
]


@pytest.mark.parametrize("fields", BAD)
def test_what_a_choice_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|only w2"):
        MetricChoice(**fields)


def test_the_service_takes_every_choice() -> None:
    assert set(metric_choice.METRICS) <= set(METRICS)
    assert max(metric_choice.WEIGHTS) < metric_choice.MAX_WEIGHT == MAX_SIGMA_WEIGHT
    for metric, weight in itertools.product(metric_choice.METRICS, (1.0, 1000)):
        if metric == "w2" or weight == 1:
            assert str(MetricChoice(metric, weight)).startswith(metric)
