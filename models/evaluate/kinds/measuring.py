"""How models of any kind are measured: which values have nats, what they are called, and what scores an item has.

The class fits any kind. A kind that measures more has a subclass in this folder. Knows nothing of files or cards.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.items import Splits
from models.distributions import DiagonalGaussian
from models.kinds.kind import Kind
from models.mixture import FittedPrior
from models.scores import Array
from models.vae import VAE


class Measuring:
    """What the measurement of one kind adds to the shared code of `models.evaluate`."""

    scores: ClassVar[tuple[str, ...]] = ("nll",)  # of an item against its reconstruction, see `models.scores`
    # The scores that a calibration combines; None: those that separate strangers best are chosen.
    default_scores: ClassVar[tuple[str, ...] | None] = None
    parts: ClassVar[str] = "values"  # what the nats of an item are summed over
    explained: ClassVar[Mapping[str, str]] = {}  # keys of the protocol in metrics.json -> their names in the card
    left_out: ClassVar[str] = (
        "Fréchet distance, precision and recall of samples, bits per dimension, and neighbours in pixels are measured for "
        "pictures only"
    )

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def prepared(self, vae: VAE, rows: Tensor, data: Mapping[str, Any], noise: torch.Generator) -> Tensor:
        """Return the x whose nats are measured: (N, ...) -> (N, ...). `data` is that of the checkpoint's manifest."""
        return self.kind.to_x(rows)

    def values(self, vae: VAE, data: Mapping[str, Any], seed: int) -> str:
        """Describe the result of `prepared` for the protocol."""
        return "as the net takes them"

    def raw(self, vae: VAE) -> str:
        """Say what the rows are of which latents are measured."""
        return f"whole {self.kind.many}"

    def nats(self, vae: VAE, x: Tensor) -> str:
        """Return what the nats of x are, a key of `models.evaluate.headings.KINDS`."""
        return "density" if self.kind.density else "likelihood"

    def densities(
        self,
        vae: VAE,
        rows: Tensor,
        metrics: Mapping[str, Any],
        data: Mapping[str, Any],
        seed: int,
        condition: Tensor | None = None,
    ) -> dict[str, Any]:
        """Return the numbers of a density of rows with known steps, such as bytes; {} where there are none.

        `condition`: what a conditional model is told about each, int64 (N,).
        """
        return {}

    def more(
        self,
        vae: VAE,
        splits: Splits,
        metrics: Mapping[str, Any],
        data: Mapping[str, Any],
        prior: FittedPrior | None,
        seed: int,
        device: torch.device,
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return numbers that only this kind has, and their protocols."""
        return {}, {"left_out": self.left_out}

    def rows(self, metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return rows of the numbers in card and report for what `more` gave: what it is, its value, the protocol's key."""
        return []

    def table(self, metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
        """Return one more table of the card and the report, its first row the headings; [] for none."""
        return []

    def nearest(self, splits: Splits, device: torch.device) -> dict[str, float]:
        """Return the accuracy of the nearest neighbours by distances of the rows themselves, by name."""
        return {}

    def strangers(self, rows: Tensor, seed: int) -> dict[str, Tensor]:
        """Return items that are strangers to a model, made out of its own, by the name of what was done: (N, ...) each."""
        noise = torch.Generator().manual_seed(seed)
        flat = rows.flatten(1)
        orders = torch.rand(flat.shape, generator=noise).argsort(0)
        half = rows.clone()
        other = rows[torch.randperm(len(rows), generator=noise)]
        half[:, : rows.shape[1] // 2] = other[:, : rows.shape[1] // 2]
        one = self.kind.noun
        return {f"each value from another {one}": flat.gather(0, orders).view_as(rows), f"half from another {one}": half}

    def item_scores(self, vae: VAE, rows: Tensor, posterior: DiagonalGaussian) -> dict[str, Array]:
        """Return the `scores` of items, whose posteriors are on the device of `vae`: (N, ...) -> name -> (N,)."""
        return {"nll": -self.log_likelihood(vae, rows, posterior.mu)}

    def log_likelihood(self, vae: VAE, rows: Tensor, z: Tensor) -> Array:
        """Return log p(x given z) in nats: (N, ...), (N, D) -> (N,), float64."""
        x = self.kind.to_x(self.kind.cut(rows).to(z.device))
        return np.asarray(vae.decode(z).log_prob(x).double().cpu().numpy(), np.float64)


def mean_of(vae: VAE, z: Tensor) -> NDArray[np.float32]:
    """Return the means of the likelihood: (N, D) -> (N, ...)."""
    return vae.decode(z).mean.float().cpu().numpy()
