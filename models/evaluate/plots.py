"""The matplotlib diagrams of a report: curves, scatter, posteriors, bars. Functions return figures and write no files.

Knows nothing of how numbers are measured. Figures are white with dark text, also on dark pages.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from models.evaluate.pictures import color_of
from models.preprocess import Pixels

Floats = NDArray[np.floating[Any]]

WIDTH = 6.0  # inches; at 180 dots per inch, text is legible on a phone too
DPI = 180
GREY, INK = "#8a8a8a", "#222222"
# Colours of Okabe & Ito, which colour-blind readers can tell apart too.
BLUE, ORANGE, GREEN, PURPLE, YELLOW = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"
RATIO = 1.7  # width of the rate-distortion diagram by its height
SERIES = (BLUE, ORANGE, GREEN, PURPLE, YELLOW)


def new_figure(height: float, columns: int = 1, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a white figure with the report's width, and its axes, row by row."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False, **options).flatten().tolist()
    for one in axes:
        one.tick_params(labelsize=9, colors=INK)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def curves(log: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot ELBO, log likelihood and KL of training and validation by epoch, from a run's metrics.jsonl."""
    figure, axes = new_figure(2.7, 3)
    epochs = [entry["epoch"] for entry in log]
    for one, (key, title) in zip(axes, (("elbo", "ELBO"), ("log_likelihood", "log likelihood"), ("kl", "KL")), strict=True):
        for (split, color), width in zip((("train", GREY), ("validation", BLUE)), (1.2, 1.6), strict=True):
            values = [entry.get(split, {}).get(key) for entry in log]
            known = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if value is not None]
            one.plot(*zip(*known, strict=True), color=color, linewidth=width, label=split, marker="." if len(log) < 4 else "")
        one.set_title(f"{title}, nats", fontsize=10, color=INK)
        one.set_xlabel("epoch", fontsize=9)
        one.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        one.yaxis.set_major_locator(MaxNLocator(6))
        one.ticklabel_format(useOffset=False)
        # The first epochs are far below all others, and would hide the later ones.
        late = [e.get("validation", {}).get(key) for e in log[len(log) // 20 :]] if len(log) >= 20 else []
        shown = [value for value in late if value is not None]
        if shown:
            margin = 0.15 * (max(shown) - min(shown)) or 1.0
            trained = [e.get("train", {}).get(key) for e in log[len(log) // 20 :]]
            shown += [value for value in trained if value is not None]
            one.set_ylim(min(shown) - margin, max(shown) + margin)
    axes[0].legend(frameon=False, fontsize=9, loc="best")
    return figure


def kl_bars(kl_per_dim: Sequence[float], active_above: float = 0.01) -> Figure:
    """Plot the mean KL of each dimension, largest first; those below the threshold are grey."""
    order = sorted(range(len(kl_per_dim)), key=lambda j: -kl_per_dim[j])
    figure, (axes,) = new_figure(2.6)
    heights = [kl_per_dim[j] for j in order]
    axes.bar(range(len(order)), heights, color=[BLUE if height >= active_above else GREY for height in heights], width=0.75)
    axes.set_ylim(0, max(1.05 * max(heights), 0.1))  # works without active dimensions too
    empty = max(0, 8 - len(order)) / 2  # keeps a few bars in the middle, with normal width
    axes.set_xlim(-0.6 - empty, len(order) - 0.4 + empty)
    step = max(1, -(-len(order) // 40))
    words = [str(order[i] + 1) for i in range(0, len(order), step)]
    axes.set_xticks(range(0, len(order), step), words, fontsize=8, rotation=90 if len(words) > 24 else 0)
    axes.set_xlabel("dimension, by its KL", fontsize=9)
    axes.set_ylabel("KL, nats", fontsize=9)
    return figure


def rate_distortion(metrics: Mapping[str, Any], log: Sequence[Mapping[str, Any]] = (), prior: str = "N(0, I)") -> Figure:
    """Plot rate (KL) and distortion (-log likelihood) of the model, and of its validation split over the epochs.

    On each line the ELBO is constant (Alemi et al. 2018, arXiv:1711.00464). A nat is as long on both axes.
    """
    figure, (axes,) = new_figure(4.1)
    points = [(metrics["rate"], metrics["distortion"], f"model, {prior} as prior", BLUE, "o")]
    if "aggregate_prior" in metrics:
        points.append((metrics["aggregate_prior"]["rate"], metrics["distortion"], "fitted prior", ORANGE, "D"))
    way = [(e["validation"]["kl"], -e["validation"]["log_likelihood"]) for e in log if _known(e)]
    if way:
        axes.plot(*zip(*way, strict=True), color=GREY, linewidth=0.9, alpha=0.7, label="validation, epoch by epoch", zorder=1)
    for x, y, label, color, marker in points:
        axes.plot(x, y, marker, color=color, markersize=8, label=label, zorder=3)
    _frame(axes, np.array([point[:2] for point in points], np.float64), np.array(way[len(way) // 2 :], np.float64))
    _lines_of_equal_sum(axes)
    axes.set_xlabel("rate, nats", fontsize=9)
    axes.set_ylabel("distortion, nats", fontsize=9)
    figure.legend(frameon=False, fontsize=8, loc="outside upper center", ncols=3, columnspacing=1.2)
    return figure


def _known(entry: Mapping[str, Any]) -> bool:
    terms = entry.get("validation", {})
    return terms.get("kl") is not None and terms.get("log_likelihood") is not None


def _frame(axes: Axes, points: Floats, late: Floats) -> None:
    """Show the points, (N, 2), and as much of the later epochs, (M, 2), as fits into twice the rate.

    Densities change by thousands of nats in training, which would hide a rate of twenty.
    """
    shown = np.concatenate([points, late.reshape(-1, 2)])
    rate = max(1.0, float(points[:, 0].max()))
    extent = shown.max(0) - shown.min(0)
    height = min(max(1.4 * float(max(extent[0] / RATIO, extent[1])), 0.1 * rate), 2 * rate)
    half = np.array([RATIO, 1.0]) * height / 2
    middle = np.clip((shown.min(0) + shown.max(0)) / 2, points.max(0) - 0.8 * half, points.min(0) + 0.8 * half)
    middle[0] = max(middle[0], 0.95 * half[0])  # A KL is not negative.
    low, high = middle - half, middle + half
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")


def _lines_of_equal_sum(axes: Axes) -> None:
    """Draw lines of equal rate + distortion, with the ELBO at their lower ends."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for total in MaxNLocator(9).tick_values(left + bottom, right + top):
        if not left + bottom < total < right + top:
            continue
        axes.plot([left, right], [total - left, total - right], color="#cccccc", linewidth=0.8, zorder=0)
        if left < total - bottom < right:
            axes.annotate(f"ELBO {-total:g}", (total - bottom, bottom), xytext=(3, 3), textcoords="offset points",
                          fontsize=7, color=GREY, clip_on=True)  # fmt: skip
    axes.set(xlim=(left, right), ylim=(bottom, top))


def scatter(
    points: Floats, labels: Sequence[int] | None, names: tuple[str, str], classes: Sequence[str] | None = None
) -> Figure:
    """Plot points (N, 2) by label; `classes` has the names of the labels."""
    figure, (axes,) = new_figure(5.6)
    draw_points(axes, points, labels, classes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5), title="label", title_fontsize=9)
    axes.set_xlabel(names[0], fontsize=9)
    axes.set_ylabel(names[1], fontsize=9)
    axes.set_aspect("equal", "datalim")
    return figure


def draw_points(axes: Axes, points: Floats, labels: Sequence[int] | None, classes: Sequence[str] | None = None) -> None:
    """Draw points (N, 2) by label, with legend entries if there are several labels."""
    found = sorted(set(labels)) if labels is not None else [0]
    of_point = np.asarray(labels if labels is not None else np.zeros(len(points)))
    order = np.random.default_rng(0).permutation(len(points))  # A random order, so that no class hides the others.
    colors = np.array([color_of(i, max(len(found), 2)) for i in range(len(found))])
    shades = colors[np.searchsorted(found, of_point)]
    axes.scatter(points[order, 0], points[order, 1], s=5 if len(points) > 2000 else 14, c=list(shades[order]), linewidths=0)
    for label, color in zip(found if len(found) > 1 else [], colors, strict=False):
        axes.plot([], [], "o", color=color, markersize=6, label=classes[label] if classes else str(label))
    axes.grid(color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)


def posterior_densities(mu: Floats, sigma: Floats, pictures: Pixels, dimensions: Sequence[int]) -> Figure:
    """Plot densities of a few posteriors, (N, D), and the prior, one panel per dimension; the pictures are the legend.

    Heights have a square-root scale, because a narrow posterior is ten times as high as the prior.
    """
    columns = min(4, max(2, len(dimensions)))
    rows = -(-len(dimensions) // columns)
    figure = Figure(figsize=(WIDTH, 1.3 + 1.5 * rows), dpi=DPI, layout="constrained", facecolor="white")
    above, below = np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=[1.0, 1.5 * rows])))
    for one, picture, color in zip(above.subplots(1, len(pictures), squeeze=False)[0], pictures, SERIES, strict=False):
        show(one, picture)
        for spine in one.spines.values():
            spine.set(color=color, linewidth=3)
    panels = below.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    limit = min(16.0, max(4.0, float(np.ceil((np.abs(mu) + 2 * sigma)[:, list(dimensions)].max()))))
    grid = np.linspace(-limit, limit, 400)
    for one, j in zip(panels, dimensions, strict=False):
        one.fill_between(grid, _normal(grid, 0, 1), color="#dddddd", linewidth=0)
        highest = 0.4
        for m, s, color in zip(mu[:, j], sigma[:, j], SERIES, strict=False):
            # Add points near mu, because a narrow peak would fall between the points of a coarse grid.
            near = np.sort(np.concatenate([grid, m + s * np.linspace(-4, 4, 81)]))
            one.plot(near, _normal(near, m, s), color=color, linewidth=1.4)
            highest = max(highest, 1 / (s * np.sqrt(2 * np.pi)))
        one.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
        one.set(xlim=(-limit, limit), ylim=(0, 1.08 * highest), yticks=[])
        one.set_title(f"z{j + 1}", fontsize=9, color=INK, pad=2)
        one.tick_params(labelsize=8, colors=INK)
        one.spines[["top", "right", "left"]].set_visible(False)
    for one in panels[len(dimensions) :]:
        one.set_visible(False)
    return figure


def _normal(z: Floats, mu: float, sigma: float) -> Floats:
    density: Floats = np.exp(-0.5 * ((z - mu) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    return density


def show(axes: Axes, picture: Pixels) -> None:
    """Show a picture, uint8 (H, W, C), without ticks."""
    grey = picture.shape[-1] == 1
    axes.imshow(picture[..., 0] if grey else picture, cmap="gray" if grey else None, vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])


def labelled_tiles(
    mosaic: Pixels, tile: tuple[int, int], rows: Sequence[str], columns: Sequence[str], xlabel: str, ylabel: str = ""
) -> Figure:
    """Show a mosaic, uint8 (H, W, C), with labels for its rows and columns; `tile` is the size of a tile with its gap."""
    height, width = mosaic.shape[:2]
    figure, (axes,) = new_figure(max(1.2, 0.55 + (WIDTH - 0.9) * height / width))
    show(axes, mosaic)
    step = max(1, -(-len(columns) // 11))
    chosen = range(0, len(columns), step)
    axes.set_xticks([tile[1] * (i + 0.5) - 1.5 for i in chosen], [columns[i] for i in chosen], fontsize=8)
    down = max(1, -(-len(rows) // 16))
    axes.set_yticks([tile[0] * (i + 0.5) - 1.5 for i in range(0, len(rows), down)], rows[::down], fontsize=8)
    axes.tick_params(length=0)
    axes.set_xlabel(xlabel, fontsize=9)
    axes.set_ylabel(ylabel, fontsize=9)
    axes.spines[:].set_visible(False)
    return figure


def aurocs(found: Mapping[str, Mapping[str, float]]) -> Figure:
    """Plot the AUROC of each score, a symbol each, for each kind of stranger, a row each: score -> kind -> AUROC."""
    kinds = list(found["p_value"])
    figure, (axes,) = new_figure(0.9 + 0.32 * len(kinds))
    rows = range(len(kinds), 0, -1)
    axes.hlines(rows, 0, 1, color="#e4e4e4", linewidth=0.8, zorder=0)
    axes.axvline(0.5, color=GREY, linewidth=0.8, zorder=0)
    colors = dict(zip([name for name in found if name != "p_value"], SERIES * 3, strict=False))
    for (name, values), marker in zip(found.items(), "DosvP^X*<>", strict=False):
        known = [(values[kind], row) for kind, row in zip(kinds, rows, strict=True) if kind in values]
        size = 42 if name == "p_value" else 24
        x, y = zip(*known, strict=True)
        axes.scatter(x, y, s=size, marker=marker, color=colors.get(name, INK), label=name, linewidths=0)
    axes.set_yticks(list(rows), kinds)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("AUROC", fontsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure
