"""Distances between Gaussians against their definitions, by numerical integration and closed forms for one dimension."""

import itertools
import math
from collections.abc import Sequence
from decimal import Decimal, localcontext

import numpy as np
import pytest

from service.latents.distances import METRICS, DistanceMetric, Doubles

RNG = np.random.default_rng(0)
MU, SIGMA = RNG.standard_normal(4), RNG.uniform(0.2, 2, 4)
OTHERS = RNG.standard_normal((5, 4)), RNG.uniform(0.2, 2, (5, 4))


def density(x: Doubles, mu: float, sigma: float) -> Doubles:
    value: Doubles = np.exp(-0.5 * ((x - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return value


def of(name: str, mu: Doubles = MU, sigma: Doubles = SIGMA, others: tuple[Doubles, Doubles] = OTHERS) -> Doubles:
    return METRICS[name].of_rank(METRICS[name].rank(mu, sigma, *others))


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


@pytest.mark.parametrize("metric", METRICS.values())
def test_each_has_its_formula(metric: DistanceMetric) -> None:
    assert "mu" in (metric.rank.__doc__ or "") or "angle between the means" in (metric.rank.__doc__ or "")


Numbers = Sequence[Decimal]


def arccosh(x: Decimal) -> Decimal:
    return (x + (x * x - 1).sqrt()).ln()


def exactly(name: str, m1: Numbers, s1: Numbers, m2: Numbers, s2: Numbers) -> Decimal:
    """What orders as the metric does, to many digits: from the definitions, without a thought for rounding."""
    match name:
        case "l2" | "w2":
            pairs = [*zip(m1, m2, strict=True), *(zip(s1, s2, strict=True) if name == "w2" else ())]
            return sum(((a - b) ** 2 for a, b in pairs), Decimal(0))
        case "cosine":
            lengths = (sum((a * a for a in m1), Decimal(0)) * sum((b * b for b in m2), Decimal(0))).sqrt()
            return 1 - sum(a * b for a, b in zip(m1, m2, strict=True)) / lengths if lengths else Decimal(1)
    terms = []
    for a, s, b, t in zip(m1, s1, m2, s2, strict=True):
        d2, u, v = (a - b) ** 2, s * s, t * t
        match name:
            case "jeffreys":
                terms.append(((u + d2) / v + (v + d2) / u - 2) / 2)
            case "fisher_rao":
                terms.append(2 * arccosh(1 + (d2 / 2 + (s - t) ** 2) / (2 * s * t)) ** 2)
            case _:
                terms.append(d2 / (u + v) / 4 + ((u + v) / (2 * s * t)).ln() / 2)
    return sum(terms, Decimal(0))


def distance_of(name: str, order: Decimal) -> Decimal:
    """The distance that belongs to what `exactly` says."""
    if name in ("l2", "w2", "fisher_rao"):
        return order.sqrt()
    return (1 - (-order).exp()).sqrt() if name == "hellinger" else order


def posteriors(kind: str, rng: np.random.Generator, count: int, dim: int) -> tuple[Doubles, Doubles]:
    """Float32 Gaussians, in float64; the first is the query."""
    mu, sigma = rng.standard_normal((count, dim)), rng.uniform(0.01, 1, (count, dim))
    match kind:
        case "far":  # where Hellinger distances are 1
            mu, sigma = 30 * mu, sigma / 10
        case "near":  # a few units in the last place apart, in mean, direction and sigma
            mu, sigma = mu[:1] * (1 + 2e-7 * mu), sigma[:1] * (1 + 2e-7 * mu)
        case "parallel":  # up to rounding; a third of them in the opposite direction
            mu = mu[:1] * rng.choice([1, 3, 0.1, -0.7, -1, 2], (count, 1))
        case "bounds":
            mu, sigma = rng.choice([0, 1e-45, 1e-40, 1e-20, 1, -1e4, 1e4], (2, count, dim))
            sigma = np.abs(sigma) + 1e-45
    return mu.astype(np.float32).astype(np.float64), sigma.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("dim", [2, 20, 256])
@pytest.mark.parametrize("kind", ["plain", "far", "near", "parallel", "bounds"])
@pytest.mark.parametrize("name", METRICS)
def test_they_and_their_order_are_those_of_many_digits(name: str, kind: str, dim: int) -> None:
    mu, sigma = posteriors(kind, np.random.default_rng(dim), 24 if dim < 256 else 5, dim)
    metric, arguments = METRICS[name], (mu[0], sigma[0], mu, sigma)
    rank = metric.rank(*arguments)
    distance = metric.of_rank(rank)
    with localcontext() as context:
        context.prec = 250 if kind == "bounds" else 80
        rows = [([Decimal(v) for v in m], [Decimal(v) for v in s]) for m, s in zip(mu.tolist(), sigma.tolist(), strict=True)]
        wanted = [exactly(name, *rows[0], *row) for row in rows]
        distances = [float(distance_of(name, max(value, Decimal(0)))) for value in wanted]
        values = [max(value, Decimal("1e-200")) for value in wanted]
        order = sorted(range(len(wanted)), key=lambda i: wanted[i])
        # whatever differs in the first twelve digits, or near the end of the scale of cosines, is told apart
        scale = [value / (2 - value) if name == "cosine" and value < 2 else value for value in values]
        apart = [scale[b] > scale[a] * (1 + Decimal("1e-12")) for a, b in itertools.pairwise(order)]
    assert not np.isnan(rank).any()
    np.testing.assert_allclose(distance, distances, rtol=1e-13, atol=1e-40 if name == "cosine" else 0)
    for a, b, differ in zip(order, order[1:], apart, strict=False):
        assert rank[a] < rank[b] if differ else rank[a] <= rank[b] * (1 + 1e-11), (a, b, rank[a], rank[b])
    by_rank = np.argsort(rank)
    assert (np.diff(distance[by_rank]) >= 0).all()


@pytest.mark.parametrize("name", METRICS)
def test_equal_rows_are_equally_far_however_many_there_are(name: str) -> None:
    """Ties are broken by id, which takes ties that are exact."""
    rng = np.random.default_rng(1)
    mu, sigma = rng.standard_normal((2, 40)).astype(np.float32), rng.uniform(0.1, 1, (2, 40)).astype(np.float32)
    for dims in (np.arange(40), np.array([3, 17, 4, 25, 11, 9, 30, 31, 2, 8, 7])):
        found = set()
        for count in (1, 2, 3, 7, 64, 1000):
            others = [np.repeat(v[1:], count, axis=0).astype(np.float64)[:, dims] for v in (mu, sigma)]
            own = [v[0].astype(np.float64)[dims] for v in (mu, sigma)]
            found |= set(METRICS[name].rank(*own, *others).tolist())
        assert len(found) == 1
