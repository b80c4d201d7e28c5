"""Numbers -> colours: a map that is even to the eye. Knows nothing of what the numbers mean."""

import numpy as np
from numpy.typing import NDArray

# Colours of the perceptually uniform map viridis (Smith & van der Walt 2015, CC0) at equal steps; between them it is linear.
VIRIDIS = np.array(
    [
        (68, 1, 84),
        (72, 40, 120),
        (62, 74, 137),
        (49, 104, 142),
        (38, 130, 142),
        (31, 158, 137),
        (53, 183, 121),
        (110, 206, 88),
        (181, 222, 43),
        (253, 231, 37),
    ],
    np.float64,
)


def colours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the colour of each value in [0, 1], (...) -> (..., 3), each channel from 0 to 255."""
    places = np.linspace(0, 1, len(VIRIDIS))
    return np.stack([np.interp(values, places, VIRIDIS[:, channel]) for channel in range(3)], axis=-1)
