"""Distances between Gaussians against their definitions, by numerical integration and closed forms for one dimension."""

import math

import numpy as np
import pytest

from service.distances import METRICS, Doubles, Metric

RNG = np.random.default_rng(0)
MU, SIGMA = RNG.standard_normal(4), RNG.uniform(0.2, 2, 4)
OTHERS = RNG.standard_normal((5, 4)), RNG.uniform(0.2, 2, (5, 4))


def density(x: Doubles, mu: float, sigma: float) -> Doubles:
    value: Doubles = np.exp(-0.5 * ((x - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return value


def of(name: str, mu: Doubles = MU, sigma: Doubles = SIGMA, others: tuple[Doubles, Doubles] = OTHERS) -> Doubles:
    return METRICS[name].distance(mu, sigma, *others)


def test_l2_and_w2_are_norms() -> None:
    np.testing.assert_allclose(of("l2"), np.linalg.norm(OTHERS[0] - MU, axis=1))
    both = np.concatenate([*OTHERS], axis=1) - np.concatenate([MU, SIGMA])
    np.testing.assert_allclose(of("w2"), np.linalg.norm(both, axis=1))


def test_cosine() -> None:
    expected = [1 - MU @ other / np.linalg.norm(MU) / np.linalg.norm(other) for other in OTHERS[0]]
    np.testing.assert_allclose(of("cosine"), expected)
    assert of("cosine", np.zeros(4)).tolist() == [1.0] * 5
    assert of("cosine", others=(np.zeros((1, 4)), OTHERS[1][:1])).tolist() == [1.0]
    np.testing.assert_allclose(of("cosine", others=(np.stack([3 * MU, -MU]), OTHERS[1][:2])), [0, 2], atol=1e-15)


def test_divergences_are_their_integrals() -> None:
    x = np.linspace(-60, 60, 400_001)
    for i in range(5):
        jeffreys = affinity = 0.0
        for j in range(4):
            p, q = density(x, MU[j], SIGMA[j]), density(x, OTHERS[0][i, j], OTHERS[1][i, j])
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = (p - q) * (np.log(p) - np.log(q))
            jeffreys += float(np.trapezoid(np.nan_to_num(terms, posinf=0, neginf=0), x))
            affinity += math.log(float(np.trapezoid(np.sqrt(p * q), x)))
        assert of("jeffreys")[i] == pytest.approx(jeffreys, rel=1e-6)
        assert of("bhattacharyya")[i] == pytest.approx(-affinity, rel=1e-6)
        assert of("hellinger")[i] == pytest.approx(math.sqrt(1 - math.exp(affinity)), rel=1e-6)


def test_fisher_rao_of_one_dimension() -> None:
    """Equation (5) of Costa et al.: with F as below, sqrt(2) ln((F + |.|^2 ...)); equal means give sqrt(2) |ln(s1/s2)|."""
    one = np.array([0.7])
    for other in (0.1, 0.7, 3.0):
        found = of("fisher_rao", np.zeros(1), one, (np.zeros((1, 1)), np.array([[other]])))
        assert found[0] == pytest.approx(math.sqrt(2) * abs(math.log(0.7 / other)), abs=1e-15)
    m1, s1, m2, s2 = 0.3, 0.5, -1.1, 1.7
    minus = math.hypot((m1 - m2) / math.sqrt(2), s1 - s2)
    plus = math.hypot((m1 - m2) / math.sqrt(2), s1 + s2)
    expected = math.sqrt(2) * math.log((plus + minus) / (plus - minus))
    found = of("fisher_rao", np.array([m1]), np.array([s1]), (np.array([[m2]]), np.array([[s2]])))
    assert found[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_they_are_symmetric_and_zero_for_the_same(name: str) -> None:
    back = [of(name, OTHERS[0][i], OTHERS[1][i], (MU[None], SIGMA[None]))[0] for i in range(5)]
    np.testing.assert_allclose(of(name), back)
    np.testing.assert_allclose(of(name, others=(MU[None], SIGMA[None])), 0, atol=1e-15)


@pytest.mark.parametrize(("name", "metric"), METRICS.items())
def test_each_has_its_formula_and_source(name: str, metric: Metric) -> None:
    assert metric.distance.__name__ == name
    assert "mu" in (metric.distance.__doc__ or "") or "bhattacharyya" in (metric.distance.__doc__ or "")
