import shutil
import subprocess

import numpy as np
import pytest

from models.drawings.polylines import Points, to_polylines, to_stroke3
from models.drawings.rendering import render
from models.drawings.simplify import simplify, to_length
from models.drawings.svg_file import read_svg
from models.drawings.svg_text import svg

CROSS = [np.array([[0.0, 0.0], [100.0, 100.0]]), np.array([[100.0, 0.0], [0.0, 100.0]]), np.array([[50.0, 120.0]])]


def test_a_drawing_survives_svg() -> None:
    again = read_svg(svg(CROSS))
    assert [line.tolist() for line in again.polylines] == [*(line.tolist() for line in CROSS[:2]), [[50, 120], [50, 120]]]


def test_rounding_does_not_add_up() -> None:
    line = np.cumsum(np.full((1000, 2), 0.006), 0)
    np.testing.assert_allclose(read_svg(svg([line])).polylines[0], line, atol=0.0051)


def test_an_empty_drawing_is_an_svg() -> None:
    assert 'd=""' in svg([])
    assert render([]).min() == 255


@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="rsvg-convert is not installed")
@pytest.mark.parametrize("lines", [CROSS, [], [np.zeros((1, 2))]])
def test_other_programs_read_it(lines: list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]) -> None:
    png = subprocess.run(["rsvg-convert"], input=svg(lines).encode(), capture_output=True, check=True).stdout
    assert png.startswith(b"\x89PNG")


def test_a_picture_shows_the_strokes_and_nothing_between_them() -> None:
    picture = render(CROSS[:2], 64)[..., 0]
    assert picture.shape == (64, 64)
    assert picture[32, 32] < 40  # where the lines cross
    assert picture[32, 8] == picture[8, 32] == 255
    assert picture[8, 8] < 128


def test_stroke3_and_polylines_are_inverse() -> None:
    again = to_polylines(to_stroke3(CROSS))
    for line, found in zip(CROSS, again, strict=True):
        np.testing.assert_allclose(found + CROSS[0][0], line)


def test_simplification_keeps_corners() -> None:
    corner = np.concatenate([np.stack([np.arange(50.0), np.zeros(50)], 1), np.stack([np.full(50, 49.0), np.arange(50.0)], 1)])
    assert simplify(corner, 0.1).tolist() == [[0, 0], [49, 0], [49, 49]]
    circle = np.stack([np.cos(np.linspace(0, 6, 400)), np.sin(np.linspace(0, 6, 400))], 1)
    (short,), tolerance = to_length([circle], 20)
    assert 5 < len(short) <= 20
    assert tolerance < 0.2
    assert np.abs(np.hypot(*short.T) - 1).max() < 1e-9


def test_a_line_that_turns_all_the_time_is_refused_before_it_takes_long() -> None:
    zigzag = np.array([[i, i % 2 * (19_000 - i)] for i in range(19_000)], np.float64)
    with pytest.raises(ValueError, match="has a stroke of 19,000 points that turns so often"):
        to_length([zigzag], 200)


def test_too_many_strokes_are_refused() -> None:
    with pytest.raises(ValueError, match="has 30 strokes, which need at least 60 points; 20 are allowed"):
        to_length([np.random.default_rng(i).normal(size=(5, 2)) for i in range(30)], 20)


def split_one_by_one(line: Points, tolerance: float) -> list[list[float]]:
    """Return the same as `simplify`, by looking at one part after another."""
    kept, waiting = {0, len(line) - 1}, [(0, len(line) - 1)]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        along, inner = line[last] - line[first], line[first + 1 : last] - line[first]
        share = np.clip(inner @ along / (float(along @ along) or 1.0), 0, 1)
        away = np.hypot(*(inner - share[:, None] * along).T)
        if away.max() > tolerance:
            middle = first + 1 + int(away.argmax())
            kept.add(middle)
            waiting += [(first, middle), (middle, last)]
    found: list[list[float]] = line[sorted(kept)].tolist()
    return found


@pytest.mark.parametrize("seed", range(20))
def test_all_parts_together_are_split_as_one_by_one(seed: int) -> None:
    noise = np.random.default_rng(seed)
    for line in (
        noise.uniform(0, 100, (300, 2)),
        noise.normal(0, 3, (300, 2)).cumsum(0),
        np.repeat(noise.normal(size=(5, 2)), 3, 0),
    ):
        for tolerance in (0.5, 5.0):
            assert simplify(line, tolerance).tolist() == split_one_by_one(line, tolerance)
