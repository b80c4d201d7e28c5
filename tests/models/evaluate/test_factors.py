"""MIG, SAP and DCI: against values known from how the latents were made, and against direct sums and solvers."""

import math

import pytest
import torch
from torch import Tensor

from models.distributions import DiagonalGaussian
from models.evaluate.factors import (
    attribute_gap,
    constant,
    disentanglement,
    information_of_dimensions,
    mutual_information_gap,
    sparse_logistic,
)

Factors = dict[str, Tensor]


def design(repeats: int = 40) -> tuple[Tensor, Factors]:
    """Every combination of factors of 2, 3 and 4 values, `repeats` times; (N, 3) of their values."""
    values = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(4)).repeat(repeats, 1)
    return values.double(), {"two": values[:, 0], "three": values[:, 1], "four": values[:, 2]}


def narrow(mu: Tensor) -> DiagonalGaussian:
    return DiagonalGaussian(mu, torch.full_like(mu, -6.0))


class TestMig:
    def test_a_dimension_a_factor_gives_one(self) -> None:
        mu, factors = design()
        posterior = narrow(torch.cat([10 * mu, torch.zeros(len(mu), 1)], 1))
        information, entropy = information_of_dimensions(posterior, factors, torch.randn(len(mu), 4))
        expected = torch.zeros(3, 4, dtype=torch.float64)
        for j, count in enumerate((2, 3, 4)):
            expected[j, j] = math.log(count)
        torch.testing.assert_close(information, expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(entropy, expected.diagonal())
        assert mutual_information_gap(posterior, factors, torch.randn(len(mu), 4)) == pytest.approx(1)

    def test_two_dimensions_for_the_same_factor_give_nothing(self) -> None:
        mu, factors = design()
        twice = narrow(10 * torch.cat([mu, mu], 1))
        assert mutual_information_gap(twice, factors, torch.randn(len(mu), 6)) == pytest.approx(0, abs=1e-6)

    def test_a_factor_that_does_not_vary_is_left_out(self) -> None:
        mu, factors = design(4)
        posterior, eps = narrow(10 * mu), torch.randn(len(mu), 3)
        same = {"same": torch.full((len(mu),), 2)}
        assert mutual_information_gap(posterior, factors | same, eps) == mutual_information_gap(posterior, factors, eps)
        assert constant(factors | same) == ["same"]
        assert math.isnan(mutual_information_gap(posterior, same, eps))

    def test_of_a_noisy_dimension_it_is_the_integral(self) -> None:
        """I(z; v) of v in {0, 1}, z ~ N(v, 0.7^2), by a sum over a fine grid."""
        v = torch.arange(2).repeat(1000)
        posterior = DiagonalGaussian(v[:, None].double(), torch.full((2000, 1), 2 * math.log(0.7)).double())
        grid = torch.linspace(-6, 7, 10_001, dtype=torch.float64)
        q = torch.exp(-0.5 * ((grid - torch.tensor([[0.0], [1.0]])) / 0.7) ** 2) / (0.7 * math.sqrt(2 * math.pi))
        exact = float(torch.xlogy(q, q / q.mean(0)).sum(1).mean() * (grid[1] - grid[0]))
        information, _ = information_of_dimensions(posterior, {"v": v}, torch.randn(2000, 1))
        assert float(information) == pytest.approx(exact, abs=0.03)
        # with no second dimension the gap is all of it
        assert mutual_information_gap(posterior, {"v": v}, torch.randn(2000, 1)) == pytest.approx(
            exact / math.log(2), abs=0.04
        )


class TestSap:
    def test_a_dimension_a_factor_gives_one_less_chance(self) -> None:
        """The second dimension knows nothing of the factor: in bins of equal counts its accuracy is chance, 1 / values."""
        mu, factors = design()
        found = attribute_gap(mu, factors, mu, factors)
        assert found == pytest.approx((1 - 1 / 2 + 1 - 1 / 3 + 1 - 1 / 4) / 3, abs=1e-9)

    def test_two_dimensions_for_the_same_factor_give_nothing(self) -> None:
        mu, factors = design()
        both = torch.cat([mu, -mu], 1)
        assert attribute_gap(both, factors, both, factors) == pytest.approx(0, abs=1e-9)

    def test_values_count_equally_however_rare(self) -> None:
        """One in ten is of value 1, told apart at 0: thresholds by counts alone would always say 0."""
        v = (torch.arange(4000) % 10 == 0).long()
        z = torch.randn(4000, 1, dtype=torch.float64) + 2.0 * v[:, None]
        found = attribute_gap(z, {"v": v}, z, {"v": v})
        assert found == pytest.approx(0.5 * (1 + math.erf(1 / math.sqrt(2))), abs=0.02)  # Phi(1), the best there is


class TestDci:
    def test_a_dimension_a_factor_gives_one(self) -> None:
        mu, factors = design()
        spread = torch.cat([mu, torch.randn(len(mu), 2, dtype=torch.float64)], 1)
        found = disentanglement(spread, factors, spread, factors)
        assert found.disentanglement > 0.97
        assert found.completeness > 0.97

    def test_of_mixed_dimensions_less(self) -> None:
        mu, factors = design()
        mixed = (mu - mu.mean(0)) / mu.std(0) @ torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
        straight = disentanglement(mu, factors, mu, factors)
        turned = disentanglement(mixed, factors, mixed, factors)
        assert turned.disentanglement < straight.disentanglement - 0.3
        assert turned.completeness < straight.completeness - 0.3

    def test_of_noise_the_accuracy_is_chance(self) -> None:
        _, factors = design()
        noise = torch.randn(len(factors["two"]), 3)
        found = disentanglement(noise, factors, torch.randn(len(noise), 3), factors)
        assert found.informativeness == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3, abs=0.05)

    def test_two_values_told_by_a_line_are_told_right(self) -> None:
        mu, factors = design()
        found = disentanglement(mu, {"two": factors["two"]}, mu, {"two": factors["two"]})
        assert found.informativeness == 1

    def test_the_probe_is_at_its_optimum(self) -> None:
        """|gradient| is the penalty where a weight is not 0, at most the penalty where it is, and 0 for the bias."""
        inputs = torch.randn(300, 6, dtype=torch.float64)
        values = (inputs[:, 0] + 0.3 * torch.randn(300) > 0).long() + (inputs[:, 1] > 1).long()
        weight, bias = sparse_logistic(inputs, values, penalty=0.02)
        error = torch.softmax(inputs @ weight + bias, 1) - torch.nn.functional.one_hot(values)
        gradient = inputs.T @ error / 300
        used = weight.abs() > 1e-9
        assert used.any()
        assert not used.all()
        torch.testing.assert_close(gradient[used], -0.02 * weight[used].sign(), rtol=0, atol=1e-4)
        assert float(gradient[~used].abs().max()) <= 0.02 + 1e-4
        torch.testing.assert_close(error.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-4)
