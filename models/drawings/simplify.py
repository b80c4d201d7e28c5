"""Leave out points of polylines that hardly change them (Ramer 1972; Douglas & Peucker 1973). Knows nothing of formats."""

from collections.abc import Sequence

import numpy as np

from models.drawings.polylines import Points, extent

# A tolerance of this share of the larger side is not seen: QuickDraw uses 2 of 255.
SHARE = 2 / 255
GROWTH = 1.25
MOST_ROUNDS = 40


def simplify(line: Points, tolerance: float) -> Points:
    """Return the polyline without the points that lie within `tolerance` of it. First and last point stay."""
    if len(line) < 3:
        return line
    kept = np.zeros(len(line), bool)
    kept[[0, -1]] = True
    waiting = [(0, len(line) - 1)]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        away = _distances(line[first + 1 : last], line[first], line[last])
        farthest = int(away.argmax())
        if away[farthest] > tolerance:
            middle = first + 1 + farthest
            kept[middle] = True
            waiting += [(first, middle), (middle, last)]
    return line[kept]


def to_length(polylines: Sequence[Points], most: int) -> tuple[list[Points], float]:
    """Return polylines of at most `most` points in all, and the tolerance that this took, 0 if nothing was left out.

    Raises ValueError if strokes are so many that even straight lines have more points.
    """
    lines, tolerance = list(polylines), 0.0
    size = extent(lines) or 1.0
    for attempt in range(MOST_ROUNDS):
        if sum(map(len, lines)) <= most:
            return lines, tolerance
        tolerance = size * SHARE / 4 * GROWTH**attempt
        lines = [simplify(line, tolerance) for line in polylines]
    if sum(map(len, lines)) <= most:
        return lines, tolerance
    least = sum(min(2, len(line)) for line in polylines)
    raise ValueError(
        f"has {len(lines):,} strokes, which need at least {least:,} points; {most:,} are allowed: give fewer strokes"
    )


def _distances(points: Points, first: Points, last: Points) -> Points:
    """Return the distance of each point from the line segment between two points."""
    along = last - first
    length = float(along @ along)
    if length == 0:
        return np.asarray(np.hypot(*(points - first).T))
    share = np.clip((points - first) @ along / length, 0, 1)
    return np.asarray(np.hypot(*(points - first - share[:, None] * along).T))
