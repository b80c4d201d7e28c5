"""Quantise latents with bins as wide as their posteriors are, and back. Pure functions; know nothing of files or models."""

import numpy as np
from numpy.typing import NDArray

# No dimension is stretched by more than 1 + MOST_STRETCH * sharpen; those that a model does not use would be without end.
MOST_STRETCH = 4.0


def precision(sigma: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean of 1 / sigma^2 over the items, sigma (N, D) -> (D,)."""
    return np.asarray((1 / np.square(sigma.astype(np.float64))).mean(0))


def widths(precision: NDArray[np.float64], step: float) -> NDArray[np.float32]:
    """Return the width of the bins of each dimension, (D,): step / sqrt(precision).

    Rounding to bins of width w moves mu by an error of variance w^2 / 12, which costs w^2 / (24 sigma^2) nats (the squared
    error in sigmas; Yang et al. 2020, arXiv:2002.08158). With these widths it is step^2 / 24 on average in each dimension.
    """
    return np.asarray(step / np.sqrt(precision), np.float32)


def scales(precision: NDArray[np.float64], width: NDArray[np.float32], sharpen: float) -> NDArray[np.float32]:
    """Return what the latent is per index of its bin, (D,): width * (1 + sharpen / (precision - 1)).

    The prior N(0, I) has the precision 1 and draws mu towards 0. In a linear model, sharpen = 1 gives the latent that a
    picture alone would have, whose reconstruction has the smallest squared error. See docs/latents.md.
    """
    stretch = 1 / np.maximum(precision - 1, 1 / MOST_STRETCH)
    return np.asarray(width * (1 + sharpen * stretch), np.float32)


def quantize(mu: NDArray[np.float32], width: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the index of the bin of each number, whole numbers (N, D): bin k reaches from (k - 1/2) to (k + 1/2) width."""
    indices: NDArray[np.float64] = np.rint(mu.astype(np.float64) / width)
    return indices


def dequantize(index: NDArray[np.int32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the latents of bins, float32 (N, D): index * scale, computed in float64 and rounded once."""
    return np.ascontiguousarray(index * scale.astype(np.float64), np.float32)
