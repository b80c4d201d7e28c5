"""How models of tables are trained: the schema file, cells that are hidden from the encoder, the size of the net."""

import argparse
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from models.checkpoint import Manifest
from models.kinds import KINDS
from models.kinds.kind import Kind
from models.kinds.table import Columns
from models.readers.path_names import storable
from models.readers.read_options import ReadOptions
from models.readers.table import TableOptions
from models.readers.table_schema import Schema, read_schema
from models.train.flag_types import share
from models.train.kinds.training import Training, recorded_training

HIDDEN = [128, 128]
LEAST_LATENTS, MOST_LATENTS = 4, 32
# Steps of a run whose length is left open: small tables need many epochs for them, and large ones get 50 epochs anyway.
SMALL_BATCH, SMALL_TABLE = 32, 5000
LEAST_STEPS, LEAST_EPOCHS, CHECKS = 2000, 50, 100


class TableTraining(Training):
    """Training on rows of CSV and Parquet files."""

    kind: ClassVar[Kind] = KINDS["table"]
    defaults: ClassVar[Mapping[str, Any]] = {"arch": "table", "likelihood": "columns", "hidden": HIDDEN}
    flags: ClassVar[frozenset[str]] = frozenset(("schema", "drop_cells", "max_corrupt"))
    bf16: ClassVar[bool] = False  # Standardised numbers have more digits than bf16.
    near_copies: ClassVar[str] = ""

    # Formatted, each flag would take six lines.
    # fmt: off
    def add_flags(self, add: Callable[..., None]) -> None:
        add("--schema", type=storable, metavar="FILE",
            help="JSON file with the types of columns, columns to leave out, the column of labels and texts for missing cells, "
            "where what is inferred is not right")
        add("--drop-cells", type=share, default=0.5, metavar="SHARE",
            help="each step hides a share of a row's cells from the encoder, drawn from 0 to this, so that the net learns to "
            "fill missing cells")
    # fmt: on

    def options(self, args: argparse.Namespace) -> ReadOptions:
        return TableOptions(
            schema=read_schema(args.schema) if args.schema else Schema(),
            schema_name=f"the schema {args.schema}",
            max_corrupt=args.max_corrupt,
            hold_out=args.validation_split,
            validation=args.validation,
        )

    def options_again(self, manifest: Manifest) -> ReadOptions:
        training = recorded_training(manifest)
        return TableOptions(
            max_corrupt=training.get("max_corrupt", TableOptions.max_corrupt),
            model=manifest.preprocessing,
            hold_out=training.get("validation_split", "random"),
            validation=training.get("validation"),
        )

    def choose(self, args: argparse.Namespace, rows: Tensor, resumed: bool) -> dict[str, str]:
        if args.latent_dim or resumed:
            return {}
        columns = rows.shape[1]
        args.latent_dim = min(MOST_LATENTS, max(LEAST_LATENTS, math.ceil(columns / 2)))
        return {
            "latent dimensions": f"{args.latent_dim} latent dimensions, half of {columns} columns, "
            f"at least {LEAST_LATENTS} and at most {MOST_LATENTS}"
        }

    def net_options(self, args: argparse.Namespace, rows: Tensor, spec: Columns) -> dict[str, Any]:
        args.activation = args.activation or "silu"
        return {
            "cardinalities": [column.cardinality for column in spec.columns],
            "hidden": args.hidden or HIDDEN,
            "activation": args.activation,
            "dropout": args.dropout,
            "drop": args.drop_cells,
        }

    def likelihood_options(self, args: argparse.Namespace, rows: Tensor, spec: Columns) -> dict[str, Any]:
        return {
            "cardinalities": [column.cardinality for column in spec.columns],
            "floors": [round(column.floor, 6) for column in spec.columns],
        }

    def data_note(self, args: argparse.Namespace) -> str:
        return (
            f"; each step hides up to {100 * args.drop_cells:g} % of a row's cells from the encoder" if args.drop_cells else ""
        )
