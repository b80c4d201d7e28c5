"""Load the data that a checkpoint is measured on: those of its training, after a check, or those of --data."""

import argparse
import os
import sys
from dataclasses import replace

from tqdm import tqdm

from models.checkpoint import Checkpoint
from models.data import Splits, class_names, data_kind, load_data
from models.data.conditions import conditioned
from models.readers.download import DataError
from models.readers.path_names import expanded, shown
from models.train.kinds import TRAINING
from models.train.run_directory import data_digest


def load_splits(checkpoint: Checkpoint, args: argparse.Namespace) -> Splits:
    """Load the data that the checkpoint was trained on, after a check, or those of --data. Raises DataError."""
    name = args.data or checkpoint.manifest.data.get("name")
    if not name:
        raise DataError("the checkpoint does not name its data: add --data")
    of = checkpoint.vae.kind
    if (kind := data_kind(name)) is not of:
        raise DataError(f"{name} has {kind.many}, and the model is one of {of.many}")
    options = TRAINING[of.name].options_again(checkpoint.manifest)
    if args.pack and args.data:
        raise DataError("--pack has the data that the model was trained on, --data names others: choose one of them")
    if args.pack and not os.path.lexists(expanded(args.pack)):
        raise DataError(
            f"--pack {shown(args.pack)}: no such file; models.evaluate only reads what models.train --pack has "
            "written: name that file, or leave --pack out to read the data themselves"
        )
    splits = load_data(f"packed:{args.pack}" if args.pack else name, args.data_dir, options, args.mirror)
    for line in splits.summary:
        tqdm.write(line, file=sys.stderr)
    if tuple(splits.test.x.shape[1:]) != checkpoint.vae.config.shape:
        raise DataError(
            f"{name} has {of.many} of shape {tuple(splits.test.x.shape[1:])}, the model takes {checkpoint.vae.config.shape}"
        )
    was = checkpoint.manifest.data.get("digest")
    if not args.data and isinstance(was, str) and was != (found := data_digest(splits.train.x)):
        raise DataError(
            f"{name} is not what the model was trained on: its training {of.many} have the SHA-256 {found[:12]}..., the "
            f"checkpoint recorded {was[:12]}...; restore the old data, or add --data {name} to measure on the current data"
        )
    return told(splits, checkpoint, name)


def told(splits: Splits, checkpoint: Checkpoint, name: str) -> Splits:
    """Return the splits with what a conditional model is told about each item. Raises DataError."""
    condition, classes = checkpoint.vae.config.condition, splits.classes or class_names({"name": name})
    train, test = (
        conditioned(items, condition, classes, part, name)
        for part, items in (("training", splits.train), ("test", splits.test))
    )
    own = splits.validation and conditioned(splits.validation, condition, classes, "validation", name)
    return replace(splits, train=train, test=test, validation=own)
