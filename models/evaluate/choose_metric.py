"""python -m models.evaluate.choose_metric PATH ...: choose the metric of searches anew and record it in config.json.

Training does this by itself; this is for checkpoints that were trained by an earlier version, or got other weights. The digest
of the model stays, and so do its collections.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models.checkpoint import Checkpoint, CheckpointError, read, record_metric
from models.data import Splits, hold_out
from models.data.sources import known
from models.evaluate.__main__ import EvaluationError
from models.evaluate.loading import load_splits
from models.files.directory_lock import DirectoryInUse, locked
from models.metric_choice import MetricChoice, choose_for, no_labels
from models.readers.download import DataError
from models.readers.left_out import one_of
from models.train.devices import DeviceError, choose_device
from models.train.flags import add_data_flags


def chosen(checkpoint: Checkpoint, splits: Splits, device: str) -> MetricChoice:
    """Choose as training does, see `models.metric_choice`. Raises EvaluationError, DeviceError."""
    training = checkpoint.manifest.data.get("training", {})
    fitting, held_out = splits.train, splits.validation
    if held_out is None:
        share, seed = training.get("validation", 0.05), training.get("seed", 0)
        fitting, held_out = hold_out(splits.train, share, seed, kind=training.get("validation_split", "random"))
    if fitting.labels is None or held_out.labels is None:
        raise EvaluationError(no_labels(checkpoint.vae.kind))
    if checkpoint.vae.config.condition:
        raise EvaluationError("a conditional model's latents are to say what the condition does not, so labels cannot choose")
    where = choose_device(device)
    fitting, held_out = fitting.to(where), held_out.to(where)
    try:
        return choose_for(checkpoint.vae.to(where), fitting.x, fitting.labels, held_out.x, held_out.labels)  # type: ignore[arg-type]
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def still(choice: MetricChoice) -> str:
    """Return what an error leaves as it was."""
    return f"; the recorded choice, {choice}, stays" if choice.chosen_by else "; searches use l2"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status: 0 for success, 1 if a checkpoint got no choice."""
    args, status = build_parser().parse_args(argv), 0
    for path in args.paths:
        stays = ""
        try:
            with locked(path, "models.evaluate.choose_metric"):
                checkpoint = read(path)
                stays = still(checkpoint.manifest.search)
                choice = chosen(checkpoint, load_splits(checkpoint, args), args.device)
                record_metric(path, choice)
        except (CheckpointError, DataError, DeviceError, DirectoryInUse, EvaluationError, OSError) as error:
            print(f"error: {path}: {error}{stays}", file=sys.stderr)
            status = 1
        else:
            print(f"{path}: {choice} ({choice.chosen_by})", flush=True)
    return status


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    name = "python -m models.evaluate.choose_metric"
    parser = argparse.ArgumentParser(
        name,
        description="Choose the metric of searches by the labels of validation pictures, and record it in config.json, as "
        "`search`: l2, cosine, or w2 with the best of some sigma weights. With fewer than 200 validation pictures, each of "
        "all pictures is compared with the others (leave-one-out); at least 200 with labels are needed. On an error, a choice "
        "that is recorded stays.",
    )
    add = parser.add_argument
    add("paths", type=Path, nargs="+", metavar="PATH", help="checkpoint directories")
    add("--data", help=f"{one_of(known())} (default: the training data of each)")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (default: %(default)s)")
    add_data_flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
