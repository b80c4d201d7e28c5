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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["some.csv", "--invert", "yes"], "--background, --invert and --picture-column are for pictures"),
        (["missing.csv"], "missing.csv"),
        (["some.csv", "some.csv"], "two of the paths are called 'some'"),
    ],
)
def test_what_cannot_be_loaded(setting: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    (setting / "some.csv").write_text((DATA / "penguins.csv").read_text())
    assert load("penguins", *(setting / one if one.endswith(".csv") else one for one in arguments)) == 1
    assert words in capsys.readouterr().err
