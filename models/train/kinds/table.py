"""How models of tables are trained: the schema file, cells that are hidden from the encoder, the size of the net."""

import argparse
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from models.checkpoint import Manifest, read
from models.kinds import KINDS
from models.kinds.kind import Kind, Shape
from models.kinds.table import Columns
from models.readers.left_out import plural
from models.readers.path_names import storable
from models.readers.read_options import ReadOptions
from models.readers.table import TableOptions
from models.readers.table_schema import Schema, read_schema
from models.train.flag_types import share
from models.train.kinds.training import Training, recorded_training
from models.train.training_error import TrainingError

HIDDEN = [128, 128]
LEAST_LATENTS, MOST_LATENTS = 4, 32
# Small tables get many epochs, so that there are enough steps.
EPOCHS, LEAST_STEPS = 50, 4000
BATCH, SMALL_BATCH, SMALL_TABLE = 128, 32, 5000
CHECKS = 100  # The validation split is measured about so many times.


class TableTraining(Training):
    """Training on rows of CSV and Parquet files."""

    kind: ClassVar[Kind] = KINDS["table"]
    defaults: ClassVar[Mapping[str, Any]] = {"arch": "table", "likelihood": "columns", "hidden": HIDDEN}
    flags: ClassVar[frozenset[str]] = frozenset(("schema", "drop_cells", "max_corrupt"))
    bf16: ClassVar[bool] = False  # Standardised numbers have more digits than bf16.

    # Formatted, each flag would take six lines.
    # fmt: off
    def add_flags(self, add: Callable[..., None]) -> None:
        add("--schema", type=storable, metavar="FILE",
            help="JSON file with types of columns, columns to leave out, the column of labels and texts for missing cells, "
            "where what is inferred is not right")
        add("--drop-cells", type=share, default=0.5, metavar="SHARE",
            help="each step hides a share of a row's cells from the encoder, drawn from 0 to this, so that the net learns to "
            "fill missing cells")
    # fmt: on

    def options(self, args: argparse.Namespace) -> ReadOptions:
        model = None
        if args.init_from:  # The weights know the columns that they were trained on, and no others.
            if args.schema:
                raise TrainingError("--init-from takes the columns of its checkpoint: leave out --schema")
            spec = read(args.init_from).manifest.preprocessing
            model = spec if isinstance(spec, Columns) else None
        return TableOptions(
            model=model,
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
        reasons, (count, columns) = {}, rows.shape
        if resumed:
            return {}
        if not args.latent_dim:
            args.latent_dim = min(MOST_LATENTS, max(LEAST_LATENTS, math.ceil(columns / 2)))
            reasons["latent dimensions"] = (
                f"{args.latent_dim} latent dimensions, half of {columns} columns, at least {LEAST_LATENTS} and at most "
                f"{MOST_LATENTS}"
            )
        if not args.batch_size:
            args.batch_size = SMALL_BATCH if count < SMALL_TABLE else BATCH
            reasons["batch size"] = f"batches of {SMALL_BATCH} for fewer than {SMALL_TABLE} rows, otherwise of {BATCH}"
        if not args.epochs and not args.steps:
            args.epochs = max(EPOCHS, math.ceil(LEAST_STEPS / (count // min(args.batch_size, count))))
            args.validate_every = args.validate_every or max(1, args.epochs // CHECKS)
            reasons["length"] = f"{args.epochs} epochs, so that {count:,} rows give at least {LEAST_STEPS} steps"
            if args.epochs == EPOCHS:
                reasons["length"] = f"{EPOCHS} epochs, the default"
        return reasons

    def net_options(self, args: argparse.Namespace, rows: Tensor, spec: Columns) -> dict[str, Any]:
        args.activation = args.activation or "silu"
        return {
            "cardinalities": [column.cardinality for column in spec.columns],
            "hidden": args.hidden or HIDDEN,
            "activation": args.activation,
            "dropout": args.dropout,
            "drop_cells": args.drop_cells,
        }

    def likelihood_options(self, args: argparse.Namespace, rows: Tensor, spec: Columns) -> dict[str, Any]:
        return {
            "cardinalities": [column.cardinality for column in spec.columns],
            "floors": [round(column.floor, 6) for column in spec.columns],
            "ranges": [
                [round(end, 6) for end in column.ends] if not column.cardinality else [0, 0] for column in spec.columns
            ],
        }

    def init_flags(self, manifest: Manifest) -> dict[str, Any]:
        options = manifest.model.arch_options
        return {"drop_cells": options["drop_cells"]} if "drop_cells" in options else {}

    def size(self, shape: Shape) -> str:
        return plural(shape[0], "column")

    def data_note(self, args: argparse.Namespace) -> str:
        return (
            f"; each step hides up to {100 * args.drop_cells:g} % of a row's cells from the encoder, so that the train ELBO "
            "of the log is lower than that of validation, which sees all"
            if args.drop_cells
            else ""
        )
