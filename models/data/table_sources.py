"""Sources of tables: csv:PATH and parquet:PATH. Knows nothing of models or objectives."""

from pathlib import Path

from models.data.items import Splits
from models.data.splitting import split
from models.readers.download import DataError
from models.readers.path_names import expanded, shown
from models.readers.read_options import ReadOptions
from models.readers.table import TableOptions, read_table

SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
NOT_A_SPREADSHEET = "spreadsheets are not read: save the sheet as CSV, and use --data csv:PATH"
CSV_SUFFIXES, PARQUET_SUFFIXES = (".csv", ".tsv", ".tab"), (".parquet", ".pq")


def read_csv(rest: str, _data_dir: Path, options: ReadOptions | None, _mirror: str | None) -> Splits:
    """Return the splits of a CSV file."""
    return _splits(rest, options, parquet=False)


def read_parquet(rest: str, _data_dir: Path, options: ReadOptions | None, _mirror: str | None) -> Splits:
    """Return the splits of a Parquet file."""
    return _splits(rest, options, parquet=True)


def _splits(rest: str, options: ReadOptions | None, parquet: bool) -> Splits:
    path = expanded(rest)
    if path.is_dir():
        raise DataError(f"{shown(path)} is a folder, not a table: give one file")
    if path.suffix.lower() in SPREADSHEETS:
        raise DataError(f"{shown(path)}: {NOT_A_SPREADSHEET}")
    if not isinstance(options, TableOptions):
        options = TableOptions(**vars(options)) if options else TableOptions()
    return split(read_table(path, parquet, options), options.hold_out, options.validation)
