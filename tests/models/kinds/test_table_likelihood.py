"""The formulae for arrays agree with those in torch, and with scipy's; draws have the shares that they should have."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from models.cells import Cells, Layout
from models.kinds.column import Column
from models.kinds.table_likelihood import Parameters

COLUMNS = (
    Column("a", "number", mean=10, std=2, low=0, high=20, step=1),
    Column("b", "boolean", categories=("no", "yes")),
    Column("c", "category", categories=("x", "y", "z")),
    Column("d", "number", mean=0, std=1, low=0.1, high=9, scale="log"),
    Column("e", "category", categories=("p", "q")),
)
PARAMETERS = Parameters(COLUMNS)
NOISE = np.random.default_rng(0)
FLAT = NOISE.normal(size=(50, PARAMETERS.count)).astype(np.float32)
ROWS = np.stack([
    NOISE.normal(size=50), NOISE.integers(0, 2, 50), NOISE.integers(0, 3, 50), NOISE.normal(size=50), NOISE.integers(0, 2, 50)
], axis=1).astype(np.float32)  # fmt: skip
ROWS[NOISE.random(ROWS.shape) < 0.2] = np.nan


def cells() -> Cells:
    return Cells(torch.from_numpy(FLAT), Layout([column.cardinality for column in COLUMNS]))


def test_nats_are_those_of_torch() -> None:
    expected = cells().log_prob_per_column(torch.from_numpy(ROWS)).numpy()
    np.testing.assert_allclose(PARAMETERS.nats(FLAT, ROWS), expected, rtol=1e-4, atol=1e-5)
    assert (expected[np.isnan(ROWS)] == 0).all()
    np.testing.assert_allclose(cells().log_prob(torch.from_numpy(ROWS)), expected.sum(1), rtol=1e-5)


def test_nats_are_those_of_scipy() -> None:
    found = PARAMETERS.nats(FLAT, np.zeros((50, 5)))
    own = FLAT.astype(np.float64)
    np.testing.assert_allclose(found[:, 0], norm.logpdf(0, own[:, 0], np.exp(own[:, 1])))
    np.testing.assert_allclose(found[:, 1], np.log(1 / (1 + np.exp(own[:, 2]))))
    shares = np.exp(own[:, 3:6]) / np.exp(own[:, 3:6]).sum(1, keepdims=True)
    np.testing.assert_allclose(found[:, 2], np.log(shares[:, 0]))


def test_what_is_expected_is_that_of_torch_within_the_training_range() -> None:
    found, expected = PARAMETERS.expected(FLAT), cells().mean.numpy()
    inside = np.abs(expected[:, 0]) < 5
    np.testing.assert_array_equal(found[inside, 0], expected[inside, 0])
    np.testing.assert_array_equal(found[:, [1, 2, 4]], expected[:, [1, 2, 4]])
    far = np.full((1, PARAMETERS.count), 100, np.float32)
    assert PARAMETERS.expected(far)[0, 0] == 5  # 20 is five deviations from 10


def test_surprise_is_zero_at_the_most_likely_value() -> None:
    np.testing.assert_allclose(PARAMETERS.surprise(FLAT, cells().mean.numpy()), 0, atol=1e-6)
    found = PARAMETERS.surprise(FLAT, ROWS)
    assert (found[np.isnan(ROWS)] == 0).all()
    assert (found >= -1e-9).all()
    three_sigma = FLAT[:, :1] + 3 * np.exp(FLAT[:, 1:2])
    np.testing.assert_allclose(PARAMETERS.surprise(FLAT, np.repeat(three_sigma, 5, 1) * [1, 0, 0, 0, 0])[:, 0], 4.5, rtol=1e-5)


def test_draws_have_their_shares_and_are_whole_numbers() -> None:
    count = 20_000
    flat = np.repeat(FLAT[:1], count, 0)
    drawn = PARAMETERS.drawn(flat, np.random.default_rng(1).random((count, 5)))
    own = FLAT[0].astype(np.float64)
    raw = 10 + 2 * drawn[:, 0].astype(np.float64)
    np.testing.assert_allclose(raw, raw.round(), atol=1e-5)
    assert abs(drawn[:, 0].mean() - own[0]) < 0.05
    assert abs(drawn[:, 1].mean() - 1 / (1 + np.exp(-own[2]))) < 0.015
    shares = np.exp(own[3:6]) / np.exp(own[3:6]).sum()
    np.testing.assert_allclose(np.bincount(drawn[:, 2].astype(int), minlength=3) / count, shares, atol=0.015)


def test_draws_of_torch_have_the_same_shares() -> None:
    count = 20_000
    many = Cells(torch.from_numpy(FLAT[:1]).repeat(count, 1), Layout([column.cardinality for column in COLUMNS]))
    drawn = many.sample(torch.randn(count, 5, generator=torch.Generator().manual_seed(0))).numpy()
    own = FLAT[0].astype(np.float64)
    assert abs(drawn[:, 0].mean() - own[0]) < 0.05
    assert abs(drawn[:, 0].std() - np.exp(own[1])) < 0.05
    shares = np.exp(own[3:6]) / np.exp(own[3:6]).sum()
    np.testing.assert_allclose(np.bincount(drawn[:, 2].astype(int), minlength=3) / count, shares, atol=0.015)
    assert set(drawn[:, 4]) <= {0, 1}


def test_parameters_of_another_table_are_refused() -> None:
    with pytest.raises(ValueError, match=r"parameters must have the shape \(N, 10\), not \(2, 9\)"):
        PARAMETERS.expected(np.zeros((2, 9)))
