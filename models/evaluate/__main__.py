"""python -m models.evaluate PATH: measure a model and write metrics.json, pictures, card and golden answer beside it.

--fit-prior first fits a Gaussian mixture to the aggregate posterior and stores it beside the weights. --calibrate only writes
calibration.safetensors, with which scores get p-values. --report writes one HTML page with everything.
`models.evaluate.measure` computes the numbers.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models import aggregate
from models.calibration import CALIBRATION, read_calibration, write_calibration
from models.checkpoint import Checkpoint, CheckpointError, read
from models.data import Items, Splits, data_kind, load_data
from models.data.sources import known
from models.evaluate import agreement, calibrate, card, card_file, pictures, unusual
from models.evaluate.held_out import is_recorded
from models.evaluate.loading import load_splits
from models.evaluate.measure import evaluate, fit_prior
from models.files.directory_lock import DirectoryInUse, locked
from models.golden import write_golden
from models.metrics_file import METRICS, as_numbers, finite, read_metrics, write_metrics
from models.mixture import GaussianMixture, read_prior, write_prior
from models.program import add_version_flag, program
from models.readers.download import DataError
from models.readers.left_out import one_of
from models.readers.path_names import storable
from models.scores import SAMPLES as CALIBRATION_SAMPLES
from models.train import flag_types
from models.train.devices import DeviceError, choose_device
from models.train.flags import add_data_flags
from models.train.kinds import TRAINING

# Far more samples than any published bound has (5,000).
MOST_SAMPLES = 100_000
SAMPLES = 500


class EvaluationError(Exception):
    """The evaluation cannot be done; the message says why."""


def _shorten(items: Items, limit: int | None) -> Items:
    return items if limit is None else items[:limit]


def measured(checkpoint: Checkpoint, splits: Splits, args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Measure all numbers, with the fitted prior if there is one or --fit-prior asks for it."""
    if args.fit_prior:
        covariance: aggregate.Covariance = args.prior_covariance
        try:
            fit = fit_prior(
                checkpoint, splits.train, covariance, tuple(args.prior_components), args.seed, device,
                splits.validation,
            )  # fmt: skip
        except aggregate.TooFewSamples as error:
            tried = ",".join(map(str, args.prior_components))
            raise EvaluationError(f"--prior-components {tried}: {error}") from None
        write_prior(args.path, fit.mixture, checkpoint.digest, fit.fitted, fit.labels)
        if reason := fit.fitted.get("labels_left_out"):
            print(f"prior: without labels, because {reason}", file=sys.stderr)
    prior = read_prior(args.path, checkpoint.digest, checkpoint.vae.config.latent_dim)
    metrics = evaluate(checkpoint, splits, args.samples or SAMPLES, args.seed, device, prior)
    if args.limit is not None:
        metrics["protocol"]["limit"] = args.limit
    return finite(metrics)


def recorded(path: Path) -> dict[str, Any]:
    """Return the numbers of an earlier evaluation. Raises EvaluationError."""
    file = path / METRICS
    try:
        metrics = read_metrics(path)
    except FileNotFoundError:
        raise EvaluationError(f"{file}: no such file; measure first, without --recorded") from None
    except OSError as error:
        raise EvaluationError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise EvaluationError(f"{file}: not JSON: {error}; measure again, without --recorded") from None
    if not metrics:
        raise EvaluationError(f"{file}: not a JSON object, or an empty one; measure again, without --recorded")
    return metrics


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status: 0 for success, 1 for an error, 130 if the user stopped it."""
    args = build_parser().parse_args(argv)
    try:
        with locked(args.path, "models.evaluate"):
            metrics = _calibrate(args) if args.calibrate else _evaluate(args)
    except (CheckpointError, DataError, DeviceError, DirectoryInUse, EvaluationError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; {args.path} may lack some numbers, pictures or the card until you run this again", file=sys.stderr)
        return 130
    if metrics:
        print(json.dumps({name: value for name, value in metrics.items() if name != "kl_per_dim"}, indent=2))
    return 0


def _calibrate(args: argparse.Namespace) -> dict[str, Any]:
    """Write the calibration, say what it is, and go on with --recorded."""
    checkpoint = read(args.path)
    if args.fit_prior or args.limit is not None:
        raise EvaluationError("--calibrate uses whole splits, and fits no prior: leave out --fit-prior and --limit")
    if args.data and is_recorded(checkpoint.manifest.data):
        raise EvaluationError(
            "--calibrate uses the data of the training, of which the checkpoint records what was held out: leave out --data"
        )
    if args.samples is not None:
        raise EvaluationError(
            f"--calibrate scores with {CALIBRATION_SAMPLES} samples, and --samples is for measuring: leave out --samples"
        )
    if args.report is not None and not args.recorded:
        raise EvaluationError("--calibrate does not measure what the report shows: add --recorded, or leave out --report")
    splits, others = load_splits(checkpoint, args), dict[str, torch.Tensor]()
    for name in args.strangers:
        others[_named(name)] = _strangers(name, checkpoint, args)
    given = _named(args.data) if args.data else None
    found = calibrate.calibrate(checkpoint, splits, args.seed, choose_device(args.device), others, given)
    write_calibration(args.path, found, checkpoint.digest)
    print(f"calibration: {args.path / CALIBRATION}", *map(checkpoint.vae.kind.worded, unusual.lines(found)), sep="\n")
    return _evaluate(args) if args.recorded else {}


def _named(name: str) -> str:
    """Return the name of a data set without the directories of its path."""
    kind, separator, path = name.partition(":")
    return f"{kind}{separator}{Path(path).stem}"


def _strangers(name: str, checkpoint: Checkpoint, args: argparse.Namespace) -> torch.Tensor:
    """Return the test pictures of another data set. Raises DataError."""
    of = checkpoint.vae.kind
    if (kind := data_kind(name)) is not of:
        raise DataError(f"--strangers {name} has {kind.many}, and the model is one of {of.many}")
    options = replace(TRAINING[of.name].options_again(checkpoint.manifest), hold_out="random", validation=None)
    x = load_data(name, args.data_dir, options, args.mirror).test.x
    if tuple(x.shape[1:]) != checkpoint.vae.config.shape:
        raise DataError(
            f"--strangers {name} has {of.many} of shape {tuple(x.shape[1:])}, the model takes {checkpoint.vae.config.shape}"
        )
    return x


def _evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, write all files, and return the numbers."""
    checkpoint = read(args.path)
    if args.strangers and not args.calibrate:
        raise EvaluationError("--strangers is for the calibration: add --calibrate, or leave out --strangers")
    if args.recorded and args.fit_prior:
        raise EvaluationError("--recorded measures nothing, but --fit-prior must measure: choose one of them")
    splits = load_splits(checkpoint, args)
    splits = replace(splits, test=_shorten(splits.test, args.limit))
    if args.recorded:
        metrics = recorded(args.path)
    else:
        metrics = measured(checkpoint, splits, args, choose_device(args.device))
        write_metrics(args.path, metrics)
    prior = read_prior(args.path, checkpoint.digest, checkpoint.vae.config.latent_dim)
    mixture = None if prior is None else prior.mixture
    checkpoint.vae.cpu()
    write_golden(args.path, checkpoint, splits.test.x, splits.test.labels, splits.test.condition)
    drawn = pictures.write_pictures(args.path, checkpoint.vae, splits.test, mixture, spec=checkpoint.manifest.preprocessing)
    print(
        *agreement.lines(as_numbers(metrics), checkpoint.vae.kind),
        sep="\n",
        end="\n" if "agreement" in metrics else "",
        file=sys.stderr,
    )
    calibration = read_calibration(args.path, checkpoint.digest, checkpoint.vae.config.latent_dim)
    known = None if calibration is None else calibration.record
    text = partial(card.card, args.path, checkpoint.manifest, metrics, [one.name for one in drawn], known)
    print(card_file.write_card(args.path, text, args.overwrite_card), file=sys.stderr)
    if "left_out" in metrics["protocol"]:
        print(f"left out: {metrics['protocol']['left_out']}", file=sys.stderr)
    if args.report is not None:
        print(_write_report(args, checkpoint, splits, as_numbers(metrics), mixture, known), file=sys.stderr)
    return metrics


def _write_report(
    args: argparse.Namespace,
    checkpoint: Checkpoint,
    splits: Splits,
    metrics: dict[str, Any],
    mixture: GaussianMixture | None,
    known: Mapping[str, Any] | None,
) -> Path:
    if "rate" not in metrics:
        raise EvaluationError(f"{args.path / METRICS} was written by an earlier version: measure again, without --recorded")
    try:
        from models.evaluate import report
    except ModuleNotFoundError as error:
        raise EvaluationError(f"the report needs {error.name}: pip install 'vae-service[report]'") from None
    out = Path(args.report or args.path / "report")
    return report.write_report(out, args.path, checkpoint, splits, metrics, mixture, known)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the evaluate command."""
    name = program("models.evaluate")
    parser = argparse.ArgumentParser(
        name,
        usage=f"{name} PATH [flags]",
        description="Measure a model on its test pictures; write metrics.json, pictures and the card (README.md) beside it.",
    )
    add_version_flag(parser)
    parser.add_argument("path", type=Path, metavar="PATH", help="directory of the checkpoint")
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data", type=storable,
        help=f"{one_of(known())} (default: the data that the model was trained on)",
    )  # fmt: skip
    add_data_flags(group)
    add = parser.add_argument_group("numbers").add_argument
    add(
        "--samples", type=flag_types.whole(1, MOST_SAMPLES), metavar="K",
        help=f"samples of the importance-weighted bound for each picture (default: {SAMPLES})",
    )  # fmt: skip
    add(
        "--limit", type=flag_types.whole(2, 10**9), metavar="N",
        help="measure only the first N test pictures, which may be easier than the rest",
    )  # fmt: skip
    add(
        "--seed", type=flag_types.seed, default=0, metavar="N",
        help="seed of binarisation, samples and mixture (default: %(default)s)",
    )  # fmt: skip
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (default: %(default)s)")
    add = parser.add_argument_group("prior").add_argument
    add(
        "--fit-prior", action="store_true",
        help="fit a Gaussian mixture to the latents of all training pictures, from which /sample draws (training fits one to "
        "up to 10,000 pictures)",
    )  # fmt: skip
    add(
        "--prior-covariance", choices=aggregate.COVARIANCES, default="full",
        help="covariances of the Gaussians (default: %(default)s)",
    )  # fmt: skip
    add(
        "--prior-components", type=flag_types.widths, default=aggregate.CANDIDATES, metavar="K,K,...",
        help=f"numbers of Gaussians to try (default: {','.join(map(str, aggregate.CANDIDATES))})",
    )  # fmt: skip
    add = parser.add_argument_group("calibration").add_argument
    add(
        "--calibrate", action="store_true",
        help="only write calibration.safetensors beside the weights: scores of held-out pictures (the validation split), with "
        "which /score says how unusual a picture is; with --recorded, go on to the card and the report",
    )  # fmt: skip
    add(
        "--strangers", action="append", default=[], type=storable, metavar="DATA",
        help="with --calibrate: another data set, as --data takes it, of out-of-distribution pictures (strangers); measures "
        "how well each score separates them from held-out pictures; may be repeated",
    )  # fmt: skip
    add = parser.add_argument_group("output").add_argument
    add("--report", nargs="?", const="", metavar="DIR", help="write an HTML report into DIR (default: PATH/report)")
    add(
        "--overwrite-card", action="store_true",
        help="write the card into README.md even if that has a text of yours, which is lost (without: into README.vae.md)",
    )  # fmt: skip
    add("--recorded", action="store_true", help="reuse the numbers in metrics.json; only write pictures, card and report")
    return parser


if __name__ == "__main__":
    sys.exit(main())
