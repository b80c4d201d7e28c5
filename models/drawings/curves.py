"""Curves of SVG as points: Bezier curves and elliptical arcs. Knows nothing of path data or files.

Every curve gets a fixed number of points, so that no path can ask for more than it has commands; `simplify` then leaves out
those that are not needed.
"""

import math

import numpy as np

from models.drawings.polylines import Points

STEPS = 16  # points of a Bezier curve, and of half a circle
# Lengths of an arc that differ by such a factor are not computed with: their squares would overflow.
FARTHEST = 1e100


def bezier(*controls: complex) -> list[complex]:
    """Return the points after the first of a quadratic or cubic Bezier curve with these control points."""
    t = np.arange(1, STEPS + 1) / STEPS
    if len(controls) == 3:
        a, b, c = controls
        found = (1 - t) ** 2 * a + 2 * (1 - t) * t * b + t**2 * c
    else:
        a, b, c, d = controls
        found = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
    return [*found[:-1].tolist(), controls[-1]]


def arc(start: complex, radius: complex, rotation: float, large: bool, sweep: bool, end: complex) -> list[complex]:
    """Return the points after the first of an elliptical arc; SVG 2, appendix B.2 (conversion to the centre)."""
    rx, ry = abs(radius.real), abs(radius.imag)
    if start == end:
        return []
    if rx == 0 or ry == 0:
        return [end]
    turn = complex(math.cos(math.radians(rotation)), math.sin(math.radians(rotation)))
    half = (start - end) / 2 * turn.conjugate()
    larger, reach = max(rx, ry), abs(half)
    if larger * FARTHEST < reach:
        rx, ry = rx / larger * reach, ry / larger * reach  # SVG scales them up anyway; their ratio stays.
    if min(rx, ry) * FARTHEST < reach:  # The ellipse is so narrow that its height cannot be computed.
        return [end]
    needed = (half.real / rx) ** 2 + (half.imag / ry) ** 2
    if needed > 1:  # The radii are too small to reach: SVG scales them up.
        rx, ry = rx * math.sqrt(needed), ry * math.sqrt(needed)
    scaled = complex(half.real / rx, half.imag / ry)
    size = abs(scaled) ** 2
    if size < 1 / FARTHEST**3:
        return [end]
    center = scaled * 1j * math.sqrt(max(0.0, (1 - size) / size)) * (1 if large == sweep else -1)
    first, last = scaled - center, -scaled - center
    angle = math.atan2(first.imag, first.real)
    swept = math.atan2(last.imag, last.real) - angle
    if sweep and swept < 0:
        swept += 2 * math.pi
    elif not sweep and swept > 0:
        swept -= 2 * math.pi
    angles = angle + swept * np.arange(1, 2 * STEPS + 1) / (2 * STEPS)
    middle = (start + end) / 2
    circle = center + np.exp(1j * angles)
    found = (circle.real * rx + 1j * circle.imag * ry) * turn + middle
    return [*found[:-1].tolist(), end]


def ellipse(center: complex, rx: float, ry: float) -> Points:
    """Return the points of a whole ellipse, (P, 2); the last is the first."""
    angles = 2 * math.pi * np.arange(4 * STEPS + 1) / (4 * STEPS)
    return np.stack([center.real + rx * np.cos(angles), center.imag + ry * np.sin(angles)], 1)
