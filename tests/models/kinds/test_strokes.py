from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import save
from models.drawings.polylines import extent, to_polylines
from models.kinds import KINDS
from models.kinds.strokes import BadDrawing, StrokeFormat, has_ended, lengths
from models.vae import VAE, VAEConfig

FORMAT = StrokeFormat(8, 50.0, 200.0)
DRAWING = [[0, 0, 0], [0, 100, 1], [12.5, -100, 0], [25, 50, 1]]


def test_rows_hold_points_in_units_of_the_scale_and_the_end_after_them() -> None:
    rows = FORMAT.rows([DRAWING, [[7, 9, 1]]])
    assert rows.dtype == np.float32
    assert rows[0].tolist() == [[0, 0, 0], [0, 2, 1], [0.25, -2, 0], [0.5, 1, 1]]
    assert rows[1].tolist() == [[0, 0, 1], *[[0, 0, 2]] * 3]
    assert lengths(rows).tolist() == [4, 1]
    assert has_ended(rows).tolist() == [False, True]


def test_a_drawing_comes_back_whatever_the_length_of_its_row() -> None:
    for length in (4, 8):
        assert FORMAT.items(FORMAT.rows([DRAWING], length)) == [DRAWING]


def test_the_place_on_the_page_is_no_part_of_a_drawing() -> None:
    moved = [[300, -20, 0], *DRAWING[1:]]
    np.testing.assert_array_equal(FORMAT.rows([moved]), FORMAT.rows([DRAWING]))


def test_what_comes_after_the_end_is_no_part_of_it() -> None:
    rows = FORMAT.rows([DRAWING], 8)
    rows[0, 5] = [1, 1, 0]
    assert FORMAT.items(rows) == [DRAWING]


def test_rounding_of_answers_does_not_add_up() -> None:
    spec = StrokeFormat(1000, 50.0, 200.0)
    rows = np.zeros((1, 1000, 3), np.float32)
    rows[0, :, :2] = 0.00033
    items = spec.items(rows)[0]
    assert sum(dx for dx, _, _ in items) == pytest.approx(1000 * 0.00033 * 50, abs=0.06)


def test_polylines_of_any_size_get_the_usual_extent_and_few_points() -> None:
    circle = np.stack([np.cos(np.linspace(0, 6.28, 300)), np.sin(np.linspace(0, 6.28, 300))], 1)
    spec = StrokeFormat(50, 50.0, 200.0)
    drawing = np.array(spec.fitted([circle / 1000]))
    assert 10 < len(drawing) <= 50
    assert extent(to_polylines(drawing)) == pytest.approx(200, rel=0.01)
    with pytest.raises(BadDrawing, match="drawing 3: has 40 strokes"):
        spec.fitted([circle[i : i + 2] for i in range(40)], 3)


def test_pictures_and_svg_of_rows() -> None:
    rows = FORMAT.rows([DRAWING, [[0, 0, 1]]])
    pictures = FORMAT.pictures(rows, 32)
    assert pictures.shape == (2, 32, 32, 1)
    assert pictures.min() < 50
    assert [text.startswith("<svg") for text in FORMAT.svgs(rows)] == [True, True]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("M0 0", "drawing 1: a drawing must be a list of points [dx, dy, pen]"),
        ([], "must be a list of points"),
        ([[1, 2]], "must be a list of points"),
        ([[1, 2, 0], [1, 2]], "must be a list of points"),
        ([[0, 0, 0], [1, "x", 1]], "must be a list of points"),
        ([[0, 0, 0]] * 9, "has 9 points; this model takes at most 8"),
        ([[0, 0, 0], [0, float("nan"), 1]], "point 1: dx and dy must be from -5e+05 to 5e+05"),
        ([[0, 0, 0], [0, 1e9, 1]], "point 1: dx and dy"),
        ([[0, 0, 0], [1, 1, 2]], "point 1: pen must be 0 (down) or 1 (lifted after this point), not [1, 1, 2]"),
        (None, "must be a list"),
        ([["0", 0, 0]], "must be a list of points [dx, dy, pen]"),
        ([[0, 0, True]], "must be a list of points [dx, dy, pen]"),
    ],
)
def test_errors_name_item_and_point(item: object, reason: str) -> None:
    with pytest.raises(BadDrawing) as caught:
        FORMAT.rows([DRAWING, item])
    assert caught.value.item == 1
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "stored", [{"max_length": 0}, {"scale": 0.0}, {"scale": float("nan")}, {"extent": "x"}, {"max_length": True}]
)
def test_a_preparation_that_makes_no_sense_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(stored))} must be"):
        KINDS["strokes"].preprocessing(**{**FORMAT.stored(), **stored})


def test_a_checkpoint_has_the_outputs_of_a_mixture(tmp_path: Path) -> None:
    vae = VAE(VAEConfig((8, 3), 2, "lstm", {"outputs": 10, "encoder": 2, "decoder": 2}, "mixture", kind="strokes"))
    with pytest.raises(ValueError, match=r"takes 3 \+ 6 M outputs, such as 123 for 20, not 10"):
        save(tmp_path, vae, FORMAT)


def test_what_is_stored_makes_the_same_preparation() -> None:
    assert KINDS["strokes"].preprocessing(**FORMAT.stored()) == FORMAT
