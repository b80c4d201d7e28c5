"""Parse the command line of `python -m models.train`, with the recorded arguments of a run that is resumed."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.checkpoint import CONFIG
from models.readers.path_names import expanded, shown, storable
from models.train.continuing import lengthen
from models.train.flags import build_parser
from models.train.initial_weights import flags_of
from models.train.kinds import TRAINING, flags_of_others, training_for
from models.train.model_flags import ONLY_WITH, check_flags
from models.train.presets import PRESETS
from models.train.resume import STATE, ResumeError, recorded_arguments
from models.train.training_error import TrainingError

# Flags that do not change the result of a run. They may differ when it is resumed.
PLACES = {
    "out", "resume", "overwrite", "data_dir", "mirror", "device", "threads", "save_every", "compile", "tensorboard",
    "no_snapshots", "command", "preset", "fit_prior", "choices", "lengthened", "now_longer", "init_digest",
    "init_data", "given", "pack",
}  # fmt: skip
# What a run records beside its arguments, so that it continues and describes itself as it started.
RECORDS = ("preset", "fit_prior", "choices", "lengthened", "init_digest", "init_data", "threads")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments. With --resume, take those that the run recorded; raise ResumeError if others contradict them.

    `given` has the flags of ONLY_WITH that a new run's command line names. Raises TrainingError for contradicting flags.
    """
    parser = build_parser()
    parser.set_defaults(
        command=storable(shlex.join(["python", "-m", "models.train", *(sys.argv[1:] if argv is None else argv)]))
    )
    parser.set_defaults(choices=None, lengthened=None, now_longer=False, init_digest=None, init_data=None, given=())
    first = parser.parse_args(argv)
    if first.steps and first.epochs:
        parser.error("--steps and --epochs both set the length of the run: choose one of them")
    if not first.resume:
        preset = PRESETS[first.preset].flags if first.preset else {}
        data = first.data if names_data(parser, argv) else preset.get("data", first.data)
        parser.set_defaults(**training_for(data).defaults)
        if first.init_from:
            parser.set_defaults(**flags_of(first))
        parser.set_defaults(**preset)
        if first.epochs:  # A length in steps, as some presets have it, would win over --epochs.
            parser.set_defaults(steps=None)
        others = flags_of_others(data)
        named = vars(parser.parse_args(argv, argparse.Namespace(**dict.fromkeys((*ONLY_WITH, *others)))))
        parser.set_defaults(given=tuple(flag for flag in ONLY_WITH if named[flag] is not None))
        if foreign := sorted(flag for flag in others if named[flag] is not None):
            raise TrainingError(not_for(foreign[0], data))
        args = parser.parse_args(argv)
        check_flags(args)
        return args
    previous = recorded_arguments(first.out / "run")
    if previous is None:
        raise ResumeError(no_run(first.out))
    if first.overwrite:
        raise ResumeError(f"--resume continues the run in {first.out}, --overwrite starts a new one: choose one of them")
    unknown = previous.keys() - vars(first).keys()
    if unknown:
        raise ResumeError(
            f"the run in {first.out} was started by another version; unknown arguments: {', '.join(sorted(unknown))}"
        )
    parser.set_defaults(**previous)
    args = parser.parse_args(argv)
    # A run of an earlier version did not record newer flags; they had their defaults.
    started = {**{name: parser.get_default(name) for name in recorded(args)}, **previous}
    lengthen(args, started)
    for name, value in started.items():
        if (name not in PLACES or name == "preset") and getattr(args, name) != value:
            flag = "--" + name.replace("_", "-")
            raise ResumeError(f"{flag} is {getattr(args, name)}, but the run in {args.out} was started with {value}")
    return args


def names_data(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> bool:
    """Return whether the command line itself has --data."""
    return parser.parse_args(argv, argparse.Namespace(data=None)).data is not None


def not_for(flag: str, data: str) -> str:
    """Say that a flag is for other kinds of data."""
    name, own = f"--{flag.replace('_', '-')}", training_for(data).kind
    kinds = [training.kind.many for training in TRAINING.values() if flag in training.flags]
    return f"{name} is for {' and '.join(kinds)}, but --data {shown(data)} has {own.many}: leave {name} out"


def no_run(out: Path) -> str:
    """Say that there is no run to continue in a directory, and what to do instead."""
    instead = (
        f"To start from its weights, use --init-from {out} with another --out."
        if (out / CONFIG).exists()
        else "To start a new run there, leave out --resume."
    )
    return f"there is no run to continue in {out} (no run/{STATE}). {instead}"


def recorded(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that determine the result. Values set by a preset are included, the preset's name is not.

    Nor are the flags of other kinds of data.
    """
    left_out = PLACES | flags_of_others(args.data)
    return {name: value for name, value in vars(args).items() if name not in left_out}


def resumable(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `--resume` needs: the arguments that determine the result, RECORDS, and where the data are."""
    records = {name: getattr(args, name) for name in RECORDS}
    pack = args.pack and storable(str(expanded(args.pack).resolve()))
    return {**recorded(args), **records, "data_dir": str(args.data_dir.resolve()), "pack": pack}
