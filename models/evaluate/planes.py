"""Draw the latent planes of several models side by side: the test pictures' latents, and the decoded prior.

Knows nothing of files, and of training only what the manifests say. Needs matplotlib (the extra `report`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from models.checkpoint import Checkpoint
from models.data import Items, class_names
from models.evaluate import pictures, plots
from models.evaluate.plots import Floats
from models.mosaic import tile

TITLES = {
    "autoencoder": "reconstruction alone (autoencoder)",
    "kl-only": "KL alone",
    "elbo": "reconstruction and KL (VAE)",
}
PANEL = 3.9  # inches
SIDE = 14
SHOWN = 5000
REACH = 3.0  # A panel shows at least from -3 to 3.
NINE_TENTHS = 2.146  # the radius of the circle that holds 90 % of N(0, I) in the plane: sqrt(-2 ln 0.1)
NOTE = (
    "Above: test pictures as the decoder gets them: mu for an autoencoder, otherwise one draw of the posterior. Each panel\n"
    "has a scale of its own, and a few points lie outside of it; the circle, everywhere the same, holds 90 % of the prior\n"
    "N(0, I). Below: the decoded plane over percentiles of N(0, I), from the 1st to the 99th."
)


class PlaneError(Exception):
    """The model has no latent plane; the message names the model."""


@torch.no_grad()
def draw(models: Sequence[tuple[str, Checkpoint, Items]]) -> Figure:
    """Draw a column for each (name, model, test pictures): latents by label, above the decoded plane over the prior.

    The title is the model's objective if it is known, otherwise its name; models of the same objective have both. VAEs are on
    the CPU. Raises PlaneError unless D = 2.
    """
    for name, checkpoint, _ in models:
        if checkpoint.vae.config.latent_dim != 2:
            raise PlaneError(f"{name}: has D = {checkpoint.vae.config.latent_dim}, but only D = 2 can be drawn")
    titles = [TITLES.get(_objective(checkpoint), name) for name, checkpoint, _ in models]
    titles = [
        f"{name}\n{title}" if titles.count(title) > 1 and title != name else title
        for title, (name, _, _) in zip(titles, models, strict=True)
    ]
    size = (PANEL * len(models) + 0.6, 2 * PANEL + 0.7)
    figure = Figure(figsize=size, dpi=plots.DPI, layout="constrained", facecolor="white")
    upper, lower = figure.subplots(2, len(models), squeeze=False)
    for above, below, title, (_, checkpoint, test) in zip(upper, lower, titles, models, strict=True):
        shown = test[:SHOWN]
        points = latents(checkpoint, shown)
        classes = class_names(checkpoint.manifest.data)
        plots.draw_points(above, points, None if shown.labels is None else shown.labels.tolist(), classes)
        _frame(above, points)
        above.set_title(title, fontsize=12, color=plots.INK)
        plane = pictures.decoded(pictures.first_label(checkpoint.vae), pictures.plane(SIDE), checkpoint.manifest.preprocessing)
        plots.show(below, tile(plane, SIDE))
        below.spines[:].set_visible(False)
    handles, words = upper[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, words, loc="outside right upper", frameon=False, title="label", fontsize=10)
    figure.supxlabel(NOTE, fontsize=9, color=plots.INK)
    return figure


@torch.no_grad()
def latents(checkpoint: Checkpoint, test: Items, seed: int = 0) -> Floats:
    """Return the decoder's input in training, (N, 2): mu for an autoencoder, otherwise a sample of the posterior."""
    posterior = checkpoint.vae.given(test.condition).encode(test.x)
    eps = torch.randn(posterior.mu.shape, generator=torch.Generator().manual_seed(seed))
    z = posterior.mu if _objective(checkpoint) == "autoencoder" else posterior.sample(eps)
    points: Floats = z.double().numpy()
    return points


def _frame(axes: Axes, points: Floats) -> None:
    """Set the axes to a square around nearly all points and the prior, and draw the prior as a circle."""
    low = np.minimum(np.quantile(points, 0.01, 0), -REACH)  # (2,)
    high = np.maximum(np.quantile(points, 0.99, 0), REACH)
    center, half = (low + high) / 2, 1.05 * (high - low).max() / 2
    axes.set(xlim=(center[0] - half, center[0] + half), ylim=(center[1] - half, center[1] + half), aspect="equal")
    axes.add_patch(Circle((0, 0), NINE_TENTHS, fill=False, color=plots.INK, linewidth=1.4))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(labelsize=9, colors=plots.INK)


def _objective(checkpoint: Checkpoint) -> str:
    return str(checkpoint.manifest.data.get("training", {}).get("objective", ""))
