"""5-NN accuracies by metric: the distances against those of the service, and the numbers beside each other."""

import numpy as np
import pytest
import torch

from models.data import Items
from models.distributions import DiagonalGaussian
from models.evaluate import neighbors
from models.metric_choice import MetricChoice
from service.latents.distances import METRICS

DISTANCES = {"jeffreys": neighbors.jeffreys, "bhattacharyya": neighbors.bhattacharyya, "fisher_rao": neighbors.fisher_rao}
NOISE = torch.Generator().manual_seed(0)
POSTERIOR = DiagonalGaussian(torch.randn(300, 6, generator=NOISE).double(), torch.randn(300, 6, generator=NOISE).double() - 2)


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_grow_as_those_of_the_service(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mu, sigma = POSTERIOR.mu.numpy(), POSTERIOR.sigma.numpy()
    queries = DiagonalGaussian(POSTERIOR.mu[:7], POSTERIOR.logvar[:7])
    for block in (neighbors.BLOCK_NUMBERS, 7 * 40):
        monkeypatch.setattr(neighbors, "BLOCK_NUMBERS", block)
        found = DISTANCES[name](queries, POSTERIOR).double().numpy()
        found = {"jeffreys": found / 2, "bhattacharyya": found, "fisher_rao": np.sqrt(2 * np.abs(found))}[name]
        wanted = np.stack([METRICS[name].of_rank(METRICS[name].rank(mu[i], sigma[i], mu, sigma)) for i in range(7)])
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_every_metric_has_its_accuracy() -> None:
    labels = torch.arange(300) % 3
    apart = DiagonalGaussian(POSTERIOR.mu + 9 * torch.eye(6)[labels], POSTERIOR.logvar)
    queries = DiagonalGaussian(apart.mu[:40], apart.logvar[:40])
    found = neighbors.metric_numbers(MetricChoice("w2", 2.5), apart, labels, queries, labels[:40])
    assert found.keys() == {"chosen", *METRICS}
    assert found["chosen"] == found["l2"] == found["w2"] == 1.0
    assert all(0.3 < share <= 1 for share in found.values())
    weak = neighbors.metric_numbers(MetricChoice("w2", 1000.0), apart, labels, queries, labels[:40])
    assert weak["chosen"] < 1  # The means do not count any more.
    assert {**weak, "chosen": 1.0} == found


def test_pixels_are_compared_in_blocks(digits: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    assert digits.labels is not None
    flat = digits.x.flatten(1).numpy().astype(np.float64)
    hits = 0
    for i in range(200, 256):
        order = np.square(flat[:200] - flat[i]).sum(1).argsort(kind="stable")[:5]
        votes = digits.labels[order].tolist()
        hits += max(votes, key=votes.count) == digits.labels[i]
    for rows in (4096, 30):
        monkeypatch.setattr(neighbors, "PIXEL_ROWS", rows)
        found = neighbors.pixel_accuracy(digits.x[:200], digits.labels[:200], digits.x[200:], digits.labels[200:])
        assert found == hits / 56


def test_the_protocol_names_the_choice() -> None:
    words = neighbors.protocol(MetricChoice("w2", 2.5, "5-NN accuracy of 500"), "grey pixels", 60_000)
    assert "grey pixels; new collections are searched by w2 with sigma_weight 2.5, chosen by 5-NN accuracy of 500" in words
    assert neighbors.protocol(MetricChoice(), "grey pixels", 60_000).endswith("searched by l2")
