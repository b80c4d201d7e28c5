"""Draws from a Gaussian mixture. Knows nothing of how it was fitted, nor of models or requests."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mixture:
    """sum_k weights_k N(means_k, scale_k scale_k^T), fitted to a model's aggregate posterior; float64."""

    weights: NDArray[np.float64]  # (K,), their sum is 1
    means: NDArray[np.float64]  # (K, D)
    scale: NDArray[np.float64]  # (K, D, D) lower triangular, or (K, D) standard deviations

    def draw(self, eps: NDArray[np.float32], uniform: NDArray[np.float64], temperature: float) -> NDArray[np.float32]:
        """Return means_k + temperature scale_k eps, k by the inverse CDF of the weights: (N, D), (N,) -> float32 (N, D).

        Sums are taken term by term in float64, so that a row is the same on every machine, whatever other rows there are.
        """
        k = np.searchsorted(np.cumsum(self.weights)[:-1], uniform, side="right")
        noise = eps.astype(np.float64)
        if self.scale.ndim == 2:
            moved = self.scale[k] * noise
        else:
            moved = np.zeros_like(noise)
            for j in range(noise.shape[1]):
                moved += self.scale[k, :, j] * noise[:, j, None]
        z: NDArray[np.float32] = (self.means[k] + temperature * moved).astype(np.float32)
        return z
