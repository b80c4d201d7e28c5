"""The density of a set of posteriors, against PyTorch's mixture and sums written from the definition."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from service.latents.density import (
    Components,
    NoDensity,
    check_widths,
    log_density,
    nearest_distances,
    sample_of,
)

RNG = np.random.default_rng(0)
N, DIM = 9000, 20  # several blocks
MU = RNG.standard_normal((N, DIM)).astype(np.float32)
SIGMA = RNG.uniform(0.05, 1, (N, DIM)).astype(np.float32)
POINTS = RNG.standard_normal((7, DIM)).astype(np.float32)


def reference(
    mu: NDArray[np.float32], sigma: NDArray[np.float32], h: float, points: NDArray[np.float32]
) -> NDArray[np.float64]:
    of, spread, z = (torch.tensor(values).double() for values in (mu, sigma, points))
    parts = Independent(Normal(of, (spread**2 + h**2).sqrt()), 1)
    found: NDArray[np.float64] = MixtureSameFamily(Categorical(torch.ones(len(mu)).double()), parts).log_prob(z).numpy()
    return found


@pytest.mark.parametrize("h", [0.0, 0.3, 50.0])
def test_it_is_the_mixture(h: float) -> None:
    values, nearest = log_density(POINTS, Components(MU, SIGMA, h), [-1] * len(POINTS), 3)
    np.testing.assert_allclose(values, reference(MU, SIGMA, h, POINTS), rtol=0, atol=1e-8)
    squares = np.square(MU.astype(np.float64) - POINTS[:, None].astype(np.float64)).sum(axis=2)
    assert np.array_equal(nearest, np.argsort(squares, axis=1, kind="stable")[:, :3])


def test_one_is_left_out() -> None:
    row = 5000
    values, nearest = log_density(MU[[row]], Components(MU, SIGMA, 0.3), [row], 2)
    others = np.arange(N) != row
    np.testing.assert_allclose(values, reference(MU[others], SIGMA[others], 0.3, MU[[row]]), rtol=0, atol=1e-8)
    assert row not in nearest


def test_a_point_does_not_depend_on_the_others() -> None:
    components = Components(MU, SIGMA, 0.2)
    together, _ = log_density(POINTS, components, [-1] * len(POINTS))
    alone = [log_density(POINTS[[i]], components, [-1])[0][0] for i in range(len(POINTS))]
    assert together.tolist() == alone


def test_without_any_component_there_is_none() -> None:
    nothing = Components(MU[:0], SIGMA[:0], 1.0)
    values, nearest = log_density(POINTS[:2], nothing, [-1, -1], 2)
    assert values.tolist() == [-np.inf, -np.inf]
    assert nearest.tolist() == [[-1, -1], [-1, -1]]
    values, _ = log_density(POINTS[:1], Components(MU[:1], SIGMA[:1], 1.0), [0])
    assert values.tolist() == [-np.inf]


def test_numbers_of_any_size() -> None:
    mu = np.array([[0, 0], [3e38, -3e38]], np.float32)
    sigma = np.array([[1e-38, 1e-38], [1e38, 1e38]], np.float32)
    values, nearest = log_density(mu, Components(mu, sigma, 0.0), [-1, -1], 2)
    assert not np.isnan(values).any()
    assert nearest.tolist() == [[0, 1], [1, 0]]
    far, _ = log_density(mu[1:], Components(mu[:1], sigma[:1], 1e-150), [-1])
    assert far[0] == -np.inf or np.isfinite(far[0])


def test_ties_are_ordered_by_row() -> None:
    _, nearest = log_density(POINTS[:1], Components(np.zeros((N, DIM), np.float32), SIGMA, 0.3), [1], 4)
    assert nearest.tolist() == [[0, 2, 3, 4]]


def test_components_without_width_are_refused() -> None:
    points = np.zeros((2, 3), np.float32)
    with pytest.raises(NoDensity, match=r"1 of 2 items have no sigma.*; state a larger bandwidth, or leave .* by a filter"):
        check_widths(points, np.array([True, False]), 0.0, "auto")
    with pytest.raises(NoDensity, match=r"; state bandwidth=auto or a larger bandwidth$"):
        check_widths(points, np.array([True, False]), 0.0, "as stated", filtered=False)
    with pytest.raises(NoDensity, match="sigma of 0"):
        check_widths(points, np.array([True, True]), 0.0, "as stated")
    check_widths(points, np.array([True, False]), 0.1, "auto")
    check_widths(points[:0], np.empty(0, np.bool_), 0.0, "auto")


def test_distances_to_the_nearest() -> None:
    mu = MU[:300].copy()
    mu[7] = mu[3]
    rows = sample_of(300, 40)
    whole = np.sqrt(np.square(mu.astype(np.float64)[:, None] - mu.astype(np.float64)).sum(axis=2))
    np.fill_diagonal(whole, np.inf)
    np.testing.assert_allclose(nearest_distances(mu, rows), whole.min(axis=1)[rows], rtol=1e-12)
    assert nearest_distances(mu, np.array([3, 7])).tolist() == [0.0, 0.0]


def test_samples_are_spread_and_all_of_few() -> None:
    assert sample_of(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert sample_of(0, 10).tolist() == []
    assert sample_of(100, 4).tolist() == [0, 25, 50, 75]
