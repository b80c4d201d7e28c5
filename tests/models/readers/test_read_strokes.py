"""Drawings from npz, ndjson and SVG files."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.kinds.strokes import StrokeFormat, lengths
from models.readers.download import DataError
from models.readers.strokes import read_strokes

ZIGZAG = [[0, 0, 0], [10, 5, 0], [10, -5, 1]]


def write_npz(path: Path, **drawings: list[list[list[int]]]) -> Path:
    arrays = {}
    for split, own in drawings.items():
        arrays[f"{split}_strokes"] = np.array([point for drawing in own for point in drawing], np.int16)
        arrays[f"{split}_offsets"] = np.cumsum([0, *map(len, own)]).astype(np.int32)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_npz_with_offsets_keeps_splits_and_values(npz: Path) -> None:
    line = [[5, 7, 0], [30, 40, 1]]
    found = read_strokes(write_npz(npz, train=[ZIGZAG, line], valid=[line], test=[ZIGZAG]))
    assert found.splits == ["train", "train", "validation", "test"]
    spec = found.preprocessing
    assert spec.max_length == 3
    assert lengths(found.x).tolist() == [3, 2, 2, 3]
    assert spec.items(found.x) == [ZIGZAG, [[0, 0, 0], [30, 40, 1]], [[0, 0, 0], [30, 40, 1]], ZIGZAG]
    steps = np.array([[0, 0], [10, 5], [10, -5], [0, 0], [30, 40]])
    assert spec.scale == pytest.approx(steps.std())
    assert spec.extent == pytest.approx((20 + 40) / 2)


def test_the_format_of_a_model_is_used_as_it_is(npz: Path) -> None:
    model = StrokeFormat(5, 2.0, 50.0)
    found = read_strokes(write_npz(npz, train=[ZIGZAG]), model=model)
    assert found.preprocessing == model
    assert found.x[0, 1].tolist() == [5, 2.5, 0]


def test_long_drawings_are_simplified_and_counted(npz: Path) -> None:
    angles = np.linspace(0, 6, 200)
    circle = np.diff(np.round(100 * np.stack([np.cos(angles), np.sin(angles)], 1)), axis=0, prepend=0)
    drawing = [[int(dx), int(dy), int(i == 199)] for i, (dx, dy) in enumerate(circle)]
    found = read_strokes(write_npz(npz, train=[drawing, ZIGZAG]), max_length=20)
    assert 8 < lengths(found.x)[0] <= 20
    assert any(line.startswith("simplified: 1 drawing of more than 20 points") for line in found.summary)


def test_drawings_that_cannot_be_used_are_counted(npz: Path) -> None:
    many = [[i, 1, 1] for i in range(30)]
    found = read_strokes(write_npz(npz, train=[ZIGZAG, [], many, [[0, 0, 5]]]), max_length=10)
    assert len(found.x) == 1
    (line,) = [line for line in found.summary if line.startswith("left out")]
    assert "empty drawings: 1" in line
    assert "drawings of too many strokes for 10 points: 1 (train_strokes, drawing 2)" in line
    assert "a pen other than 0 and 1: 1" in line


def test_names_are_those_of_the_source_whatever_is_left_out(npz: Path, tmp_path: Path) -> None:
    found = read_strokes(write_npz(npz, train=[ZIGZAG, [], ZIGZAG, [[0, 0, 5]], ZIGZAG]), model=StrokeFormat(24, 1.0, 100.0))
    assert found.names == ["000000", "000002", "000004"]
    assert [(name, place) for name, place, _ in found.unread] == [
        ("000001", "train_strokes, drawing 1"), ("000003", "train_strokes, drawing 3"),
    ]  # fmt: skip
    huge = json.dumps({"drawing": [[[0, 10**400], [0, 0]]]})
    good = json.dumps({"drawing": [[[0, 10], [0, 5]]]})
    (path := tmp_path / "some.ndjson").write_text(f"{huge}\n\n{good}\n")
    found = read_strokes(path, model=StrokeFormat(24, 1.0, 100.0))
    assert (found.names, [one.place for one in found.unread]) == (["000002"], ["line 1"])


def test_no_svg_file_ends_the_reading_of_a_folder(tmp_path: Path) -> None:
    points = "L".join(f"{i / 2} {300 * (i % 2)}" for i in range(19_000))
    files = {
        "a": "M0 0L9 9",
        "hex": '<?xml version="1.0" encoding="hex"?><svg><path d="M0 0L1 1"/></svg>',
        "turns": f"M{points}",
        "empty": "",
        "z": "M0 0A1e-200 1e-200 0 0 1 10 10",
    }
    for name, content in files.items():
        (tmp_path / f"{name}.svg").write_text(content)
    found = read_strokes(tmp_path)
    assert found.names == ["a.svg", "z.svg"]
    assert [one.place for one in found.unread] == ["empty.svg", "hex.svg", "turns.svg"]
    assert all(one.reason for one in found.unread)


def test_pickles_are_refused_with_a_way_out(npz: Path) -> None:
    drawings = np.empty(2, object)
    drawings[:] = [np.zeros((3, 3), np.int16), np.zeros((4, 3), np.int16)]
    np.savez(npz, train=drawings, allow_pickle=True)
    with pytest.raises(DataError, match=r"Python objects, which may run code.*numpy\.concatenate"):
        read_strokes(npz)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"images": np.zeros((2, 3))}, "has images float64 (2, 3); needed: `train_strokes`"),
        ({"strokes": np.zeros((4, 2)), "offsets": np.array([0, 4])}, "must be numbers of the shape (points, 3)"),
        ({"strokes": np.zeros((4, 3)), "offsets": np.array([0, 5])}, "whole numbers that rise from 0 to 4"),
        ({"strokes": np.zeros((4, 3)), "offsets": np.array([0, 3, 2, 4])}, "whole numbers that rise"),
        ({"strokes": np.zeros((4, 3)), "offsets": np.array([0.0, 4.0])}, "whole numbers that rise"),
        ({"strokes": np.zeros((0, 3)), "offsets": np.array([0])}, "has no drawings"),
        ({"strokes": np.zeros((4, 3)), "offsets": np.array([0, 4])}, "the drawings have no size that can be used"),
    ],
)
def test_other_arrays_are_refused(npz: Path, arrays: dict[str, np.ndarray], reason: str) -> None:
    np.savez(npz, **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        read_strokes(npz)
    assert reason in str(caught.value)


def test_ndjson_of_quickdraw(tmp_path: Path) -> None:
    lines = [
        json.dumps({"word": "cat", "drawing": [[[0, 10], [0, 0]], [[10, 10], [5, 20], [0, 9]]]}),
        "not json",
        json.dumps({"word": "bus", "drawing": [[[0, 50], [0, 50]]]}),
        json.dumps({"word": "bus"}),
        "",
    ]
    (path := tmp_path / "some.ndjson").write_text("\n".join(lines))
    found = read_strokes(path)
    assert found.classes == ["bus", "cat"]
    assert found.preprocessing.items(found.x)[0] == [[0, 0, 0], [10, 0, 1], [0, 5, 0], [0, 15, 1]]
    assert "left out: lines that are no drawings: 2 (line 2, line 4)" in found.summary


def test_a_folder_of_svg_files(tmp_path: Path) -> None:
    for name, path in (("cat/a", "M0 0L9 9"), ("cat/b", "M0 0L1 0L1 1"), ("dog/c", "M0 0H5")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg"><path d="{path}"/></svg>')
    (tmp_path / "dog" / "bad.svg").write_text("<svg>")
    (tmp_path / "notes.txt").write_text("x")
    found = read_strokes(tmp_path)
    assert found.classes == ["cat", "dog"]
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1]
    assert found.preprocessing.extent == 256
    assert any("SVG files that cannot be read" in line and "dog/bad.svg" in line for line in found.summary)
    assert any("files of other kinds: 1 (.txt 1)" in line for line in found.summary)


def test_what_is_no_drawing_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "some.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"strokes are read from \*.npz"):
        read_strokes(path)
    with pytest.raises(DataError, match="no such file"):
        read_strokes(tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"contains no files named \*.svg; left out: files of other kinds: 1"):
        read_strokes(tmp_path)
