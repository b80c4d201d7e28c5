"""The symmetric KL of decoded distributions against torch.distributions."""

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.distributions import Distribution, Normal, kl_divergence

from models.distributions import Bernoulli, ContinuousBernoulli, Gaussian, Likelihood
from service.inference import decoded_length
from service.inference.decoded_length import lengths, natural_for

LOGITS = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (2, 4, 1, 3, 3)))
MEANS = torch.sigmoid(LOGITS)
SIGMA = torch.tensor(0.1, dtype=torch.float64)


@pytest.mark.parametrize(
    ("pair", "known"),
    [
        ([Bernoulli(one) for one in LOGITS], [TorchBernoulli(logits=one) for one in LOGITS]),
        ([ContinuousBernoulli(one) for one in LOGITS], [TorchContinuousBernoulli(logits=one) for one in LOGITS]),
        ([Gaussian(one, SIGMA) for one in MEANS], [Normal(one, SIGMA) for one in MEANS]),
    ],
)
def test_a_length_is_the_root_of_the_symmetric_kl(pair: list[Likelihood], known: list[Distribution]) -> None:
    first, second = (one.mean.reshape(4, 9).float().numpy() for one in pair)
    symmetric = kl_divergence(known[0], known[1]) + kl_divergence(known[1], known[0])
    found = lengths(natural_for(pair[0]), first, second)
    np.testing.assert_allclose(found, symmetric.reshape(4, 9).sum(1).sqrt().numpy(), rtol=1e-3)
    np.testing.assert_array_equal(lengths(natural_for(pair[0]), first, first), 0)


def test_blocks_of_rows_give_the_same_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = np.random.default_rng(0).random((2, 7, 9), np.float32)
    natural = natural_for(Bernoulli(torch.zeros(1)))
    whole = lengths(natural, first, second)
    monkeypatch.setattr(decoded_length, "BLOCK", 20)  # two rows
    np.testing.assert_array_equal(lengths(natural, first, second), whole)


def test_pixels_that_are_rounded_to_black_and_white_have_a_finite_length() -> None:
    black, white = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    assert np.isfinite(lengths(natural_for(Bernoulli(torch.zeros(1))), black, white)).all()
