"""`python -m service.store load` takes tables, drawings and texts, too."""

import json
from pathlib import Path

import numpy as np
import pytest

from service.store_command import main
from tests.service.kinds.tiny_models import DATA


@pytest.fixture
def setting(kinds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (("MODELS_DIR", kinds), ("STORE", tmp_path / "latents.db"), ("DEVICE", "cpu"), ("THREADS", 1)):
        monkeypatch.setenv(f"VAE_{name}", str(value))
    return tmp_path


def load(model: str, *arguments: object) -> int:
    return main(["load", "--collection", f"of-{model}", "--model", model, *map(str, arguments)])


def test_every_kind_is_loaded(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawings = [{"word": "a", "drawing": [[[0, 50, 25], [0, 0, 40]]]}, {"word": "b", "drawing": [[[0, 50], [0, 50]]]}]
    (setting / "drawings.ndjson").write_text("\n".join(map(json.dumps, drawings)))
    (setting / "words.txt").write_text("the digits\na\nof digits\n")
    rows = (DATA / "penguins.csv").read_text().splitlines()[:11]
    (setting / "some.csv").write_text("\n".join(rows))
    for model, file, count in (("penguins", "some.csv", 10), ("strokes", "drawings.ndjson", 2), ("lines", "words.txt", 3)):
        assert load(model, setting / file) == 0
        assert f": added {count}, " in capsys.readouterr().out
        assert main(["dump", "--collection", f"of-{model}", str(setting / model)]) == 0
        with np.load(setting / f"{model}.npz") as found:
            assert found["mu"].shape == (count, 4)
        items = [json.loads(line) for line in (setting / f"{model}.jsonl").read_text().splitlines()]
        assert items[0]["id"] == f"{Path(file).stem}/000000"
        capsys.readouterr()
    assert load("penguins", setting / "some.csv") == 0
    assert "already there 10, " in capsys.readouterr().out


def test_ids_and_metadata_of_columns(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *lines = (DATA / "penguins.csv").read_text().splitlines()[:4]
    (setting / "named.csv").write_text(
        "\n".join([f"ring,{header},note", *(f"r{i},{line},n{i}" for i, line in enumerate(lines))])
    )
    assert load("penguins", setting / "named.csv", "--id-column", "ring", "--metadata-columns", "note,species") == 0
    assert main(["dump", "--collection", "of-penguins", str(setting / "out")]) == 0
    items = [json.loads(line) for line in (setting / "out.jsonl").read_text().splitlines()]
    assert [item["id"] for item in items] == ["r0", "r1", "r2"]
    assert items[2]["metadata"] == {"note": "n2", "species": "Adelie"}
    capsys.readouterr()
    assert load("penguins", setting / "named.csv", "--id-column", "species") == 1
    assert "named.csv: two of its rows have the id 'Adelie'" in capsys.readouterr().err
    assert load("penguins", setting / "named.csv", "--id-column", "rings") == 1
    assert "there is no column 'rings'; did you mean 'ring'?" in capsys.readouterr().err
    (setting / "words.txt").write_text("the digits\n")
    assert load("lines", setting / "words.txt", "--id-column", "ring") == 1
    assert "are for tables" in capsys.readouterr().err


def ids_of(model: str, setting: Path) -> list[str]:
    assert main(["dump", "--collection", f"of-{model}", str(setting / "dumped")]) == 0
    return [json.loads(line)["id"] for line in (setting / "dumped.jsonl").read_text().splitlines()]


def test_ids_are_those_of_lines_whatever_else_is_left_out(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = setting / "words.txt"
    words.write_text("the\nZZZ#\n\n" + "t" * 100 + "\ndigit\n")
    assert load("lines", words, "--unreadable", setting / "left.jsonl") == 1
    told = capsys.readouterr()
    assert "found 4 texts: added 2, replaced 0, already there 0, left out 2 (named in " in told.out
    assert "2 of 4 texts could not be read, more than the allowed share of 0.01 (--max-corrupt)" in told.err
    left = [json.loads(line) for line in (setting / "left.jsonl").read_text().splitlines()]
    assert [(one["id"], one["place"].rpartition(", ")[2]) for one in left] == [
        ("words/000001", "line 2"), ("words/000003", "line 4"),
    ]  # fmt: skip
    words.write_text("the\ndigits\n\nt\ndigit\n")
    assert load("lines", words) == 0
    assert "added 2, replaced 0, already there 2, left out 0" in capsys.readouterr().out
    assert ids_of("lines", setting) == ["words/000000", "words/000001", "words/000003", "words/000004"]


def test_what_a_folder_has_that_cannot_be_read_is_counted(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (setting / "drawings").mkdir()
    for name, content in (("a", "M0 0L9 9"), ("b", "M0 0X"), ("c", "M0 0A1e-200 1e-200 0 0 1 10 10")):
        (setting / "drawings" / f"{name}.svg").write_text(content)
    assert load("strokes", setting / "drawings") == 0  # One is always allowed.
    told = capsys.readouterr().out
    assert "drawings, b.svg: SVG files that cannot be read (path data, character 5" in told
    assert "found 3 drawings: added 2, replaced 0, already there 0, left out 1 (named above" in told
    assert ids_of("strokes", setting) == ["drawings/a.svg", "drawings/c.svg"]


def test_tables_are_loaded_as_the_service_takes_them(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (setting / "one.csv").write_text("species,year\nAdelie,2008,1\nGentoo,2007\n")
    assert load("penguins", setting / "one.csv") == 0
    told = capsys.readouterr().out
    assert "not in the file, so that all their cells are missing: 'island', 'bill_length_mm'" in told
    assert "found 2 rows: added 1, replaced 0, already there 0, left out 1 (named above" in told
    assert ids_of("penguins", setting) == ["one/000001"]
    (setting / "none.csv").write_text("species,year\nAdelie,2008,1\nGentoo,2007,2\n")
    assert load("penguins", setting / "none.csv") == 1
    assert "2 lines without 2 cells, as the header has: line 2 has 3; line 3 has 3" in capsys.readouterr().err


def test_parquet_files_name_what_was_left_out(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    (setting / "words.txt").write_text("the\nZZZ#\ndigit\n")
    assert main(["load", "--out", str(setting / "out"), "--model", "lines", str(setting / "words.txt")]) == 0
    (left,) = [json.loads(line) for line in (setting / "out" / "_unreadable.jsonl").read_text().splitlines()]
    assert left["id"] == "words/000001"
    assert json.loads((setting / "out" / "_load.json").read_text())["left_out"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["some.csv", "--invert", "yes"], "--invert: only for pictures, and 'penguins' is no model of pictures"),
        (["missing.csv"], "missing.csv"),
        (["some.csv", "some.csv"], "two of the paths are called 'some'"),
    ],
)
def test_what_cannot_be_loaded(setting: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    (setting / "some.csv").write_text((DATA / "penguins.csv").read_text())
    assert load("penguins", *(setting / one if one.endswith(".csv") else one for one in arguments)) == 1
    assert words in capsys.readouterr().err
