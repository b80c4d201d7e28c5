"""Neighbours, connected graphs, shortest paths and resampling."""

import numpy as np
import pytest

from service.latents.graph import Graph, nearest, neighbor_pairs, resampled, shortest_path

MU = np.random.default_rng(0).standard_normal((700, 3)).astype(np.float32)


def test_the_nearest_are_those_of_all_distances() -> None:
    found = nearest(MU[:5], MU, 4)
    distances = np.linalg.norm(MU[:5, None].astype(np.float64) - MU, axis=2)
    np.testing.assert_array_equal(found, np.argsort(distances, axis=1)[:, :4])
    np.testing.assert_array_equal(found[:, 0], np.arange(5))


def connected(count: int, pairs: np.ndarray) -> bool:
    reached, waiting = {0}, [0]
    while waiting:
        row = waiting.pop()
        for a, b in pairs.tolist():
            for one, other in ((a, b), (b, a)):
                if one == row and other not in reached:
                    reached.add(other)
                    waiting.append(other)
    return len(reached) == count


def test_parts_are_joined_where_they_are_nearest() -> None:
    line = np.arange(6, dtype=np.float32)
    mu = np.concatenate([line, line + 100, line + 1000])[:, None]
    pairs = neighbor_pairs(mu, nearest(mu, mu, 3))
    assert connected(18, pairs)
    across = {(a, b) for a, b in pairs.tolist() if a // 6 != b // 6}
    assert across == {(5, 6), (11, 12)}


@pytest.mark.parametrize("mu", [MU, np.zeros((50, 2), np.float32), MU[:1], MU[:2]])
def test_every_graph_is_connected(mu: np.ndarray) -> None:
    pairs = neighbor_pairs(mu, nearest(mu, mu, min(3, len(mu))))
    assert connected(len(mu), pairs)
    assert (pairs[:, 0] < pairs[:, 1]).all()


@pytest.mark.parametrize("power", [1, 2])
def test_the_shortest_path_is_the_best_of_all(power: float) -> None:
    """Rows 0 - 1 - 2 are a detour of short edges, row 3 is the straight way with two long ones."""
    pairs = np.array([[0, 1], [1, 2], [0, 3], [2, 3]])
    graph = Graph(np.zeros((4, 2), np.float32), pairs, np.array([3.0, 3, 1, 4.5]))
    ends = np.array([0]), np.array([2])
    rows, lengths = shortest_path(graph, ends, (np.array([0.5]), np.array([0.25])), power)
    expected = {1: ([0, 3, 2], [0.5, 1, 4.5, 0.25]), 2: ([0, 1, 2], [0.5, 3, 3, 0.25])}[int(power)]
    assert rows == expected[0]
    np.testing.assert_allclose(lengths, expected[1])


def test_both_ends_at_one_item_and_edges_without_length() -> None:
    graph = Graph(np.zeros((2, 2), np.float32), np.array([[0, 1]]), np.array([0.0]))
    rows, lengths = shortest_path(graph, (np.array([0]), np.array([1])), (np.array([0.0]), np.array([0.0])), 2)
    assert rows == [0, 1]
    np.testing.assert_allclose(lengths, 0, atol=1e-5)


def test_frames_are_at_equal_steps_of_length() -> None:
    corners = np.array([[0, 0], [1, 0], [1, 4]], np.float32)
    found = resampled(corners, np.array([2.0, 2.0]), 5)
    np.testing.assert_allclose(found, np.array([[0, 0], [0.5, 0], [1, 0], [1, 2], [1, 4]]), atol=1e-6)
    same = resampled(corners[[0, 0, 0]], np.zeros(2), 3)
    np.testing.assert_array_equal(same, np.zeros((3, 2)))
