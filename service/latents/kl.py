"""The KL divergence of posteriors from the prior N(0, I). A pure function."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", NDArray[np.float32], NDArray[np.float64])


def kl_per_dim(mu: F, sigma: F, logvar: F) -> F:
    """Return KL(q || N(0, I)) of diagonal Gaussians in nats for each dimension: 1/2 (mu^2 + sigma^2 - 1 - logvar)."""
    nats: F = 0.5 * (mu * mu + sigma * sigma - 1 - logvar)
    return nats
