"""Leave out points of polylines that hardly change them (Ramer 1972; Douglas & Peucker 1973). Knows nothing of formats."""

from collections.abc import Sequence

import numpy as np

from models.drawings.polylines import Points, extent

# A tolerance of this share of the larger side is not seen: QuickDraw uses 2 of 255.
SHARE = 2 / 255
GROWTH = 1.25
MOST_ROUNDS = 40
# So many distances are computed for a line at most, in a tenth of a second. Lines of less than 2,800 points need fewer.
MOST_DISTANCES = 4_000_000


def simplify(line: Points, tolerance: float) -> Points:
    """Return the polyline without the points that lie within `tolerance` of it. First and last point stay."""
    return line[_tolerances(line, tolerance) > tolerance]


def _tolerances(line: Points, least: float) -> Points:
    """Return the tolerance from which on each point is left out, (P,); 0 if that is `least` already.

    Where a line is split does not depend on the tolerance, so that one walk answers for all. Raises ValueError.
    """
    found = np.zeros(len(line))
    found[[0, -1]] = np.inf
    waiting, distances = [(0, len(line) - 1, np.inf)], 0
    while waiting:
        first, last, above = waiting.pop()
        if last - first < 2:
            continue
        distances += last - first
        if distances > MOST_DISTANCES:
            raise ValueError(
                f"has a stroke of {len(line):,} points that turns so often that simplifying it takes too long: simplify it"
            )
        away = _distances(line[first + 1 : last], line[first], line[last])
        farthest = int(away.argmax())
        if away[farthest] > least:
            middle = first + 1 + farthest
            found[middle] = own = min(above, float(away[farthest]))
            waiting += [(first, middle, own), (middle, last, own)]
    return found


def to_length(polylines: Sequence[Points], most: int) -> tuple[list[Points], float]:
    """Return polylines of at most `most` points in all, and the tolerance that this took, 0 if nothing was left out.

    Raises ValueError if strokes are so many that even straight lines have more points, or a stroke turns too often.
    """
    lines, tolerance = list(polylines), 0.0
    if sum(map(len, lines)) <= most:
        return lines, tolerance
    least = sum(min(2, len(line)) for line in polylines)
    if least > most:
        raise ValueError(
            f"has {len(lines):,} strokes, which need at least {least:,} points; {most:,} are allowed: give fewer strokes"
        )
    size = extent(lines) or 1.0
    each = [_tolerances(line, size * SHARE / 4) for line in lines]
    for attempt in range(MOST_ROUNDS):
        if sum(map(len, lines)) <= most:
            return lines, tolerance
        tolerance = size * SHARE / 4 * GROWTH**attempt
        lines = [line[own > tolerance] for line, own in zip(polylines, each, strict=True)]
    return lines, tolerance  # larger than the drawing, so that only straight lines are left


def _distances(points: Points, first: Points, last: Points) -> Points:
    """Return the distance of each point from the line segment between two points."""
    along = last - first
    length = float(along @ along)
    if length == 0:
        return np.asarray(np.hypot(*(points - first).T))
    share = np.clip((points - first) @ along / length, 0, 1)
    return np.asarray(np.hypot(*(points - first - share[:, None] * along).T))
