"""Draw the pictures of a model's card: reconstructions, samples, interpolations, and for D = 2 manifold and scatter.

The kind says what items look like. Also traversals, neighbours and animations for `models.evaluate.report`. Only Pillow is
needed, which every installation has. Knows nothing of training.
"""

import colorsys
import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from models.checkpoint import CheckpointError
from models.condition import in_turn
from models.data import Items
from models.files.tensor_file import TensorFileError, read_tensors
from models.kinds.kind import Kind
from models.mixture import GaussianMixture
from models.mosaic import mosaic, tile, to_image, write_png
from models.vae import VAE

TEMPERATURE = 0.5  # of the steps of sampled sequences
MANIFOLD_SIDE = 20
SCATTER_PIXELS, SCATTER_RANGE = 720, 4.0
TRAVERSAL_STEPS = 11


@torch.no_grad()
def write_pictures(
    directory: Path, vae: VAE, test: Items, mixture: GaussianMixture | None = None, seed: int = 0, spec: Any = None
) -> list[Path]:
    """Write the PNGs into a checkpoint's directory and return their paths. The VAE and the items are on the CPU.

    `spec` is the preprocessing of the model, here and below; pictures are drawn without it.
    """
    shown = 4 * vae.kind.columns
    pictures = {
        "reconstructions.png": reconstructions(vae.given(some(test.condition, shown)), test.x[:shown], spec),
        "samples.png": samples(vae, None, seed, spec=spec),
    }
    if mixture is not None:
        pictures["samples-aggregate.png"] = samples(vae, mixture, seed, spec=spec)
    pictures["interpolations.png"] = interpolations(vae, test.x[:16], spec, some(test.condition, 16))
    if vae.config.latent_dim == 2:
        pictures["manifold.png"] = manifold(vae, spec=spec)
        pictures["scatter.png"] = scatter(vae, test)
    for name, picture in pictures.items():
        write_png(directory / name, picture)
    return [directory / name for name in pictures]


def seen(vae: VAE, items: Tensor, spec: Any = None) -> NDArray[np.uint8]:
    """Return what rows, or what the decoder answers, look like: (N, ...) -> uint8 (N, H, W, C)."""
    return vae.kind.pictures(items.detach().cpu().numpy(), spec)


def decoded(vae: VAE, z: Tensor, spec: Any = None) -> NDArray[np.uint8]:
    """Return what latents look like when they are decoded: (N, D) -> uint8 (N, H, W, C)."""
    return seen(vae, vae.decode(z).mean, spec)


def samples(vae: VAE, mixture: GaussianMixture | None, seed: int = 0, rows: int = 8, spec: Any = None) -> Image.Image:
    """Draw decoded samples of the model's prior, or of a mixture. The steps of sequences are drawn, too, at TEMPERATURE."""
    noise = torch.Generator().manual_seed(seed)
    eps = torch.randn(rows * vae.kind.columns, vae.config.latent_dim, generator=noise)
    if mixture is None:
        z = vae.prior(eps).sample(eps)
    else:
        z = mixture.sample(eps.double(), torch.rand(len(eps), generator=noise, dtype=torch.float64)).float()
    if not vae.kind.sequential:  # a conditional model draws each label in turn
        return mosaic(decoded(vae.given(in_turn(vae.config.condition, len(z))), z, spec), vae.kind.columns)
    likelihood: Any = vae.decode(z)
    uniforms = torch.rand(len(z), vae.config.shape[0], likelihood.steps.noise, generator=noise)
    return mosaic(seen(vae, likelihood.draw(uniforms, torch.full((len(z),), TEMPERATURE)), spec), vae.kind.columns)


def some(condition: Tensor | None, count: int) -> Tensor | None:
    """Return what a conditional model is told about the first items."""
    return None if condition is None else condition[:count]


def first_label(vae: VAE) -> VAE:
    """Return a conditional model with the first value of its condition for all items; others as they are."""
    return vae.given(in_turn(vae.config.condition, 1))


def reconstructions(vae: VAE, x: Tensor, spec: Any = None) -> Image.Image:
    """Draw rows of originals, each above the row of their reconstructions."""
    columns = min(vae.kind.columns, len(x))
    originals, means = seen(vae, x, spec), decoded(vae, vae.encode(x).mu, spec)
    blank = np.zeros((-len(x) % columns, *originals.shape[1:]), np.uint8)  # fills up the last row
    rows = [np.concatenate([part, blank]).reshape(-1, columns, *originals.shape[1:]) for part in (originals, means)]
    return mosaic(np.stack(rows, 1).reshape(-1, *originals.shape[1:]), columns)


def interpolations(vae: VAE, x: Tensor, spec: Any = None, condition: Tensor | None = None) -> Image.Image:
    """Draw rows of what is decoded on a straight line from one item's mu to the next one's, with the first's label."""
    mu = vae.given(condition).encode(x).mu  # (N, D), pairs of ends
    steps = vae.kind.columns
    t = torch.linspace(0, 1, steps)[:, None]
    rows = [(1 - t) * start + t * end for start, end in zip(mu[::2], mu[1::2], strict=False)]
    told = None if condition is None else condition[: 2 * len(rows) : 2].repeat_interleave(steps)
    return mosaic(decoded(vae.given(told), torch.cat(rows), spec), steps)


def percentiles(count: int) -> Tensor:
    """Return values of N(0, 1) from its 1st to its 99th percentile, evenly spaced in probability: (count,)."""
    values: Tensor = torch.special.ndtri(torch.linspace(0.01, 0.99, count))
    return values


def plane(side: int = MANIFOLD_SIDE) -> Tensor:
    """Return the latents of the manifold, row by row from the upper left: (side^2, 2)."""
    first, second = torch.meshgrid(percentiles(side), percentiles(side).flip(0), indexing="xy")
    return torch.stack([first.flatten(), second.flatten()], 1)


def manifold(vae: VAE, side: int | None = None, spec: Any = None) -> Image.Image:
    """Decode a grid over percentiles of N(0, I) (Kingma & Welling 2014, arXiv:1312.6114, appendix A).

    The first axis goes to the right, the second upwards, each from the 1st to the 99th percentile.
    """
    side = side or manifold_side(vae.kind)
    return mosaic(decoded(first_label(vae), plane(side), spec), side)


def manifold_side(kind: Kind) -> int:
    """Return how many items a row of the manifold has; a few more than other mosaics."""
    return min(MANIFOLD_SIDE, kind.columns + kind.columns // 4)


def traversal_steps(kind: Kind) -> int:
    """Return how many items a row of a traversal has, with the middle."""
    return min(TRAVERSAL_STEPS, kind.columns + 1)


@torch.no_grad()
def traversals(vae: VAE, mu: Tensor, dimensions: Sequence[int], steps: int = TRAVERSAL_STEPS) -> Tensor:
    """Decode mu (D,), with one dimension per row moved over percentiles of N(0, 1): (rows steps, ...).

    A conditional model must know the label: `vae.given`.
    """
    z = mu.repeat(len(dimensions), steps, 1)  # (rows, steps, D)
    for row, j in enumerate(dimensions):
        z[row, :, j] = percentiles(steps)
    return vae.decode(z.flatten(0, 1)).mean


def neighbors(vae: VAE, queries: Tensor, nearest: Tensor, gap: int = 8, spec: Any = None) -> Image.Image:
    """Draw each query, (M, ...) rows, and after a wider gap its nearest items, (M, k, ...)."""
    rows = torch.cat([queries[:, None], nearest], 1)  # (M, 1 + k, ...)
    shown = seen(vae, rows.flatten(0, 1), spec)
    pixels = tile(shown, rows.shape[1])
    cut = shown.shape[2]
    blank = np.full((len(pixels), gap, pixels.shape[2]), 128, np.uint8)
    return to_image(np.concatenate([pixels[:, :cut], blank, pixels[:, cut:]], 1))


@torch.no_grad()
def evolution(vae: VAE, snapshots: Sequence[Path], test: Items, spec: Any = None) -> list[tuple[str, Image.Image]]:
    """Return (file stem, picture) for each snapshot: the same latents decoded; if D = 2, the scatter beside the manifold.

    Raises CheckpointError for a file that does not fit this VAE.
    """
    vae, dim = copy.deepcopy(vae), vae.config.latent_dim
    side = min(8, vae.kind.columns)
    z = torch.randn(side**2, dim, generator=torch.Generator().manual_seed(0))
    frames, own = [], vae.given(in_turn(vae.config.condition, len(z)))  # which shares the weights that are loaded
    for path in snapshots:
        try:
            vae.load_state_dict(read_tensors(path, lambda _: None).tensors)
        except (TensorFileError, OSError, RuntimeError) as error:
            raise CheckpointError(f"{path}: does not fit this model: {str(error).splitlines()[0]}") from None
        frames.append((path.stem, planes(vae, test, spec) if dim == 2 else mosaic(decoded(own, z, spec), side)))
    return frames


def planes(vae: VAE, test: Items, spec: Any = None) -> Image.Image:
    """Draw the encoder's plane, mu of the test pictures by label, beside the decoder's, the manifold, equally high."""
    encoded, drawn = scatter(vae, test), manifold(vae, spec=spec)
    enlarge = max(1, round(SCATTER_PIXELS / drawn.height))
    drawn = drawn.resize((enlarge * drawn.width, enlarge * drawn.height), Image.Resampling.NEAREST)
    encoded = encoded.resize((drawn.height, drawn.height), Image.Resampling.LANCZOS)
    both = Image.new("RGB", (encoded.width + 8 + drawn.width, drawn.height), "white")
    both.paste(encoded, (0, 0))
    both.paste(drawn, (encoded.width + 8, 0))
    return both


def animate(path: Path, frames: Sequence[tuple[str, Image.Image]], milliseconds: int = 350) -> None:
    """Write an animated WebP that loops, with a text below each frame; the last frame stays longer."""
    width, height = frames[0][1].size
    drawn = []
    for words, frame in frames:
        canvas = Image.new("RGB", (width, height + 24), "white")
        canvas.paste(frame, (0, 0))
        ImageDraw.Draw(canvas).text((4, height + 3), words, fill="black", font_size=16)
        drawn.append(canvas)
    durations = [milliseconds] * (len(drawn) - 1) + [4 * milliseconds]
    drawn[0].save(path, "WEBP", save_all=True, append_images=drawn[1:], duration=durations, loop=0, quality=80, method=4)


def scatter(vae: VAE, test: Items) -> Image.Image:
    """Draw mu of the test pictures by label, on squares of 1 by 1; drawn at twice the size, then halved."""
    size = 2 * SCATTER_PIXELS
    canvas = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(canvas)

    def place(value: float) -> float:
        return size * (0.5 + value / (2 * SCATTER_RANGE))

    for tick in range(-math.floor(SCATTER_RANGE) + 1, math.ceil(SCATTER_RANGE)):
        shade = "#999999" if tick == 0 else "#e4e4e4"
        draw.line([place(tick), 0, place(tick), size], fill=shade, width=2)
        draw.line([0, place(tick), size, place(tick)], fill=shade, width=2)
        draw.text((place(tick) + 6, size - 40), str(tick), fill="#555555", font_size=30)
        draw.text((6, place(-tick) + 2), str(tick), fill="#555555", font_size=30)
    labels = test.labels if test.labels is not None else torch.zeros(len(test), dtype=torch.long)
    classes = sorted(set(labels.tolist()))
    colors = {c: color_of(i, len(classes)) for i, c in enumerate(classes)}
    mu = vae.given(test.condition).encode(test.x).mu
    for (horizontal, vertical), label in zip(mu.tolist(), labels.tolist(), strict=True):
        x, y = place(horizontal), place(-vertical)
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colors[label])
    if len(classes) > 1:
        draw.rectangle([size - 110, 10, size - 10, 30 + 46 * len(classes)], fill="white", outline="#999999", width=2)
    for i, label in enumerate(classes if len(classes) > 1 else []):
        draw.ellipse([size - 96, 28 + 46 * i, size - 70, 54 + 46 * i], fill=colors[label])
        draw.text((size - 56, 22 + 46 * i), str(label), fill="black", font_size=32)
    return canvas.resize((SCATTER_PIXELS, SCATTER_PIXELS), Image.Resampling.LANCZOS)


# Ten colours that are easy to tell apart (Tableau 10); with more classes, hues are spaced evenly.
TEN_COLORS = ["#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#4a4a4a"]


def color_of(index: int, count: int) -> str:
    """Return the colour of one of `count` classes, as #rrggbb."""
    if count <= len(TEN_COLORS):
        return TEN_COLORS[index]
    red, green, blue = colorsys.hsv_to_rgb(index / count, 0.85, 0.9 if index % 2 == 0 else 0.55)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
