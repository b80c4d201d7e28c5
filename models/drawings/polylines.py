"""Polylines <-> stroke-3: rows (dx, dy, pen), pen = 1 at the last point of a stroke (Ha & Eck 2017, arXiv:1704.03477).

The first row moves the pen to where the drawing begins; a row draws a line unless the row before it lifted the pen. Knows
nothing of file formats.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (P, 2): x to the right, y down, as in SVG and pictures
Drawing = NDArray[np.float64]  # (n, 3): stroke-3


def to_stroke3(polylines: Sequence[Points]) -> Drawing:
    """Return the stroke-3 of polylines. The first point becomes the origin; empty polylines are left out."""
    parts = [np.asarray(line, np.float64).reshape(-1, 2) for line in polylines if len(line)]
    if not parts:
        return np.zeros((0, 3))
    places = np.concatenate(parts)
    drawing = np.zeros((len(places), 3))
    drawing[1:, :2] = places[1:] - places[:-1]
    drawing[np.cumsum([len(part) for part in parts]) - 1, 2] = 1
    return drawing


def to_polylines(drawing: Drawing) -> list[Points]:
    """Return the polylines of stroke-3, in absolute coordinates."""
    places = np.cumsum(np.asarray(drawing, np.float64)[:, :2], 0)
    ends = np.flatnonzero(np.asarray(drawing)[:, 2] == 1) + 1
    return [part for part in np.split(places, ends) if len(part)]


def extent(polylines: Sequence[Points]) -> float:
    """Return the larger side of the box around polylines; 0 if there is at most one place."""
    if not polylines:
        return 0.0
    places = np.concatenate(polylines)
    return float(np.ptp(places, 0).max()) if len(places) else 0.0
