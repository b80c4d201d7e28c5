"""Diagrams: what is drawn is where the numbers say, and nothing is cut off."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from models.data import Items
from models.evaluate import plots

LOG = tuple(
    {"epoch": e, "train": {"elbo": -100 / e, "log_likelihood": -90 / e, "kl": 10 / e},
     "validation": {"elbo": None if e == 3 else -110 / e, "log_likelihood": -99 / e, "kl": 11 / e}}
    for e in range(1, 31)
)  # fmt: skip


def test_curves() -> None:
    axes = plots.curves(LOG).axes
    assert [one.get_title() for one in axes] == ["ELBO, nats", "log likelihood, nats", "KL, nats"]
    trained, validated = axes[0].lines
    np.testing.assert_allclose(np.asarray(trained.get_ydata(), float), np.array([-100 / e for e in range(1, 31)]))
    assert 3 not in np.asarray(validated.get_xdata())
    assert len(np.asarray(validated.get_xdata())) == 29


@pytest.mark.parametrize("length", [1, 2])
def test_curves_of_a_short_run(length: int) -> None:
    plots.curves(LOG[:length]).canvas.draw()


def test_bars() -> None:
    (axes,) = plots.kl_bars([0.5, 0.0, 2.5]).axes
    assert [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)] == [2.5, 0.5, 0.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["3", "1", "2"]


def test_bars_of_nothing_stand_on_zero() -> None:
    assert plots.kl_bars([0.0, 0.0]).axes[0].get_ylim() == (0, 0.1)


@pytest.mark.parametrize("count", [2, 20, 40, 64, 200])
def test_words_below_the_bars_do_not_overlap(count: int) -> None:
    figure = plots.kl_bars([1.0 / (i + 1) for i in range(count)])
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_labels_by_their_names() -> None:
    points, labels = np.zeros((3, 2)), [0, 2, 2]
    legend = plots.scatter(points, labels, ("z1", "z2"), ("shirt", "coat", "bag")).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["shirt", "bag"]


def test_rate_and_distortion() -> None:
    metrics = {"rate": 20.0, "distortion": 70.0, "aggregate_prior": {"rate": 18.5}}
    (axes,) = plots.rate_distortion(metrics, LOG).axes
    points = [
        tuple(np.asarray(line.get_xydata(), float)[0].tolist()) for line in axes.lines if line.get_marker() in ("o", "D")
    ]
    assert points == [(20, 70), (18.5, 70)]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert all(left < x < right and bottom < y < top for x, y in points)


@pytest.mark.parametrize(
    ("rate", "fitted", "distortion"),
    [(24.05, 16.14, -1568.8), (3.4, 3.1, 496.4), (0.0003, 0.0002, 546.7), (144.0, 134.0, -35858.0), (24.9, 24.9, 59.0)],
    ids=["sprites", "keras", "the KL alone", "photographs", "equal priors"],
)
def test_rates_can_be_read_whatever_the_densities(rate: float, fitted: float, distortion: float) -> None:
    """A nat is as long on both axes, no epoch makes the picture larger than it may be, and rates are not negative."""
    way = [
        {"epoch": e, "validation": {"kl": rate * (1 + 3 / e), "log_likelihood": -distortion - 20_000 / e}}
        for e in range(1, 41)
    ]
    metrics = {"rate": rate, "distortion": distortion, "aggregate_prior": {"rate": fitted}}
    for log in ([], way, way[:1]):
        figure = plots.rate_distortion(metrics, log)
        figure.canvas.draw()
        (axes,) = figure.axes
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert axes.get_aspect() == 1
        assert all(left < x < right and bottom < distortion < top for x in (rate, fitted))
        assert top - bottom <= 2 * max(rate, 1) + 1e-6
        assert left >= -0.05 * (right - left)
        assert len([text for text in axes.texts if text.get_text().startswith("ELBO ")]) >= 3


@pytest.mark.parametrize("classes", [1, 2, 13])
def test_scatter_has_a_colour_and_a_word_a_class(classes: int) -> None:
    points, labels = np.random.default_rng(0).normal(size=(50, 2)), [i % classes for i in range(50)]
    figure = plots.scatter(points, labels, ("z1", "z2"))
    shades = figure.axes[0].collections[0].get_facecolor()
    assert len({tuple(np.asarray(shade)) for shade in shades}) == classes
    legend = figure.axes[0].get_legend()
    assert (legend is None) == (classes == 1)
    assert legend is None or [text.get_text() for text in legend.get_texts()] == [str(i) for i in range(classes)]


def test_posteriors_are_normal_densities(digits: Items) -> None:
    mu, sigma = np.array([[0.5, -1.0], [2.0, 5.5]]), np.array([[0.1, 1.0], [0.4, 0.2]])
    figure = plots.posterior_densities(mu, sigma, digits.x[:2].permute(0, 2, 3, 1).numpy(), [1, 0])
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["z2", "z1"]
    for axes, j in zip(panels, (1, 0), strict=True):
        assert axes.get_xlim()[1] > 5.5  # nobody is cut off
        for line, m, s in zip(axes.lines, mu[:, j], sigma[:, j], strict=True):
            x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
            assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01)
            assert np.trapezoid(x * y, x) == pytest.approx(m, abs=0.01)
            assert y.max() == pytest.approx(1 / (s * np.sqrt(2 * np.pi)), rel=0.01)
