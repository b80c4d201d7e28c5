"""The benchmark of tables: means over the folds, what it says without scikit-learn, and a real table through both commands."""

import re
import sys
from typing import Any

import pytest

from benchmarks import tables as benchmark
from tests.documents import DOCUMENTS


def fold(a: float, b: float) -> dict[str, Any]:
    columns = {"a": {"ratio": a}, "b": {"ratio": b}, "c": {"accuracy": 0.5}}
    means = {"rmse_ratio": (a + b) / 2, "accuracy": 0.5, "usual_accuracy": 0.25, "columns": columns}
    return {"imputation": means, "anomalies": {"swapped": a, "shuffled": b}, "numbers": 2, "all": 3}


def test_the_line_of_a_table_has_the_means_over_the_folds() -> None:
    line = benchmark.row_of("x", 7, [fold(0.9, 0.5), fold(0.1, 0.7)])
    assert line == [
        "x", "7", "2 numbers, 1 category", "0.550", "0.600 (b)", "50.0 % (25.0 %)", "0.500", "0.600"
    ]  # fmt: skip


def test_without_scikit_learn_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setattr("sys.argv", ["benchmarks.tables", "--table", "wine"])
    assert benchmark.main() == 1
    assert "pip install scikit-learn" in capsys.readouterr().err


def test_the_page_names_all_tables() -> None:
    page = DOCUMENTS["docs/tables.md"].partition("## How good it is")[2]
    assert "`python -m benchmarks.tables`" in page
    assert [line for line in benchmark.TABLES if f"\n| {line} |" not in page] == []


@pytest.mark.soak
def test_a_table_through_training_and_evaluation(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks.tables", "--table", "penguins", "--folds", "1"])
    assert benchmark.main() == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| penguins")]
    ratio, swapped, shuffled = (float(found) for found in re.findall(r"\| (0\.\d{3}|1\.000) (?=\|)", line))
    assert ratio < 0.7
    assert min(swapped, shuffled) > 0.9
