"""Tables are trained by the same command: columns in config.json, a schema, a run that was stopped, and clear errors."""

import json
from pathlib import Path

import pytest

from models.checkpoint import WEIGHTS, read
from models.evaluate.commands import train_command
from models.kinds.table import Columns
from models.train.__main__ import main
from models.train.kinds import TRAINING
from models.train.run import Run

FEW = ["--preset", "table", "--epochs", "3", "--hidden", "16", "--device", "cpu", "--no-fit-prior"]


def flags(penguins: Path, out: Path, *more: str) -> list[str]:
    return ["--data", f"csv:{penguins}", "--out", str(out), *FEW, *more]


def test_one_command_trains_and_the_checkpoint_knows_its_columns(
    penguins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags(penguins, tmp_path / "penguins")) == 0
    told = capsys.readouterr().out
    assert "3 columns of categories: species (Adelie, Chinstrap, Gentoo)" in told
    assert "4 latent dimensions, half of 8 columns" in told
    assert "rows/s" in told
    assert "picture" not in told.partition("search metric")[0]
    found = read(tmp_path / "penguins")
    spec = found.manifest.preprocessing
    assert isinstance(spec, Columns)
    assert found.vae.config.kind == "table"
    assert spec.names[0] == "species"
    assert any(line.startswith("missing cells: 19") for line in found.manifest.data["summary"])
    rows = spec.rows([{"species": "Gentoo", "body_mass_g": 5000}])
    import torch

    answers = found.vae.decode(found.vae.encode(torch.from_numpy(rows)).mu)
    assert answers.parameters.shape == (1, spec.parameters.count)  # type: ignore[attr-defined]


def test_a_schema_changes_columns_and_gives_labels(penguins: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"label": "species", "types": {"year": "category"}, "leave_out": ["island"]}))
    assert main(flags(penguins, tmp_path / "some", "--schema", str(schema))) == 0
    manifest = read(tmp_path / "some").manifest
    assert manifest.preprocessing.label == "species"
    assert manifest.data["classes"] == ["Adelie", "Chinstrap", "Gentoo"]
    assert [c.type for c in manifest.preprocessing.columns if c.name == "year"] == ["category"]
    assert "island" not in manifest.preprocessing.names


def test_a_run_that_was_stopped_goes_on_bit_for_bit(penguins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(flags(penguins, tmp_path / "whole")) == 0
    real, steps = Run.step, []

    def stopped(self: Run, x: object, step: int) -> object:
        steps.append(step)
        if step == 13:
            raise KeyboardInterrupt
        return real(self, x, step)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", stopped)
        assert main(flags(penguins, tmp_path / "half", "--save-every", "0.0001")) == 130
    assert main(["--out", str(tmp_path / "half"), "--resume"]) == 0
    assert 0 < max(steps) < 27
    assert (tmp_path / "half" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_small_tables_hold_out_more_rows_and_say_so(
    penguins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "validation: 20 % of 310 rows, because 5 % would be 16 rows, too few to choose weights and to calibrate scores by"
    assert main(flags(penguins, tmp_path / "new")) == 0
    told = capsys.readouterr().out
    assert line in told
    assert "rows: 248 to train on, 62 for validation, 34 for the test" in told
    data = read(tmp_path / "new").manifest.data
    assert data["training"]["validation"] == 0.2
    assert any(recorded.startswith(line) for recorded in data["summary"])
    assert " --validation 0.2 " in train_command(tmp_path, data["training"])
    assert main(flags(penguins, tmp_path / "asked", "--validation", "0.05")) == 0  # as runs recorded that were started before
    assert main(["--out", str(tmp_path / "asked"), "--resume", "--epochs", "4"]) == 0
    told = capsys.readouterr().out
    assert told.count("rows: 294 to train on, 16 for validation") == 2
    assert "too few" not in told
    assert read(tmp_path / "asked").manifest.data["training"]["validation"] == 0.05


def test_the_validation_share_of_each_kind() -> None:
    wanted = {100: 0.2, 500: 0.2, 501: 0.2, 1000: 0.1, 1999: 0.051, 2000: 0.05, 10**6: 0.05}
    assert {count: TRAINING["table"].validation_share(count)[0] for count in wanted} == wanted
    assert {TRAINING[kind].validation_share(100) for kind in ("picture", "strokes", "text")} == {(0.05, "")}
    assert TRAINING["table"].validation_share(2000)[1] == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--size", "8"], "--size is for pictures, but --data csv:"),
        (["--arch", "conv"], "models of rows take the architecture table, not 'conv'"),
        (["--likelihood", "gaussian"], "models of rows take the likelihood columns, not 'gaussian'"),
        (["--schema", "nowhere.json"], "the schema nowhere.json: No such file or directory"),
    ],
)
def test_flags_that_do_not_fit(
    penguins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(flags(penguins, tmp_path / "some", *more)) == 1
    assert message in capsys.readouterr().err


def test_a_schema_is_for_tables(digits_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", f"npz:{digits_npz}", "--out", str(tmp_path / "x"), "--schema", "s.json"]) == 1
    assert "--schema is for rows, but --data npz:" in capsys.readouterr().err


def test_a_run_from_other_weights_takes_their_columns(penguins: Path, tmp_path: Path) -> None:
    assert main(flags(penguins, tmp_path / "first")) == 0
    some = tmp_path / "some.csv"
    lines = penguins.read_text().splitlines()
    some.write_text("\n".join([lines[0], *lines[1:120]]) + "\n")  # Adelies alone: the column would be constant.
    assert (
        main(
            ["--data", f"csv:{some}", "--out", str(tmp_path / "next"), "--epochs", "1", "--init-from", str(tmp_path / "first")]
        )
        == 0
    )
    first, then = read(tmp_path / "first").manifest, read(tmp_path / "next").manifest
    assert then.preprocessing == first.preprocessing


def test_all_stages_of_a_training_hold_out_the_same_rows(penguins: Path, tmp_path: Path) -> None:
    assert main(flags(penguins, tmp_path / "first", "--validation", "0.05")) == 0
    assert main(flags(penguins, tmp_path / "next", "--init-from", str(tmp_path / "first"))) == 0
    assert read(tmp_path / "next").manifest.data["training"]["validation"] == 0.05
    some = tmp_path / "some.csv"
    some.write_text("\n".join(penguins.read_text().splitlines()[:200]) + "\n")
    assert main(flags(some, tmp_path / "other", "--init-from", str(tmp_path / "first"))) == 0
    assert read(tmp_path / "other").manifest.data["training"]["validation"] == 0.2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--prior", "vamp"], "models of rows take the prior standard, not 'vamp': leave --prior out"),
        (["--condition", "city"], "--condition is for pictures: models of rows"),
        (["--validation-split", "group"], "these rows have no groups: choose random or blocks"),
        (["--data", "excel:some.xlsx"], "save the sheet as CSV"),
        (["--data", "csv:some.xlsx"], "save the sheet as CSV"),
    ],
)
def test_advice_is_that_of_tables(
    penguins: Path, tmp_path: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags(penguins, tmp_path / "out"), *more]) == 1
    assert words in capsys.readouterr().err


def test_blocks_and_labels_speak_of_rows(penguins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags(penguins, tmp_path / "out", "--validation-split", "blocks")) == 0
    said = capsys.readouterr().out
    assert 'the rows have no labels by which a metric could be chosen; the name of a column as "label" in a --schema' in said
    assert "if neighbours resemble each other" in said
    assert "video" not in said
