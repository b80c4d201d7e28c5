"""`python -m benchmarks.tables`: how well models of small real tables fill missing cells and find spoilt rows.

Trains `--preset table` on the tables that scikit-learn carries and on the penguins of the tests, three times each with another
fifth of the rows as the test, and measures the models with `models.evaluate`. Compares no speeds, and needs scikit-learn.
"""

import argparse
import csv
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report

PENGUINS = Path(__file__).parents[1] / "tests" / "data" / "penguins.csv"
PARTS, FOLDS = 5, 3
COLUMNS = ("table", "rows", "columns", "ratio", "worst column", "accuracy", "swapped", "shuffled")

Table = tuple[list[str], list[list[Any]]]  # the names of the columns, and the rows


class Failed(Exception):
    """A command of the product failed, or a package is missing."""


def bundled(name: str, label: str, **options: Any) -> Table:
    """Return a table of scikit-learn with its target as a column, by its names where it has some. Raises Failed."""
    try:
        loaders = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise Failed(f"{error}: these tables are part of scikit-learn: pip install scikit-learn") from None
    found = getattr(loaders, f"load_{name}")(**options)
    target = found.target_names[found.target] if "target_names" in found else found.target
    rows = [[*cells, own] for cells, own in zip(found.data.tolist(), target.tolist(), strict=True)]
    return [*found.feature_names, label], rows


def penguins() -> Table:
    """Return the penguins of the tests, with the cells as text."""
    with PENGUINS.open(newline="") as file:
        names, *rows = csv.reader(file)
    return names, rows


TABLES: Mapping[str, Callable[[], Table]] = {
    "penguins": penguins,
    "wine, with the cultivar": lambda: bundled("wine", "cultivar"),
    "breast cancer, with the diagnosis": lambda: bundled("breast_cancer", "diagnosis"),
    "diabetes, not scaled": lambda: bundled("diabetes", "progression", scaled=False),
}


def command(*words: str) -> None:
    """Run a command of the product. Raises Failed with its last lines."""
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # such small nets take longer with more
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, env=one_thread)
    if done.returncode:
        raise Failed(f"python -m {' '.join(words)}: {done.stderr.strip()[-500:]}")


def measured(table: Table, fold: int, directory: Path, flags: Sequence[str]) -> dict[str, Any]:
    """Return what the metrics of a model have about its test rows, one fifth of the table. `flags` are more of training.

    Raises Failed.
    """
    names, rows = table
    file, out = directory / f"fold-{fold}.csv", directory / f"fold-{fold}"
    test = set(np.array_split(np.random.default_rng(0).permutation(len(rows)), PARTS)[fold].tolist())
    with file.open("w", newline="") as to:
        writer = csv.writer(to)
        writer.writerow([*names, "split"])
        writer.writerows([*row, "test" if i in test else "train"] for i, row in enumerate(rows))
    cpu = ("--device", "cpu")
    command("models.train", "--data", f"csv:{file}", "--preset", "table", "--no-fit-prior", "--out", str(out), *cpu, *flags)
    command("models.evaluate", str(out), "--samples", "8", *cpu)
    metrics = json.loads((out / "metrics.json").read_text())
    columns = json.loads((out / "config.json").read_text())["preprocessing"]["columns"]
    return {**metrics["table"], "numbers": sum(column["type"] == "number" for column in columns), "all": len(columns)}


def row_of(name: str, count: int, folds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the line of a table in the report: means over the folds."""
    filled, anomalies = [fold["imputation"] for fold in folds], [fold["anomalies"] for fold in folds]
    mean = {key: float(np.mean([one[key] for one in filled])) for key in ("rmse_ratio", "accuracy", "usual_accuracy")}
    ratios = {
        column: float(np.mean([one["columns"][column]["ratio"] for one in filled]))
        for column, numbers in filled[0]["columns"].items()
        if "ratio" in numbers
    }
    worst, numbers = max(ratios, key=lambda column: ratios[column]), folds[0]["numbers"]
    others = folds[0]["all"] - numbers
    return [
        name,
        str(count),
        f"{numbers} numbers, {others} {'category' if others == 1 else 'categories'}",
        f"{mean['rmse_ratio']:.3f}",
        f"{ratios[worst]:.3f} ({worst})",
        f"{100 * mean['accuracy']:.1f} % ({100 * mean['usual_accuracy']:.1f} %)",
        *(f"{np.mean([one[key] for one in anomalies]):.3f}" for key in ("swapped", "shuffled")),
    ]


def main() -> int:
    """Measure and print. Exit status: 1 if a command of the product fails or scikit-learn is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables", description="Imputation against means and modes, and AUROCs of spoilt rows."
    )
    parser.add_argument(
        "--folds",
        type=int,
        choices=range(1, PARTS + 1),
        default=FOLDS,
        help="test sets of a fifth each (default: %(default)s)",
    )
    parser.add_argument("--table", choices=[name.partition(",")[0] for name in TABLES], help="only this table (default: all)")
    parser.add_argument("--validation", metavar="SHARE", help="as in models.train (default: that of the plan)")
    options = parser.parse_args()
    flags = [] if options.validation is None else ["--validation", options.validation]
    rows = []
    try:
        for name, load in TABLES.items():
            if options.table in (None, name.partition(",")[0]):
                table = load()
                with tempfile.TemporaryDirectory() as directory:
                    folds = []
                    for fold in range(options.folds):
                        report.progress(f"{name}: fold {fold + 1} of {options.folds}")
                        folds.append(measured(table, fold, Path(directory), flags))
                rows.append(row_of(name, len(table[1]), folds))
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.heading("benchmarks.tables"), report.table(COLUMNS, rows), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
