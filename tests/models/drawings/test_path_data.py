import math

import numpy as np
import pytest

from models.drawings.path_data import PathDataError, parse_path


def points(text: str) -> list[list[list[float]]]:
    return [line.tolist() for line in parse_path(text)]


def test_lines_absolute_and_relative_are_the_same() -> None:
    assert points("M1 2L4 6H7V0Z") == [[[1, 2], [4, 6], [7, 6], [7, 0], [1, 2]]]
    assert points("m1,2 l3,4 h3 v-6 z") == points("M1 2L4 6H7V0Z")


def test_more_pairs_after_a_move_are_lines() -> None:
    assert points("M0 0 1 1 2 0") == [[[0, 0], [1, 1], [2, 0]]]
    assert points("m1 1 1 1m5 0-1-1") == [[[1, 1], [2, 2]], [[7, 2], [6, 1]]]


def test_a_path_goes_on_after_it_was_closed() -> None:
    assert points("M1 1L2 1Z L1 5") == [[[1, 1], [2, 1], [1, 1]], [[1, 1], [1, 5]]]


def test_numbers_may_touch() -> None:
    assert points("M-1.5.5L.25-1e1") == [[[-1.5, 0.5], [0.25, -10]]]


def test_cubic_curve_passes_through_its_middle() -> None:
    (line,) = parse_path("M0 0C0 4 4 4 4 0")
    assert line[-1].tolist() == [4, 0]
    assert [2, 3] in line.tolist()


def test_smooth_curves_reflect_the_control_point() -> None:
    smooth, written_out = parse_path("M0 0C0 4 4 4 4 0S8-4 8 0"), parse_path("M0 0C0 4 4 4 4 0C4-4 8-4 8 0")
    np.testing.assert_allclose(smooth[0], written_out[0])
    smooth, written_out = parse_path("M0 0Q1 2 2 0T4 0"), parse_path("M0 0Q1 2 2 0Q3-2 4 0")
    np.testing.assert_allclose(smooth[0], written_out[0])
    alone, line = parse_path("M0 0S1 1 2 0"), parse_path("M0 0C0 0 1 1 2 0")
    np.testing.assert_allclose(alone[0], line[0])


@pytest.mark.parametrize("flags", ["0 0 1", "0 1 0"])
def test_arcs_lie_on_their_circle(flags: str) -> None:
    rotation, large, sweep = flags.split()
    (line,) = parse_path(f"M5 0A5 5 {rotation} {large} {sweep} 0 5")
    center = np.zeros(2) if (large, sweep) == ("0", "1") else np.full(2, 0.0)
    assert np.allclose(np.hypot(*(line - center).T), 5) or np.allclose(np.hypot(*(line - [5, 5]).T), 5)
    assert line[-1].tolist() == [0, 5]


def test_the_large_arc_is_longer() -> None:
    def length(flags: str) -> float:
        (line,) = parse_path(f"M5 0A5 5 0 {flags} 0 5")
        return float(np.hypot(*np.diff(line, axis=0).T).sum())

    assert length("01") == pytest.approx(5 * math.pi / 2, rel=0.01)
    assert length("11") == pytest.approx(15 * math.pi / 2, rel=0.01)


def test_radii_that_are_too_small_are_scaled_up() -> None:
    (line,) = parse_path("M0 0A1 1 0 0 1 10 0")
    np.testing.assert_allclose(np.hypot(*(line - [5, 0]).T), 5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("L1 1", "must begin with M or m, not L"),
        ("5 5", "a command such as M or L must come first"),
        ("M1 1X2", "the command 'X' is unknown"),
        ("M1", "M takes 2 numbers, but the text ends"),
        ("M1 1C1 1 2", "C takes 6 numbers"),
        ("M1 1Lnan 2", "L takes 2 numbers, but found 'nan 2'"),
        ("M1e999 0", "numbers must be from -1e+09 to 1e+09"),
        ("M0 0Z5 5", "a command such as M or L must come first"),
        ("M0 0A1 1 0 2 0 1 1", "A takes 7 numbers"),
        ("M0 0" + "L1 1" * 30_000, "more than 20,000 points"),
    ],
)
def test_errors_say_what_and_where(text: str, reason: str) -> None:
    with pytest.raises(PathDataError) as caught:
        parse_path(text)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300


def test_lines_are_read_the_same_one_by_one_and_together() -> None:
    assert points("M0 0L1 2 3 4l1 1 L5-5.5l-1e1,2H3V4l1 1Z l1 1") == [
        [[0, 0], [1, 2], [3, 4], [4, 5], [5, -5.5], [-5, -3.5], [3, -3.5], [3, 4], [4, 5], [0, 0]],
        [[0, 0], [1, 1]],
    ]


@pytest.mark.parametrize("text", ["M0 0L11", "M0 0L1 1 22", "M0 0l1.5", "M0 0L1e5"])
def test_a_number_is_never_taken_for_two(text: str) -> None:
    with pytest.raises(PathDataError, match="takes 2 numbers, but the text ends"):
        parse_path(text)
