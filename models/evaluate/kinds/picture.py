"""How models of pictures are measured: binarised, as densities of bytes, by features of a classifier, and in pixels."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from models import scores
from models.data import class_names
from models.data.items import Splits
from models.distributions import DiagonalGaussian
from models.evaluate import densities, neighbors, strangers
from models.evaluate.headings import kind_of
from models.evaluate.kinds.measuring import Measuring, mean_of
from models.evaluate.sample_quality import KEY, sample_quality
from models.mixture import FittedPrior
from models.scores import Array
from models.sigma import sigma_of
from models.vae import VAE


class PictureMeasuring(Measuring):
    """The measurement of pictures."""

    parts: ClassVar[str] = "pixels"
    scores: ClassVar[tuple[str, ...]] = ("reconstruction", "deviance", "unexplained")

    def prepared(self, vae: VAE, rows: Tensor, data: Mapping[str, Any], noise: torch.Generator) -> Tensor:
        """Return the pixels whose nats are measured: binarised, dequantised for a density, or plain; uint8 -> float32."""
        if _binarized(data):
            return torch.bernoulli(self.kind.to_x(rows), generator=noise)
        if vae.config.likelihood in densities.DENSITIES:
            return densities.dequantized(rows, vae.config.likelihood, noise)
        return self.kind.to_x(rows)

    def values(self, vae: VAE, data: Mapping[str, Any], seed: int) -> str:
        if _binarized(data):
            return f"0/1, each drawn once with its grey as probability, seed {seed}"
        if vae.config.likelihood in densities.DENSITIES:
            return densities.pixels(vae.config.likelihood, seed)
        words = f"{'greys' if vae.config.shape[0] == 1 else 'colours'} in [0, 1]"
        return words + ", whose nats under a Bernoulli likelihood are a cross-entropy: no likelihood to compare with others"

    def raw(self, vae: VAE) -> str:
        return "grey pixels" if vae.config.shape[0] == 1 else "pixels in colour"

    def nats(self, vae: VAE, x: Tensor) -> str:
        return kind_of(vae.config.likelihood, bool(((x == 0) | (x == 1)).all()))

    def densities(
        self,
        vae: VAE,
        rows: Tensor,
        metrics: Mapping[str, Any],
        data: Mapping[str, Any],
        seed: int,
        condition: Tensor | None = None,
    ) -> dict[str, Any]:
        if _binarized(data):
            return {}
        return densities.density_numbers(vae, rows, metrics, data.get("training", {}), seed, condition)

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
        numbers, protocol = dict[str, Any](), dict[str, str]()
        numbers[KEY], protocol[KEY] = sample_quality(vae, splits, prior, seed, device, class_names(data))
        return numbers, protocol

    def nearest(self, splits: Splits, device: torch.device) -> dict[str, float]:
        if splits.train.labels is None or splits.test.labels is None:
            return {}
        known, labels = splits.train.labels.to(device), splits.test.labels.to(device)
        return {"pixels": neighbors.pixel_accuracy(splits.train.x.to(device), known, splits.test.x.to(device), labels)}

    def strangers(self, rows: Tensor, seed: int) -> dict[str, Tensor]:
        return strangers.strangers(rows, seed)

    def item_scores(self, vae: VAE, rows: Tensor, posterior: DiagonalGaussian) -> dict[str, Array]:
        likelihood, sigma = vae.config.likelihood, sigma_of(vae)
        x, mean = rows.numpy(), mean_of(vae, posterior.mu)
        return {
            "reconstruction": scores.squared_error(x, mean),
            "deviance": scores.deviance(likelihood, x, mean, sigma),
            "unexplained": scores.unexplained(x, mean),
        }

    def log_likelihood(self, vae: VAE, rows: Tensor, z: Tensor) -> Array:
        return scores.log_likelihood(vae.config.likelihood, rows.numpy(), mean_of(vae, z), sigma_of(vae))


def _binarized(data: Mapping[str, Any]) -> bool:
    return data.get("binarize") == "dynamic"
