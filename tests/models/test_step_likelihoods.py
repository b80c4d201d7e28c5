"""One step of a sequence: densities, draws and temperatures."""

import math

import pytest
import torch
from torch import Tensor

from models.step_likelihoods import Categorical, Mixture, pick


def spread_outputs(components: int = 3) -> Tensor:
    """Return outputs of a mixture whose components are wide apart and tilted, (3 + 6 M,)."""
    raw = torch.zeros(3 + 6 * components)
    raw[:3] = torch.tensor([1.0, 0.5, -1.0])
    raw[3 : 3 + components] = torch.tensor([0.0, 1.0, -0.5])
    raw[3 + components : 3 + 3 * components] = torch.tensor([-2.0, 0.0, 2.0, 1.0, -1.0, 0.0])
    raw[3 + 3 * components : 3 + 5 * components] = torch.tensor([-1.0, -0.5, -1.5, -0.7, -1.0, -0.2])
    raw[3 + 5 * components :] = torch.tensor([0.8, -0.5, 0.0])
    return raw


def test_the_density_of_points_integrates_to_one() -> None:
    side = torch.linspace(-8, 8, 400)
    dx, dy = torch.meshgrid(side, side, indexing="ij")
    outputs = spread_outputs().expand(dx.numel(), -1)
    total = 0.0
    for pen in (0, 1):
        x = torch.stack([dx.flatten(), dy.flatten(), torch.full((dx.numel(),), float(pen))], 1)
        total += float(Mixture().log_prob(outputs, x).exp().sum()) * float(side[1] - side[0]) ** 2
    end = torch.tensor([[0.0, 0.0, 2.0]])
    total += float(Mixture().log_prob(spread_outputs()[None], end).exp())
    assert total == pytest.approx(1, abs=1e-3)


def test_draws_have_the_moments_of_the_density() -> None:
    n, mixture = 40_000, Mixture()
    outputs = spread_outputs().expand(n, -1)
    found = mixture.points(outputs[:1])
    weights = found.logits.softmax(1)[0]
    x = mixture.choose(outputs, torch.rand(n, 5), torch.ones(n), torch.ones(n, 4))[0]
    on = x[x[:, 2] < 2]
    mean_x, mean_y = (float((weights * mean[0]).sum()) for mean in (found.mean_x, found.mean_y))
    assert on[:, 0].mean() == pytest.approx(mean_x, abs=0.04)
    assert on[:, 1].mean() == pytest.approx(mean_y, abs=0.04)
    covariance = float((weights * (found.correlation * (found.log_sigma_x + found.log_sigma_y).exp()
                                   + found.mean_x * found.mean_y)[0]).sum()) - mean_x * mean_y  # fmt: skip
    assert float(torch.cov(on[:, :2].T)[0, 1]) == pytest.approx(covariance, abs=0.05)
    shares = torch.bincount(x[:, 2].long(), minlength=3) / n
    torch.testing.assert_close(shares, found.pen.softmax(1)[0], atol=0.01, rtol=0)


@pytest.mark.parametrize("temperature", [0.25, 1.0])
def test_temperature_multiplies_variances_and_brings_lengths_nearer_to_their_median(temperature: float) -> None:
    n, mixture = 20_000, Mixture()
    raw = torch.tensor([1.0, 0.0, -9.0, 0.0, 0.0, 0.0, 0.3, -0.4, 0.5])
    x = mixture.choose(raw.expand(n, -1), torch.rand(n, 5), torch.full((n,), temperature), torch.ones(n, 4))[0]
    found = mixture.points(raw[None])
    assert x[:, 0].std() == pytest.approx(float(found.log_sigma_x.exp()) * temperature**0.5, rel=0.03)
    up = float(raw[:3].softmax(0)[1])
    expected = min(1.0, max(0.0, 0.5 + (up - 0.5) / temperature))  # the share of u with 1/2 + T (u - 1/2) < up
    assert (x[:, 2] == 1).float().mean() == pytest.approx(expected, abs=0.012)


def test_sigmas_have_a_floor_and_correlations_a_limit() -> None:
    raw = torch.full((1, 9), -200.0)
    raw[0, -1] = 200
    found = Mixture(0.05).points(raw)
    assert float(found.log_sigma_x.exp()) == pytest.approx(0.05)
    assert float(found.correlation) == pytest.approx(0.98)
    x = torch.tensor([[0.0, 0.0, 0.0]])
    raw[0, :7] = 0
    raw.requires_grad_()
    (gradient,) = torch.autograd.grad(Mixture(0.05).log_prob(raw, x).sum(), raw)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("uniform", [0.0, 1.0])
def test_noise_at_the_edges_gives_finite_points(uniform: float) -> None:
    x, _ = Mixture().choose(spread_outputs()[None], torch.full((1, 5), uniform), torch.ones(1), torch.ones(1, 4))
    assert bool(x.isfinite().all())


def test_a_wrong_number_of_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match="takes 3 \\+ 6 M outputs"):
        Mixture().points(torch.zeros(2, 10))


@pytest.mark.parametrize("floor", [0, True, "x", math.nan, 100])
def test_floors_out_of_range_are_refused(floor: object) -> None:
    with pytest.raises(ValueError, match="sigma_floor must be"):
        Mixture(floor)  # type: ignore[arg-type]


def test_at_temperature_0_strokes_and_drawings_have_their_median_lengths() -> None:
    """Each point is the last of its stroke with probability 0.1, and each step the end with 0.02: medians of 7 and 35."""
    raw = torch.cat([torch.tensor([0.98 * 0.9, 0.98 * 0.1, 0.02]).log(), torch.zeros(6)])[None]
    memory, pens = torch.ones(1, 4), []
    for _ in range(40):
        point, memory = Mixture().choose(raw, torch.rand(1, 5), torch.zeros(1), memory)
        pens.append(int(point[0, 2]))
    assert pens[:34] == ([0] * 6 + [1]) * 4 + [0] * 6
    assert pens[34] == 2


def test_at_temperature_1_lengths_of_strokes_are_those_of_the_model() -> None:
    n = 20_000
    raw = torch.cat([torch.tensor([0.8, 0.2, 1e-9]).log(), torch.zeros(6)]).expand(n, -1)
    memory, pens = torch.ones(n, 4), []
    for _ in range(12):
        point, memory = Mixture().choose(raw, torch.rand(n, 5), torch.ones(n), memory)
        pens.append(point[:, 2])
    shares = torch.stack(pens).mean(1)  # each point ends a stroke with probability 0.2, whatever came before
    torch.testing.assert_close(shares, torch.full((12,), 0.2), atol=0.012, rtol=0)
    both = (pens[4] * pens[5]).mean()
    assert both == pytest.approx(0.04, abs=0.006)


def test_tokens_are_drawn_by_the_inverse_distribution_function() -> None:
    logits = torch.tensor([0.5, 0.25, 0.25]).log().expand(5, -1)
    uniforms = torch.tensor([0.0, 0.49, 0.51, 0.76, 1.0])
    assert pick(logits, uniforms, torch.ones(5)).tolist() == [0, 0, 1, 2, 2]
    assert pick(logits, uniforms, torch.zeros(5)).tolist() == [0] * 5
    drawn, _ = Categorical().choose(
        torch.randn(1, 4).expand(9, -1), torch.rand(9, 1), torch.full((9,), 1e-4), torch.ones(9, 0)
    )
    assert len(drawn.unique()) == 1
