"""What a model of a table is worth: how well it fills cells that were hidden, and recognises rows that were spoilt.

Knows nothing of files or of the command line.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluate.strangers import auroc
from models.imputation import cell_surprise, decoded, impute
from models.kinds.column import Column
from models.kinds.table import Columns, Rows
from models.vae import VAE

KEY = "table"
HIDDEN = 0.2  # share of the cells that are hidden for imputation
REPEATS, LEAST_CELLS = 50, 20_000  # Small tests are repeated with other cells hidden, until so many cells were.
PROTOCOL = (
    "imputation: each cell of the test rows is hidden with probability 0.2, and filled from the others; numbers: the root of "
    "the mean squared error over that of the mean of the training rows, on a logarithmic scale for columns that have one; "
    "categories and booleans: accuracy, beside that of the most frequent one of the training rows. Anomalies: AUROC of the "
    "surprise of a row (the sum over its cells of the nats by which each is less likely than the most likely one, given the "
    "others) between test rows and the same rows with the numbers of two columns swapped, or with the cells of each column "
    "shuffled among the rows. Means over draws with several seeds"
)


def table_numbers(vae: VAE, spec: Columns, train: Rows, test: Rows, seed: int) -> dict[str, Any]:
    """Return the numbers of `PROTOCOL`. train, test: rows (N, K)."""
    repeats = int(min(REPEATS, max(1, np.ceil(LEAST_CELLS / test.size))))
    usual = usual_rows(spec, train)
    errors = _Errors(spec, usual)
    swaps, shuffles = list[float](), list[float]()
    known = cell_surprise(vae, test).sum(1)
    for repeat in range(repeats):
        noise = np.random.default_rng([seed, repeat])
        hidden = (noise.random(test.shape) < HIDDEN) & ~np.isnan(test)
        errors.add(test, impute(vae, spec, np.where(hidden, np.float32(np.nan), test)), hidden)
        if repeat < 5:  # Each takes as many rows as there are columns.
            for found, spoilt in ((swaps, swapped(spec, test, noise)), (shuffles, shuffled(test, noise))):
                if spoilt is not None:
                    found.append(auroc(known, cell_surprise(vae, spoilt).sum(1)))
    whole = _Errors(spec, usual)
    whole.add(test, spec.parameters.expected(decoded(vae, test)), ~np.isnan(test))
    anomalies = {"swapped": swaps, "shuffled": shuffles}
    return {
        "imputation": {"hidden": HIDDEN, "repeats": repeats, **errors.numbers()},
        "reconstruction": whole.numbers(),
        "anomalies": {name: float(np.mean(values)) for name, values in anomalies.items() if values},
    }


def usual_rows(spec: Columns, train: Rows) -> Rows:
    """Return one row with the mean of each number and the most frequent category of the training rows, (1, K)."""
    row = []
    for column, values in zip(spec.columns, train.T, strict=True):
        there = values[~np.isnan(values)]
        if column.type == "number":
            row.append(float(there.mean(dtype=np.float64)) if len(there) else 0.0)
        else:
            row.append(float(np.bincount(there.astype(np.int64)).argmax()) if len(there) else 0.0)
    return np.array([row], np.float32)


def swapped(spec: Columns, rows: Rows, noise: np.random.Generator) -> Rows | None:
    """Return rows in which the numbers of two columns by chance are swapped, in units of the data; None if there is one."""
    numbers = [k for k, column in enumerate(spec.columns) if column.type == "number"]
    if len(numbers) < 2:
        return None
    found = rows.astype(np.float64)
    for row in found:
        one, other = noise.choice(numbers, 2, replace=False)
        columns = spec.columns[one], spec.columns[other]
        row[one], row[other] = _moved(columns[1], columns[0], row[other]), _moved(columns[0], columns[1], row[one])
    return found.astype(np.float32)


def shuffled(rows: Rows, noise: np.random.Generator) -> Rows:
    """Return rows in which the cells of each column are shuffled among the rows."""
    return np.stack([column[noise.permutation(len(rows))] for column in rows.T], axis=1)


def card_rows(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rows of the card's table: (what, number)."""
    rows = []
    for key, words in (("reconstruction", "reconstruction"), ("imputation", "imputation of hidden cells")):
        found = numbers[key]
        if "rmse_ratio" in found:
            rows.append(
                (
                    f"{words}: RMSE over that of the mean; worst column",
                    f"{found['rmse_ratio']:.3f}; {found['worst_ratio']:.3f}",
                )
            )
        if "accuracy" in found:
            shares = f"{100 * found['accuracy']:.1f} %; {100 * found['usual_accuracy']:.1f} %"
            rows.append((f"{words}: accuracy; of the most frequent", shares))
    rows += [(f"anomalies, {name}: AUROC", f"{value:.3f}") for name, value in numbers["anomalies"].items()]
    return rows


def column_rows(numbers: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return a row for each column: name, and error or accuracy of imputation, of what is usual, and of reconstruction."""
    rows = []
    for name, found in numbers["imputation"]["columns"].items():
        whole = numbers["reconstruction"]["columns"].get(name, {})
        if "rmse" in found:
            unit = " (of the logarithm)" if found.get("log") else ""
            error = f"RMSE {found['rmse']:.4g}{unit}"
            rows.append((name, error, f"{found['usual']:.4g}", f"{whole.get('rmse', np.nan):.4g}"))
        else:
            shares = (found["accuracy"], found["usual"], whole.get("accuracy", np.nan))
            rows.append((name, *(f"{100 * share:.1f} %" for share in shares)))
    return rows


class _Errors:
    """Errors of filled cells by column, beside those of what is usual."""

    def __init__(self, spec: Columns, usual: Rows) -> None:
        self._spec, self._usual = spec, usual[0]
        self._sums = np.zeros((len(spec.columns), 3))  # squared errors or hits, those of what is usual, cells

    def add(self, rows: Rows, filled: Rows, where: NDArray[np.bool_]) -> None:
        for k, column in enumerate(self._spec.columns):
            there = where[:, k]
            true, own = rows[there, k].astype(np.float64), filled[there, k].astype(np.float64)
            if column.type == "number":
                self._sums[k] += ((own - true) ** 2).sum(), ((self._usual[k] - true) ** 2).sum(), len(true)
            else:
                self._sums[k] += (own == true).sum(), (self._usual[k] == true).sum(), len(true)

    def numbers(self) -> dict[str, Any]:
        columns: dict[str, dict[str, float]] = {}
        for column, (found, usual, cells) in zip(self._spec.columns, self._sums.tolist(), strict=True):
            if not cells:
                continue
            if column.type == "number" and usual:
                unit = 1.0 if column.scale == "log" else column.std
                errors = [unit * (total / cells) ** 0.5 for total in (found, usual)]
                columns[column.name] = {"rmse": errors[0], "usual": errors[1], "ratio": errors[0] / errors[1]}
                columns[column.name] |= {"log": 1.0} if column.scale == "log" else {}
            elif column.type != "number":
                columns[column.name] = {"accuracy": found / cells, "usual": usual / cells}
        ratios = [one["ratio"] for one in columns.values() if "ratio" in one]
        shares = [(one["accuracy"], one["usual"]) for one in columns.values() if "accuracy" in one]
        means = {"rmse_ratio": float(np.mean(ratios)), "worst_ratio": max(ratios)} if ratios else {}
        if shares:
            accuracy, usual_accuracy = np.mean(shares, 0).tolist()
            means |= {"accuracy": accuracy, "usual_accuracy": usual_accuracy}
        return {**means, "columns": columns}


def _moved(source: Column, target: Column, entry: float) -> float:
    """Return the entry of `target` that is the same number as an entry of `source`, within what the rows can hold."""
    raw = source.raw(entry)
    if np.isnan(raw):
        return np.nan
    if target.scale == "log":
        raw = float(np.log(max(raw, 1e-300)))
    return float(np.clip((raw - target.mean) / target.std, -1e6, 1e6))
