"""Shortest paths in the graph of nearest neighbours of a set of latents. Pure functions; know nothing of models or requests.

scipy is imported inside, because importing it takes long.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Numbers = NDArray[np.int64]

# Rows whose distances to all others are computed at a time: 20 MB for 10,000 others.
BLOCK = 256
# A cost of 0 would be no edge for scipy.
LEAST_COST = 1e-12


@dataclass(frozen=True, slots=True)
class Graph:
    """N latents, and the pairs of them that are joined, with the length of each edge."""

    mu: Floats  # (N, D)
    pairs: Numbers  # (E, 2)
    length: Doubles  # (E,)


def nearest(points: Floats, mu: Floats, k: int) -> Numbers:
    """Return the rows of the k nearest of mu (N, D) to each point (Q, D), nearest first, ties by row: (Q, k), k <= N."""
    found = np.empty((len(points), k), np.int64)
    for first in range(0, len(points), BLOCK):
        squares = _squares(points[first : first + BLOCK], mu)
        among = np.argpartition(squares, k - 1, axis=1)[:, :k]
        order = np.lexsort((among, np.take_along_axis(squares, among, 1)), axis=1)
        found[first : first + BLOCK] = np.take_along_axis(among, order, 1)
    return found


def neighbor_pairs(mu: Floats, neighbors: Numbers) -> Numbers:
    """Return the pairs (E, 2) of a connected graph: each latent with its neighbours (N, k), and between parts the nearest two.

    Parts are joined as in Boruvka's algorithm: each part but the largest with what is nearest to it, until one is left.
    """
    count, k = neighbors.shape
    pairs = _unique(np.column_stack([np.repeat(np.arange(count), k), neighbors.ravel()]))
    while (part := _parts(count, pairs)).any():
        pairs = _unique(np.concatenate([pairs, _bridges(mu, part)]))
    return pairs


def shortest_path(
    graph: Graph, ends: tuple[Numbers, Numbers], lengths: tuple[Doubles, Doubles], power: float
) -> tuple[list[int], Doubles]:
    """Return the rows on the shortest path between two points, in order, and the lengths of its edges, one more than rows.

    The points themselves are no rows. `ends`: the rows that start and end are joined with; `lengths`: of these edges. An edge
    costs length ** power. With a power above 1, many short edges cost less than a long one, and edges are short where there
    are many latents (power-weighted shortest paths: Hwang, Damelin & Hero 2016, arXiv:1202.0045).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    count = len(graph.mu)
    joined = [np.column_stack([np.full(len(rows), count + i), rows]) for i, rows in enumerate(ends)]
    first, second = np.concatenate([graph.pairs, *joined]).T
    cost = np.maximum(np.concatenate([graph.length, *lengths]) ** power, LEAST_COST)
    matrix = coo_array((cost, (first, second)), shape=(count + 2, count + 2)).tocsr()
    _, before = dijkstra(matrix, directed=False, indices=count, return_predecessors=True)  # type: ignore[call-overload]
    path = [count + 1]
    while path[-1] != count:
        path.append(int(before[path[-1]]))
    either = matrix + matrix.T  # each edge is in it once
    costs = np.array([either[row, other] for row, other in pairwise(path)])
    return path[-2:0:-1], costs[::-1] ** (1 / power)


def resampled(corners: Floats, length: Doubles, steps: int) -> Floats:
    """Return `steps` latents at equal steps of length along a path through corners (M, D), with both ends: (steps, D).

    `length`: of its M - 1 edges, along which latents are interpolated linearly.
    """
    along = np.concatenate([[0.0], np.cumsum(np.maximum(length, LEAST_COST))])
    at = np.linspace(0, along[-1], steps)
    path = np.column_stack([np.interp(at, along, column) for column in corners.T.astype(np.float64)]).astype(np.float32)
    path[0], path[-1] = corners[0], corners[-1]
    return path


def _squares(points: Floats, mu: Floats) -> Doubles:
    """Return squared distances, (Q, N)."""
    a, b = points.astype(np.float64), mu.astype(np.float64)
    return np.asarray(np.einsum("qd,qd->q", a, a)[:, None] - 2 * (a @ b.T) + np.einsum("nd,nd->n", b, b))


def _unique(pairs: Numbers) -> Numbers:
    """Return each pair of two different rows once, the lower row first."""
    ordered = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(ordered, axis=0)


def _parts(count: int, pairs: Numbers) -> Numbers:
    """Return the number of the part of each row, (N,); 0 is the largest part."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    matrix = coo_array((np.ones(len(pairs)), pairs.T), shape=(count, count))
    _, labels = connected_components(matrix, directed=False)
    sizes = np.bincount(labels)
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[labels]


def _bridges(mu: Floats, part: Numbers) -> Numbers:
    """Return for each part but the largest the nearest pair of one of its rows and one of another part, (P - 1, 2)."""
    rows = np.flatnonzero(part)
    least = np.empty((len(rows), 2))  # squared distance, row
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK]
        squares = _squares(mu[block], mu)
        squares[part[block][:, None] == part] = np.inf
        least[first : first + BLOCK] = np.column_stack([squares.min(1), squares.argmin(1)])
    order = np.lexsort((rows, least[:, 0], part[rows]))
    firsts = order[np.unique(part[rows][order], return_index=True)[1]]
    return np.column_stack([rows[firsts], least[firsts, 1].astype(np.int64)])
