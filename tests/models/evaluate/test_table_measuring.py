"""A model of a table is measured by the same command: imputation and anomalies stand in metrics, card and report."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.calibration import read_calibration
from models.checkpoint import read
from models.evaluate import html, report, table
from models.evaluate.__main__ import main as evaluate
from models.evaluate.headings import headings
from models.evaluate.kinds import measuring_for
from models.evaluate.table import swapped, usual_rows
from models.kinds import KINDS
from models.kinds.column import Column
from models.kinds.table import Columns
from models.train.__main__ import main as train


@pytest.fixture(scope="module")
def model(penguins: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "penguins"
    few = ["--epochs", "6", "--hidden", "32", "--lr", "0.01", "--device", "cpu", "--no-fit-prior"]
    assert train(["--data", f"csv:{penguins}", "--preset", "table", *few, "--out", str(out)]) == 0
    return out


def test_metrics_card_and_report(model: Path) -> None:
    assert evaluate([str(model), "--samples", "3", "--device", "cpu"]) == 0
    metrics = json.loads((model / "metrics.json").read_text())
    assert metrics[table.KEY]["imputation"]["rmse_ratio"] < 1
    assert metrics[table.KEY]["anomalies"]["swapped"] > 0.8
    assert set(metrics[table.KEY]["reconstruction"]["columns"]) == set(read(model).manifest.preprocessing.names)
    card = (model / "README.md").read_text()
    assert "| imputation of hidden cells: accuracy; of the most frequent | " in card
    assert "| column | imputation | mean or most frequent | reconstruction |" in card
    assert "| body_mass_g | RMSE " in card
    assert "floors" not in card, "options of each column are in config.json"
    assert "Test rows, in lines; below each line are the reconstructions" in card
    assert "not binarised" not in card
    assert "Imputation and anomalies: imputation: each cell of the test rows" in card
    assert "pixel" not in card.partition("Left out: ")[0]
    checkpoint, measuring = read(model), measuring_for(KINDS["table"])
    page = report._numbers(metrics, headings(checkpoint.manifest, metrics), 4, "N(0, I)", measuring)
    assert "anomalies, shuffled: AUROC" in page
    assert "<th>body_mass_g</th>" in html.headed_table(measuring.table(metrics))


def test_what_is_usual_is_the_mean_and_the_most_frequent() -> None:
    spec = Columns((Column("a", "number", mean=5, std=2, low=0, high=9), Column("b", "category", categories=("x", "y"))))
    rows = np.array([[1, 0], [2, 1], [np.nan, 1]], np.float32)
    np.testing.assert_allclose(usual_rows(spec, rows), [[1.5, 1]])


def test_swapped_columns_have_each_others_numbers() -> None:
    spec = Columns((
        Column("a", "number", mean=5, std=2, low=0, high=9), Column("b", "number", mean=100, std=10, low=50, high=200),
    ))  # fmt: skip
    rows = spec.rows([{"a": 4, "b": 90}, {"a": None, "b": 110}])
    found = swapped(spec, rows, np.random.default_rng(0))
    assert found is not None
    assert spec.items(found) == [{"a": 90.0, "b": 4.0}, {"a": 110.0, "b": None}]


def test_scores_are_calibrated(model: Path) -> None:
    assert evaluate([str(model), "--calibrate", "--device", "cpu"]) == 0
    checkpoint = read(model)
    found = read_calibration(model, checkpoint.digest, 4)
    assert found is not None
    assert {"nll", "deviance", "surprise"} <= found.held_out.keys()
