"""Leave out points of polylines that hardly change them (Ramer 1972; Douglas & Peucker 1973). Knows nothing of formats."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.drawings.polylines import Points, extent

Places = NDArray[np.int64]  # numbers of points
Distances = NDArray[np.float64]

# A tolerance of this share of the larger side is not seen: QuickDraw uses 2 of 255.
SHARE = 2 / 255
GROWTH = 1.25
MOST_ROUNDS = 40
# So many distances are computed for a line at most, in a tenth of a second. Lines of less than 2,800 points need fewer.
MOST_DISTANCES = 4_000_000
# So few parts, or parts of so many points on average, are looked at one by one, which is faster.
FEW, LONG = 4, 100


def simplify(line: Points, tolerance: float) -> Points:
    """Return the polyline without the points that lie within `tolerance` of it. First and last point stay."""
    return line[_tolerances(line, tolerance) > tolerance]


def _tolerances(line: Points, least: float) -> Points:
    """Return the tolerance from which on each point is left out, (P,); 0 if that is `least` already.

    Where a line is split does not depend on the tolerance, so that one walk answers for all. Raises ValueError.
    """
    found = np.zeros(len(line))
    found[[0, -1]] = np.inf
    first, last, above = np.array([0]), np.array([len(line) - 1]), np.array([np.inf])
    distances = 0
    while (inner := last - first >= 2).any():  # All parts of a line that are equally often split are looked at together.
        first, last, above = first[inner], last[inner], above[inner]
        distances += int((last - first).sum())
        if distances > MOST_DISTANCES:
            raise ValueError(
                f"has a stroke of {len(line):,} points that turns so often that simplifying it takes too long: simplify it"
            )
        farthest, away = _farthest(line, first, last)
        is_kept = away > least
        first, last, middle = first[is_kept], last[is_kept], farthest[is_kept]
        own = np.minimum(above, away)[is_kept]
        found[middle] = own
        first, last, above = np.concatenate([first, middle]), np.concatenate([middle, last]), np.concatenate([own, own])
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


def _farthest(line: Points, first: Places, last: Places) -> tuple[Places, Distances]:
    """Return which point of each part of a line is farthest from the segment between the ends of the part, and how far.

    The parts have inner points. Of several that are equally far, the first one is returned.
    """
    counts = last - first - 1
    if len(counts) <= FEW or counts.sum() > LONG * len(counts):
        found = [_farthest_of_one(line[start : end + 1]) for start, end in zip(first, last, strict=True)]
        return first + 1 + np.array([index for index, _ in found]), np.array([away for _, away in found])
    starts = np.cumsum(counts) - counts
    part = np.repeat(np.arange(len(first)), counts)
    where = np.arange(len(part)) + (first + 1 - starts)[part]
    x, y = (line[where] - line[first[part]]).T
    along_x, along_y = (line[last] - line[first]).T
    length = along_x * along_x + along_y * along_y
    length[length == 0] = 1.0  # The ends are at one place, so the share below is 0 anyway.
    along_x, along_y = along_x[part], along_y[part]
    dot = np.where(counts[part] > 1, _fused(x, along_x, y * along_y), x * along_x + y * along_y)
    share = np.clip(dot / length[part], 0, 1)
    away = np.hypot(x - share * along_x, y - share * along_y)
    most = np.maximum.reduceat(away, starts)
    hits = np.flatnonzero(away == most[part])
    farthest = where[hits[np.diff(part[hits], prepend=-1) > 0]]
    return farthest, most


def _farthest_of_one(part: Points) -> tuple[int, float]:
    """Return which inner point of one part is farthest from the segment between its ends, counted from 0, and how far."""
    along, inner = part[-1] - part[0], part[1:-1] - part[0]
    length = float(along @ along) or 1.0
    share = np.clip(inner @ along / length, 0, 1)
    away = np.hypot(*(inner - share[:, None] * along).T)
    index = int(away.argmax())
    return index, float(away[index])


def _fused(a: Distances, b: Distances, c: Distances) -> Distances:
    """Return a b + c without rounding the product (Dekker 1971), as BLAS does where it multiplies and adds in one step.

    Of points that are equally far, as on a circle, the last bits decide: they must be the same however many parts are looked
    at together.
    """
    product, total = a * b, a * b + c
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    rest = total - product
    return np.asarray(total + (((product - (total - rest)) + (c - rest)) + error))


def _halves(a: Distances) -> tuple[Distances, Distances]:
    high = a * 134217729.0  # 2^27 + 1
    high = high - (high - a)
    return high, a - high
