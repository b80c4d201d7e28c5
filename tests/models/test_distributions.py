"""Distributions against torch's own, closed forms, numerical integration and Monte Carlo."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch import distributions as reference

from models.distributions import (
    SIGMA_FLOOR,
    Bernoulli,
    ContinuousBernoulli,
    DiagonalGaussian,
    Gaussian,
    GaussianLayer,
    OptimalGaussian,
    build_likelihood,
)
from models.kinds import KINDS

# both sides of where series take over from closed forms, and beyond what single precision resolves
LOGITS = [0.0, 1e-8, 1e-4, 9.99e-4, 1.01e-3, 0.03, 0.0999, 0.1001, 1.0, 5.0, 20.0, 50.0]
SIGNED_LOGITS = sorted({sign * logit for logit in LOGITS for sign in (-1, 1)})


def gaussian(rows: int = 4, dim: int = 3) -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(rows, dim, dtype=torch.double), torch.randn(rows, dim, dtype=torch.double))


def as_reference(q: DiagonalGaussian) -> reference.Distribution:
    return reference.Independent(reference.Normal(q.mu, q.sigma), 1)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.double)


def within_five_standard_errors(draws: Tensor, expected: Tensor | float) -> bool:
    """Of the mean over the first dimension: fails once in two million tries, and never for the seed of a passing test."""
    error = draws.std(0) / len(draws) ** 0.5
    return bool(((draws.mean(0) - expected).abs() <= 5 * error).all())


def pixel(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.double)


class TestDiagonalGaussian:
    def test_log_prob(self) -> None:
        q, z = gaussian(), normal(4, 3)
        torch.testing.assert_close(q.log_prob(z), as_reference(q).log_prob(z))

    def test_log_prob_of_many_draws_each(self) -> None:
        q, z = gaussian(), normal(7, 4, 3)
        torch.testing.assert_close(q.log_prob(z), as_reference(q).log_prob(z))

    def test_kl(self) -> None:
        q, p = gaussian(), gaussian()
        torch.testing.assert_close(q.kl(p), reference.kl_divergence(as_reference(q), as_reference(p)))
        torch.testing.assert_close(q.kl_per_dim(p).sum(-1), q.kl(p))

    def test_kl_against_the_prior(self) -> None:
        q = gaussian()
        expected = 0.5 * (q.mu**2 + q.sigma**2 - 1 - torch.log(q.sigma**2)).sum(-1)
        torch.testing.assert_close(q.kl(DiagonalGaussian.standard(q.mu)), expected)

    def test_kl_is_the_expected_log_ratio(self) -> None:
        q, p = gaussian(), gaussian()
        z = q.sample(normal(100_000, 4, 3))
        assert within_five_standard_errors(q.log_prob(z) - p.log_prob(z), q.kl(p))

    @settings(deadline=None)
    @given(st.lists(st.tuples(*[st.floats(-10, 10)] * 4), min_size=1, max_size=8))
    def test_kl_is_zero_to_itself_and_positive_to_others(self, parameters: list[tuple[float, ...]]) -> None:
        q_mu, q_logvar, p_mu, p_logvar = torch.tensor(parameters, dtype=torch.double).T
        q, p = DiagonalGaussian(q_mu, q_logvar), DiagonalGaussian(p_mu, p_logvar)
        assert q.kl(q).abs() < 1e-9
        assert (q.kl_per_dim(p) >= -1e-9).all()

    def test_sample_is_reparameterised(self) -> None:
        q, eps = gaussian(), normal(4, 3)
        torch.testing.assert_close((q.sample(eps) - q.mu) / q.sigma, eps)
        draws = q.sample(normal(50_000, 4, 3))
        assert within_five_standard_errors(draws, q.mu)
        assert within_five_standard_errors((draws - q.mu) ** 2, q.sigma**2)

    def test_standard_is_like_its_argument(self) -> None:
        prior = DiagonalGaussian.standard(normal(2, 5))
        assert prior.mu.shape == prior.sigma.shape == (2, 5)
        assert prior.mu.dtype == torch.double
        assert prior.mu.eq(0).all()
        assert prior.sigma.eq(1).all()


class TestBernoulli:
    def test_against_torch(self) -> None:
        logits = 3 * normal(5, 3, 2, 4)
        x = torch.bernoulli(torch.rand_like(logits))
        expected = reference.Independent(reference.Bernoulli(logits=logits), 3)
        torch.testing.assert_close(Bernoulli(logits).log_prob(x), expected.log_prob(x))
        torch.testing.assert_close(Bernoulli(logits).mean, expected.mean)

    @pytest.mark.parametrize("size", [50.0, 1e4])
    def test_certain_pixels_stay_finite(self, size: float) -> None:
        logits = torch.tensor([[[[-size, size]]]], requires_grad=True)
        right, wrong = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
        assert Bernoulli(logits).log_prob(right).item() == pytest.approx(0)
        loss = -Bernoulli(logits).log_prob(wrong)
        assert loss.item() == pytest.approx(2 * size)
        loss.backward()
        assert logits.grad is not None
        assert logits.grad.flatten().tolist() == pytest.approx([-1, 1])

    def test_samples_are_bits_as_frequent_as_the_mean_says(self) -> None:
        p = Bernoulli(torch.linspace(-4, 4, 9).double().expand(40_000, 1, 1, 9))
        drawn = p.sample(torch.randn_like(p.logits))
        assert set(drawn.unique().tolist()) == {0.0, 1.0}
        assert within_five_standard_errors(drawn, p.mean[0])


class TestContinuousBernoulli:
    @pytest.mark.parametrize("logit", SIGNED_LOGITS)
    def test_is_a_density_with_that_mean(self, logit: float) -> None:
        nodes, weights = np.polynomial.legendre.leggauss(200)
        x, weight = torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
        density = ContinuousBernoulli(pixel(logit).expand(200, 1, 1, 1)).log_prob(x.view(-1, 1, 1, 1)).exp()
        assert float((weight * density).sum()) == pytest.approx(1, abs=1e-9)
        assert float((weight * density * x).sum()) == pytest.approx(ContinuousBernoulli(pixel(logit)).mean.item(), abs=1e-9)

    @pytest.mark.parametrize("logit", [logit for logit in SIGNED_LOGITS if abs(logit) < 30])  # torch clamps beyond
    def test_against_torch(self, logit: float) -> None:
        ours, theirs = ContinuousBernoulli(pixel(logit)), reference.ContinuousBernoulli(logits=pixel(logit))
        torch.testing.assert_close(ours.mean, theirs.mean, atol=1e-6, rtol=0)
        for x in (0.0, 0.2, 0.5, 1.0):
            torch.testing.assert_close(ours.log_prob(pixel(x)), theirs.log_prob(pixel(x)).flatten(), atol=1e-6, rtol=0)

    def test_pixels_are_summed(self) -> None:
        logits, x = 3 * normal(5, 3, 2, 4), torch.rand(5, 3, 2, 4, dtype=torch.double)
        expected = reference.Independent(reference.ContinuousBernoulli(logits=logits), 3).log_prob(x)
        torch.testing.assert_close(ContinuousBernoulli(logits).log_prob(x), expected)

    @pytest.mark.parametrize("logit", SIGNED_LOGITS)
    def test_sample_inverts_the_distribution_function(self, logit: float) -> None:
        eps = torch.linspace(-3, 3, 25, dtype=torch.double).view(-1, 1, 1, 1)
        drawn = ContinuousBernoulli(pixel(logit).expand_as(eps)).sample(eps)
        cdf = torch.expm1(logit * drawn) / math.expm1(logit) if logit else drawn
        torch.testing.assert_close(cdf, torch.special.ndtr(eps), atol=1e-6, rtol=0)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_samples_stay_in_the_unit_interval(self, dtype: torch.dtype) -> None:
        logits = torch.tensor([*SIGNED_LOGITS, -1e4, 1e4], dtype=dtype).view(-1, 1, 1, 1)
        for size in (-40.0, -5.0, 0.0, 5.0, 40.0):
            drawn = ContinuousBernoulli(logits).sample(torch.full_like(logits, size))
            assert ((drawn >= 0) & (drawn <= 1)).all()

    def test_samples_have_the_mean(self) -> None:
        p = ContinuousBernoulli(torch.linspace(-9, 9, 9).double().expand(40_000, 1, 1, 9))
        assert within_five_standard_errors(p.sample(torch.randn_like(p.logits)), p.mean[0])

    @pytest.mark.parametrize("logit", [*SIGNED_LOGITS, -1e4, 1e4])
    def test_single_precision_is_close_and_gradients_are_finite(self, logit: float) -> None:
        single, double = torch.full((1, 1, 1, 1), logit, requires_grad=True), pixel(logit)
        ours, exact = ContinuousBernoulli(single), ContinuousBernoulli(double)
        torch.testing.assert_close(ours.mean.double(), exact.mean, atol=3e-6, rtol=0)
        torch.testing.assert_close(ours.log_normalizer.double(), exact.log_normalizer, atol=1e-6, rtol=1e-6)
        (ours.log_prob(torch.full((1, 1, 1, 1), 0.3)).sum() + ours.mean.sum()).backward()
        assert single.grad is not None
        assert torch.isfinite(single.grad).all()

    @pytest.mark.parametrize("quantity", [lambda p: p.log_prob(pixel(0.3)), lambda p: p.mean], ids=["log_prob", "mean"])
    @pytest.mark.parametrize("logit", [-20.0, -0.2, -0.05, 0.0, 0.05, 0.2, 20.0])
    def test_gradients(self, logit: float, quantity: Callable[[ContinuousBernoulli], Tensor]) -> None:
        def of_logits(logits: Tensor) -> Tensor:
            return quantity(ContinuousBernoulli(logits))

        assert torch.autograd.gradcheck(of_logits, pixel(logit).requires_grad_())


class TestGaussian:
    def test_against_torch(self) -> None:
        mean, x, eps = normal(5, 3, 2, 4), normal(5, 3, 2, 4), normal(5, 3, 2, 4)
        p = Gaussian(mean, torch.tensor(0.3, dtype=torch.double))
        torch.testing.assert_close(p.log_prob(x), reference.Independent(reference.Normal(mean, 0.3), 3).log_prob(x))
        torch.testing.assert_close(p.sample(eps), mean + 0.3 * eps)

    def test_mean_of_the_layer_is_the_sigmoid(self) -> None:
        output = normal(2, 1, 3, 3)
        torch.testing.assert_close(GaussianLayer(0.5)(output).mean, torch.sigmoid(output))

    @pytest.mark.parametrize("sigma", [SIGMA_FLOOR, 0.5, 1, 7.0])
    def test_fixed_sigma_is_not_a_weight(self, sigma: float) -> None:
        layer = GaussianLayer(sigma)
        assert layer(torch.zeros(1, 1, 2, 2)).sigma.item() == pytest.approx(sigma)
        assert not list(layer.parameters())
        assert not layer.state_dict()

    def test_learned_sigma_is_a_parameter_with_a_floor(self) -> None:
        layer = GaussianLayer("learned")
        x = torch.rand(8, 1, 4, 4)
        (-layer(torch.zeros_like(x)).log_prob(x)).sum().backward()
        assert layer.log_sigma.grad is not None
        assert layer.log_sigma.grad > 0  # 1 is more than the spread of pixels
        layer.log_sigma.data.fill_(-100.0)
        assert layer(torch.zeros_like(x)).sigma.item() == pytest.approx(SIGMA_FLOOR)
        assert torch.isfinite(layer(torch.zeros_like(x)).log_prob(x)).all()

    @pytest.mark.parametrize("sigma", [0.0, -1.0, SIGMA_FLOOR / 2, math.inf, math.nan, "best", None, [1.0]])
    def test_other_sigmas_are_refused(self, sigma: object) -> None:
        with pytest.raises(ValueError, match="sigma must be"):
            GaussianLayer(sigma)  # type: ignore[arg-type]


class TestOptimalSigma:
    def test_is_the_closed_form_in_training(self) -> None:
        layer, output, x = GaussianLayer("optimal"), torch.randn(6, 3, 4, 4), torch.rand(6, 3, 4, 4)
        mse = ((x - torch.sigmoid(output)) ** 2).mean()
        expected = -0.5 * 3 * 4 * 4 * (torch.log(2 * math.pi * mse) + 1)
        torch.testing.assert_close(layer(output).log_prob(x).mean(), expected)

    @settings(deadline=None)
    @given(st.floats(SIGMA_FLOOR, 3))
    def test_no_fixed_sigma_is_better(self, sigma: float) -> None:
        generator = torch.Generator().manual_seed(1)
        output, x = torch.randn(6, 1, 4, 4, generator=generator), torch.rand(6, 1, 4, 4, generator=generator)
        best = GaussianLayer("optimal")(output).log_prob(x).mean()
        assert best >= GaussianLayer(sigma)(output).log_prob(x).mean() - 1e-4

    def test_running_variance_is_what_evaluation_uses(self) -> None:
        layer, output, x = GaussianLayer("optimal"), torch.randn(6, 1, 4, 4), torch.rand(6, 1, 4, 4)
        mse = ((x - torch.sigmoid(output)) ** 2).mean()
        layer(output).log_prob(x)
        torch.testing.assert_close(layer.variance, torch.lerp(torch.ones(()), mse, OptimalGaussian.momentum))
        for _ in range(400):
            layer(output).log_prob(x)
        torch.testing.assert_close(layer.variance, mse)
        torch.testing.assert_close(layer(output).sigma, mse.sqrt())
        layer.eval()
        torch.testing.assert_close(layer(output).sigma, mse.sqrt())

    def test_evaluation_neither_learns_nor_looks_at_batch_mates(self) -> None:
        layer, output, x = GaussianLayer("optimal").eval(), torch.randn(6, 1, 4, 4), torch.rand(6, 1, 4, 4)
        together = layer(output).log_prob(x)
        torch.testing.assert_close(torch.cat([layer(output[i : i + 1]).log_prob(x[i : i + 1]) for i in range(6)]), together)
        assert layer.variance.item() == 1

    def test_a_perfect_reconstruction_meets_the_floor(self) -> None:
        layer, output = GaussianLayer("optimal"), torch.zeros(2, 1, 4, 4, requires_grad=True)
        x = torch.full((2, 1, 4, 4), 0.5)
        log_prob = layer(output).log_prob(x)
        torch.testing.assert_close(log_prob, Gaussian(x, torch.tensor(SIGMA_FLOOR)).log_prob(x))
        log_prob.sum().backward()
        assert output.grad is not None
        assert torch.isfinite(output.grad).all()

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_batch_that_is_not_finite_leaves_the_variance(self, value: float) -> None:
        layer = GaussianLayer("optimal")
        layer(torch.full((2, 1, 4, 4), value)).log_prob(torch.full((2, 1, 4, 4), math.nan))
        assert layer.variance.item() == 1

    def test_samples_spread_by_sigma(self) -> None:
        layer, eps = GaussianLayer("optimal"), torch.randn(2, 1, 4, 4)
        layer.variance.fill_(0.25)
        torch.testing.assert_close(layer(torch.zeros_like(eps)).sample(eps), 0.5 + 0.5 * eps)


@pytest.mark.parametrize("name", sorted(KINDS["picture"].likelihoods))
def test_likelihoods_by_name(name: str) -> None:
    p = build_likelihood(name, {})(torch.randn(2, 3, 4, 5))
    assert p.mean.shape == p.sample(torch.randn(2, 3, 4, 5)).shape == (2, 3, 4, 5)
    assert p.log_prob(torch.rand(2, 3, 4, 5)).shape == (2,)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("poisson", {}, "unknown likelihood 'poisson'; known: bernoulli, .*gaussian"),
        ("bernoulli", {"sigma": 1.0}, "likelihood 'bernoulli' has the unknown option 'sigma'"),
        ("gaussian", {"scale": 1.0}, "likelihood 'gaussian' has the unknown option 'scale'"),
        ("gaussian", {"sigma": 0}, "sigma must be"),
        ("gaussian", {"sigma": 10**400}, "sigma must be"),
    ],
)
def test_unknown_names_and_options_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_likelihood(name, options)
