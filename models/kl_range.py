"""The KL of a model's test pictures, as metrics.json records it, and what is far outside of it.

A KL is unusual if it is below low - (high - low) or above high + (high - low), where low and high are the 0.1 % and 99.9 %
quantiles over the test pictures. The margin, high - low, counts as at least 1 nat.

Knows nothing of models, files or HTTP.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY = "kl_range"
# Shares of the test pictures whose KL is below `low`, and below `high`.
QUANTILES = (0.001, 0.999)
# The least distance in nats from `low` and `high` at which a KL is unusual.
LEAST_MARGIN = 1.0
PROTOCOL = (
    "KL(q(z given x), N(0, I)) in nats of each test picture as the service gets it (not binarised): the 0.1 % and 99.9 % "
    "quantiles (low, high) and the maximum; the service calls a KL unusual that is farther outside of low and high than these "
    "are from each other"
)


@dataclass(frozen=True)
class KlRange:
    """The KL of nearly all test pictures, in nats."""

    low: float
    high: float

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest KL that are not unusual. Good pictures of another source may have 1.5 times `high`."""
        margin = max(self.high - self.low, LEAST_MARGIN)
        return self.low - margin, self.high + margin


def measured(nats: NDArray[Any]) -> dict[str, float]:
    """Return what metrics.json records of the KL of test pictures, (N,)."""
    low, high = np.quantile(nats, QUANTILES)
    values = {"low": low, "high": high, "maximum": nats.max()}
    return {name: round(float(value), 4) for name, value in values.items()}


def recorded(metrics: Mapping[str, Any]) -> KlRange | None:
    """Return the range in the numbers of metrics.json; None if there is none, or not a usable one."""
    found = metrics.get(KEY)
    values: list[Any] = [found.get("low"), found.get("high")] if isinstance(found, Mapping) else []
    if not values or not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        return None
    low, high = (float(value) for value in values)
    return KlRange(low, high) if low <= high else None
