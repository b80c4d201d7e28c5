"""Draws from a Gaussian mixture. Knows nothing of how it was fitted, nor of models or requests."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

# So many rows are drawn at a time, since each takes D x D numbers.
ROWS = 256


@dataclass(frozen=True)
class Mixture:
    """sum_k weights_k N(means_k, scale_k scale_k^T), fitted to a model's aggregate posterior; float64."""

    weights: NDArray[np.float64]  # (K,), their sum is 1
    means: NDArray[np.float64]  # (K, D)
    scale: NDArray[np.float64]  # (K, D, D) lower triangular, or (K, D) standard deviations

    @cached_property
    def _bounds(self) -> NDArray[np.float64]:
        """Upper ends of the components' parts of (0, 1), but the last, (K - 1,)."""
        return np.cumsum(self.weights)[:-1]

    @cached_property
    def _columns(self) -> NDArray[np.float64]:
        """The columns of each scale_k one after the other, (K, D, D)."""
        return np.ascontiguousarray(self.scale.transpose(0, 2, 1))

    def draw(self, eps: NDArray[np.float32], uniform: NDArray[np.float64], temperature: float) -> NDArray[np.float32]:
        """Return means_k + temperature scale_k eps, k by the inverse CDF of the weights: (N, D), (N,) -> float32 (N, D).

        Sums are taken term by term in float64, so that a row is the same on every machine, whatever other rows there are.
        """
        k = np.searchsorted(self._bounds, uniform, side="right")
        noise = eps.astype(np.float64)
        if self.scale.ndim == 2:
            moved = self.scale[k] * noise
        else:
            moved = np.empty_like(noise)
            for first in range(0, len(k), ROWS):
                rows = slice(first, first + ROWS)
                terms = self._columns[k[rows]]  # (n, D, D)
                terms *= noise[rows, :, None]
                np.add.reduce(terms, axis=1, out=moved[rows])  # one column after the other
        z: NDArray[np.float32] = (self.means[k] + temperature * moved).astype(np.float32)
        return z
