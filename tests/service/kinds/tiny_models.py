"""Tiny models of each kind, trained for a moment on real data. Knows nothing of what is tested with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import models
from models import VAE, VAEConfig
from models.data.sources import load_data
from models.distributions import DiagonalGaussian
from models.kinds.strokes import StrokeFormat
from models.kinds.text import TextFormat, characters_of

DATA = Path(__file__).parent.parent.parent / "data"


def save_kinds(directory: Path) -> dict[str, torch.Tensor]:
    """Save "penguins" (a table), "strokes", "lines" (texts), and "grey" (pictures). Return the rows that they have seen."""
    torch.manual_seed(0)
    models.save(directory / "grey", VAE(VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})))
    return {"penguins": save_table(directory), **save_sequences(directory)}


def save_table(directory: Path) -> torch.Tensor:
    """Save "penguins", which ignores the columns "tag" and "note", and return its rows."""
    table = load_data(f"csv:{DATA / 'penguins.csv'}", directory)
    spec = replace(table.preprocessing, left_out=("tag", "note"))
    sizes, floors = [one.cardinality for one in spec.columns], [one.floor for one in spec.columns]
    net, likelihood = {"cardinalities": sizes, "hidden": [32]}, {"cardinalities": sizes, "floors": floors}
    config = VAEConfig(spec.shape, 4, "table", net, "columns", likelihood, kind="table")
    models.save(directory / "penguins", train(config, table.train.x, 150), spec)
    return table.train.x


def train(config: VAEConfig, x: torch.Tensor, steps: int) -> VAE:
    """Return a model that has seen so many batches of rows."""
    torch.manual_seed(0)
    vae = VAE(config).train()
    optimizer = torch.optim.Adam(vae.parameters(), 3e-3)
    for step in range(steps):
        rows = vae.kind.to_x(x[torch.randint(len(x), (32,), generator=torch.Generator().manual_seed(step))])
        posterior = vae.encode(rows)
        z = posterior.sample(torch.randn_like(posterior.mu))
        loss = (posterior.kl(DiagonalGaussian.standard(posterior.mu)) - vae.decode(z).log_prob(rows)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return vae.eval().requires_grad_(False)


def save_sequences(directory: Path) -> dict[str, torch.Tensor]:
    """Save "strokes", polygons of up to 24 points, and "lines", lines of this repository. Return their rows."""
    noise = np.random.default_rng(0)
    drawings = [polygon(int(noise.integers(3, 9)), noise) for _ in range(300)]
    spec = StrokeFormat(24, float(np.std(np.concatenate(drawings)[:, :2])), 100.0)
    config = VAEConfig(
        spec.shape, 4, "lstm", {"outputs": 3 + 6 * 4, "encoder": 24, "decoder": 32}, "mixture", {}, kind="strokes"
    )
    x = torch.from_numpy(spec.rows(drawings, 24))
    models.save(directory / "strokes", train(config, x, 60), spec)
    readme = (DATA / "README.md").read_text()
    texts = [line[:20].lower() for line in readme.splitlines() if line.strip()]
    words = TextFormat(20, characters_of(texts))
    net = {"outputs": words.count, "encoder": 24, "decoder": 32, "embedding": 8}
    config = VAEConfig(words.shape, 4, "lstm", net, "categorical", {}, kind="text")
    rows = torch.from_numpy(words.rows(texts, 20))
    models.save(directory / "lines", train(config, rows, 60), words)
    return {"strokes": x, "lines": rows}


def polygon(corners: int, noise: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return a closed polygon as stroke-3, about 100 wide."""
    turns = 2 * np.pi * (np.arange(corners + 1) + noise.random()) / corners
    places = np.stack([np.cos(turns), np.sin(turns)], 1) * noise.uniform(40, 60)
    pen = np.zeros(corners + 1)
    pen[-1] = 1
    return np.column_stack([np.diff(places, axis=0, prepend=places[:1]), pen])
