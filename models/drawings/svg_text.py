"""Polylines -> an SVG file, or path data. Knows nothing of models."""

from collections.abc import Sequence

import numpy as np

from models.drawings.polylines import Points

# Width of the pen and margin, as shares of the larger side.
PEN, MARGIN = 0.025, 0.06
# The side in pixels that an SVG asks for; it can be shown at any size.
SIDE = 256


def path_data(polylines: Sequence[Points], digits: int = 2) -> str:
    """Return path data with absolute moves and relative lines, rounded to so many decimals."""
    parts = list[str]()
    for line in polylines:
        if not len(line):
            continue
        places = np.round(line, digits)
        steps = np.diff(places, axis=0) if len(places) > 1 else np.zeros((1, 2))  # A dot: round caps show it.
        parts.append(f"M{_pair(places[0], digits)}l" + " ".join(_pair(step, digits) for step in steps))
    return "".join(parts)


def svg(polylines: Sequence[Points], digits: int = 2) -> str:
    """Return an SVG file with black lines on a transparent ground, in a square around the drawing."""
    places = np.concatenate([line for line in polylines if len(line)] or [np.zeros((1, 2))])
    low, high = places.min(0), places.max(0)
    size = float((high - low).max()) or 1.0
    side = size * (1 + 2 * MARGIN)
    corner = (low + high) / 2 - side / 2
    box = f"{_pair(corner, digits)} {_number(side, digits)} {_number(side, digits)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" width="{SIDE}" height="{SIDE}">'
        f'<path fill="none" stroke="black" stroke-width="{_number(size * PEN, digits + 1)}" stroke-linecap="round" '
        f'stroke-linejoin="round" d="{path_data(polylines, digits)}"/></svg>\n'
    )


def _pair(place: Points, digits: int) -> str:
    return f"{_number(float(place[0]), digits)} {_number(float(place[1]), digits)}"


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits > 0 else f"{value:.0f}"
    return "0" if text in ("-0", "") else text
