"""Histograms that show when callers begin to send other pictures: the KL of posteriors, and -log p(x given z) of
reconstructions, in nats.

Knows nothing of lanes or requests.
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.inference.reconstruction_error import Score
from service.latents.kl import kl_per_dim
from service.observe.histogram import Histogram

# Digits of 28 x 28 have 20 to 30 nats of KL and 60 to 120 of reconstruction, colour pictures of 64 x 64 ten times as many.
# Densities may be negative, down to about -10,000.
KL_BOUNDS = (1.0, 2, 5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000)
NATS_BOUNDS = (10.0, 20, 40, 50, 60, 70, 80, 90, 100, 120, 150, 200, 300, 500, 1000, 2000, 3000, 5000, 10000)
DENSITY_BOUNDS = (
    *(-50000.0, -30000, -20000, -10000, -5000, -3000, -2000, -1500, -1000, -700, -500, -300, -100),
    *(0.0, 100, 300, 500, 1000, 2000, 5000, 10000),
)
# This many posteriors and pictures are collected and then weighed in one pass.
WAITING_POSTERIORS, WAITING_PICTURES = 256, 16


def kl(posteriors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return KL(q || N(0, I)) in nats, (N,), for rows (N, 3, D) of mu, sigma and logvar."""
    nats: NDArray[np.float32] = kl_per_dim(posteriors[:, 0], posteriors[:, 1], posteriors[:, 2]).sum(1)
    return nats


class Drift:
    """Histograms of one model, kept through all its reloads. Any thread may call the methods."""

    def __init__(self, is_density: bool) -> None:
        self._kl = Histogram(KL_BOUNDS)
        self._nats = Histogram(DENSITY_BOUNDS if is_density else NATS_BOUNDS)
        self._lock = threading.Lock()
        self._posteriors: list[NDArray[np.float32]] = []
        self._rows = 0  # in self._posteriors
        self._pictures: list[tuple[Score, NDArray[np.float32], NDArray[Any]]] = []

    @property
    def kl(self) -> Histogram:
        """KL of all pictures that were encoded."""
        with self._lock:
            self._weigh_posteriors()
        return self._kl

    @property
    def nats(self) -> Histogram:
        """-log p(x given z) of all pictures that were reconstructed."""
        with self._lock:
            self._weigh_pictures()
        return self._nats

    def encoded(self, blocks: Sequence[NDArray[np.float32]], rows: int) -> None:
        """Add the blocks (n, 3, D) of a batch. `rows`: how many rows they have in all."""
        with self._lock:
            self._posteriors.extend(blocks)
            self._rows += rows
            if self._rows >= WAITING_POSTERIORS:
                self._weigh_posteriors()

    def reconstructed(self, score: Score, means: NDArray[np.float32], x: NDArray[Any]) -> None:
        """Add the reconstructions `means` (N, H, W, C) of the pictures `x` (N, C, H, W)."""
        with self._lock:
            self._pictures.append((score, means, x))
            if sum(len(means) for _, means, _ in self._pictures) >= WAITING_PICTURES:
                self._weigh_pictures()

    def _weigh_posteriors(self) -> None:
        blocks, self._posteriors, self._rows = self._posteriors, [], 0
        if blocks:
            self._kl.observe_all(kl(np.concatenate(blocks)).tolist())

    def _weigh_pictures(self) -> None:
        waiting, self._pictures = self._pictures, []
        for one in dict.fromkeys(score for score, _, _ in waiting):  # more than one only around a reload
            means = [means for score, means, _ in waiting if score == one]
            pictures = [_unit(x) for score, _, x in waiting if score == one]
            self._nats.observe_all(one(np.concatenate(means), np.concatenate(pictures)).tolist())


def _unit(x: NDArray[Any]) -> NDArray[np.float32]:
    """Return pixels in [0, 1]."""
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x
