"""The command line of `python -m models.train`: flags, defaults, and the recorded arguments of resumed runs."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from models.checkpoint import CONFIG
from models.distributions import LIKELIHOODS
from models.ink import Invert
from models.nets import ARCHITECTURES
from models.nets.layers import ACTIVATIONS
from models.preprocess import Filter, Fit
from models.priors import PRIORS
from models.program import add_version_flag, program
from models.readers.path_names import storable
from models.train import flag_types
from models.train.continuing import lengthen
from models.train.initial_weights import flags_of
from models.train.losses import OBJECTIVES
from models.train.presets import PRESETS, listing
from models.train.resume import STATE, ResumeError, recorded_arguments
from models.transparency import Background

# Flags that do not change the result of a run. They may differ when it is resumed.
PLACES = {
    "out", "resume", "overwrite", "data_dir", "mirror", "device", "save_every", "compile", "tensorboard", "no_snapshots",
    "command", "preset", "fit_prior", "choices", "lengthened", "now_longer", "init_digest",
}  # fmt: skip
# What a run records beside its arguments, so that it continues and describes itself as it started.
RECORDS = ("preset", "fit_prior", "choices", "lengthened", "init_digest")
SCHEDULES = ("cosine", "constant", "staircase")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments. With --resume, take those that the run recorded; raise ResumeError if others contradict them."""
    parser = build_parser()
    parser.set_defaults(
        command=storable(shlex.join(["python", "-m", "models.train", *(sys.argv[1:] if argv is None else argv)]))
    )
    parser.set_defaults(choices=None, lengthened=None, now_longer=False, init_digest=None)
    first = parser.parse_args(argv)
    if first.steps and first.epochs:
        parser.error("--steps and --epochs both set the length of the run: choose one of them")
    if not first.resume:
        if first.init_from:
            parser.set_defaults(**flags_of(first))
        parser.set_defaults(**(PRESETS[first.preset].flags if first.preset else {}))
        if first.epochs:  # A length in steps, as some presets have it, would win over --epochs.
            parser.set_defaults(steps=None)
        return parser.parse_args(argv)
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


def no_run(out: Path) -> str:
    """Say that there is no run to continue in a directory, and what to do instead."""
    instead = (
        f"To start from its weights, use --init-from {out} with another --out."
        if (out / CONFIG).exists()
        else "To start a new run there, leave out --resume."
    )
    return f"there is no run to continue in {out} (no run/{STATE}). {instead}"


def recorded(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that determine the result. Values set by a preset are included, the preset's name is not."""
    return {name: value for name, value in vars(args).items() if name not in PLACES}


def resumable(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `--resume` needs: the arguments that determine the result, RECORDS, and the directory of the data."""
    records = {name: getattr(args, name) for name in RECORDS}
    return {**recorded(args), **records, "data_dir": str(args.data_dir.resolve())}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the train command."""
    parser = argparse.ArgumentParser(program("models.train"), description="Train a VAE on pictures and write a checkpoint.")
    add_version_flag(parser)

    def add(flag: str, *, help: str, **options: Any) -> None:
        if options.get("default") is not None and options["default"] is not False and "default" not in help:
            help += " (default: %(default)s)"
        parser.add_argument(flag, help=help, **options)

    add("--preset", action=_Preset, help="start from a published VAE; other flags override it. `list` prints all presets")
    add("--data", type=storable, default="mnist", help="mnist, fashion-mnist, lpc-sprites, folder:PATH or npz:PATH")
    add_data_flags(parser)
    add(
        "--size",
        type=flag_types.size,
        help="height x width, e.g. 64x64, or 64 for a square (default: the size of most pictures)",
    )
    add(
        "--channels",
        type=flag_types.at_least(1),
        choices=(1, 3),
        help="colours: 1 for grey, 3 for RGB (default: 1 if all pictures are grey)",
    )
    add(
        "--fit",
        choices=get_args(Fit),
        help="how to change the aspect ratio of pictures (default: crop for folders, otherwise pad)",
    )
    add("--filter", choices=get_args(Filter), default="bilinear", help="resampling filter")
    add(
        "--range",
        type=flag_types.range_of,
        metavar="LO,HI",
        help="values that become black and white, such as 0,4095, or --range=-1000,400 if the first is negative (default: the "
        "smallest and the largest value of all pictures; outliers are left out)",
    )
    add("--background", choices=get_args(Background), default="auto", help="what transparent parts are put on")
    add("--invert", choices=get_args(Invert), default="no", help="invert all pictures, or those that contradict the others")
    add(
        "--max-corrupt",
        type=flag_types.share,
        default=0.01,
        help="largest share of a folder's files that may be unreadable (one always may)",
    )
    add("--validation", type=flag_types.share, default=0.05, help="share of the training pictures held out for validation")

    add("--arch", choices=sorted(ARCHITECTURES), default="conv", help="architecture of encoder and decoder")
    add(
        "--latent-dim",
        type=flag_types.positive(int),
        help="number of latent dimensions (default: 20, or 64 for pictures of your own)",
    )
    add(
        "--hidden",
        type=flag_types.hidden,
        help="widths of the hidden layers: 500,500 (mlp, gated), or one number, 0 for none (conv, residual)",
    )
    add("--conv-channels", type=flag_types.widths, help="channels of each convolutional level, e.g. 32,64 (conv, residual)")
    add("--blocks", type=flag_types.positive(int, zero=True), default=1, help="residual blocks per level (residual)")
    add(
        "--activation",
        choices=sorted(ACTIVATIONS),
        help="activation function (default: silu for conv and residual, relu for mlp)",
    )
    add("--dropout", type=flag_types.share, default=0.0, help="probability that a hidden unit is dropped (mlp)")
    add(
        "--likelihood",
        choices=sorted(LIKELIHOODS),
        help="distribution of pixels, p(x given z) (default: bernoulli for pictures that are nearly binary, else gaussian)",
    )
    add(
        "--sigma",
        type=flag_types.sigma,
        default="optimal",
        help="sigma of a gaussian likelihood: a number, learned, or optimal",
    )
    add(
        "--binarize",
        choices=("dynamic", "none"),
        help="dynamic: sample greys as 0 or 1 at each step (default for bernoulli on greys); none: keep them",
    )

    add("--objective", choices=list(OBJECTIVES), default="elbo", help="what training optimises")
    add(
        "--beta",
        type=flag_types.positive(float, zero=True),
        default=1.0,
        help="weight of the KL; for beta-tc, of the total correlation",
    )
    add("--warmup", type=flag_types.share, default=0.0, help="share of the run during which the KL's weight rises from 0")
    add("--samples", type=flag_types.at_least(1), default=1, help="posterior samples per picture and step; the K of iwae")
    add(
        "--free-bits", type=flag_types.positive(float, zero=True), default=0.1,
        help="KL below this many nats per dimension is not penalised (free-bits)",
    )  # fmt: skip
    add(
        "--stratified", type=flag_types.yes_no, default=False, metavar="yes|no",
        help="use stratified instead of weighted minibatch sampling (beta-tc; default: no)",
    )  # fmt: skip
    add(
        "--prior",
        choices=sorted(PRIORS),
        default="standard",
        help="prior of the latents, p(z): standard is N(0, I), vamp a VampPrior",
    )
    add("--pseudo-inputs", type=flag_types.at_least(1), default=500, help="number of pseudo-inputs of the VampPrior")

    add(
        "--epochs", type=flag_types.positive(int), metavar="N",
        help="length of the run in epochs (default: 50, and more for small sets); with --resume, a larger number continues it",
    )  # fmt: skip
    add("--steps", type=flag_types.positive(int), metavar="N", help="length of the run in steps, instead of --epochs")
    add(
        "--validate-every", type=flag_types.positive(int), metavar="N",
        help="epochs between two measurements of the validation split (default: 1, and more where small sets get many epochs)",
    )  # fmt: skip
    add(
        "--batch-size",
        type=flag_types.positive(int),
        metavar="N",
        help="pictures per step (default: 128, or 32 for small sets)",
    )
    add("--lr", type=flag_types.positive(float), default=1e-3, help="peak learning rate of Adam")
    add(
        "--schedule",
        choices=SCHEDULES,
        default="cosine",
        help="learning rate: cosine to 0, constant, or the staircase of Burda et al. 2016",
    )
    add("--adam-eps", type=flag_types.positive(float), default=1e-8, help="epsilon of Adam")
    add(
        "--l2",
        type=flag_types.positive(float, zero=True),
        default=0.0,
        help="add l2/2 times the squared weights (no biases) to the loss",
    )
    add("--clip", type=flag_types.positive(float), default=100.0, help="scale larger gradients down to this norm")
    add(
        "--ema",
        type=flag_types.share,
        default=0.0,
        help="decay of averaged weights, which are then validated and saved; 0: off",
    )
    add(
        "--patience",
        type=flag_types.positive(int, zero=True),
        default=0,
        help="stop after so many epochs without a better validation ELBO; 0: never",
    )
    add("--precision", choices=("auto", "float32", "bf16"), default="auto", help="auto is bf16 on a GPU, float32 on the CPU")
    add("--seed", type=flag_types.seed, default=0, help="seed of the initial weights, the order of pictures and the noise")

    add(
        "--out",
        type=flag_types.out_directory,
        required=True,
        help="directory of the checkpoint; run/ in it has log, state and samples",
    )
    add(
        "--resume",
        action="store_true",
        help="continue the run in --out; on the CPU, the result is bit-identical to that of an uninterrupted run",
    )
    add("--init-from", metavar="CHECKPOINT", help="start from the weights of this checkpoint directory, with a new schedule")
    add(
        "--fit-prior", action=argparse.BooleanOptionalAction, default=True,
        help="fit a Gaussian mixture to the latents at the end, from which /sample draws; on by default",
    )  # fmt: skip
    add("--overwrite", action="store_true", help="replace an existing checkpoint by a new run")
    add("--save-every", type=flag_types.positive(float), default=60.0, help="seconds between saved states within an epoch")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1; mps has no float64, which is needed")
    add("--compile", action="store_true", help="use torch.compile: slow to start, then faster on a GPU; rounds differently")
    add("--tensorboard", action="store_true", help="also write run/tensorboard (needs the extra `tensorboard`)")
    add("--no-snapshots", action="store_true", help="do not keep the weights of up to 24 log-spaced steps in run/snapshots")
    return parser


class _Preset(argparse.Action):
    """The argparse action of --preset: check the name; `list` prints all presets and exits."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        if values == "list":
            sys.stdout.write(listing())
            parser.exit()
        if values not in PRESETS:
            parser.error(f"unknown preset {values!r}; known: {', '.join(PRESETS)}; `--preset list` describes them")
        setattr(namespace, self.dest, values)


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add --data-dir and --mirror, which training and evaluation share."""
    parser.add_argument(
        "--data-dir", type=Path, default=default_data_dir(), help="directory of data sets (default: $VAE_DATA_DIR, else data)"
    )
    parser.add_argument("--mirror", help="download data sets from this URL instead of the official mirrors")


def default_data_dir() -> Path:
    """Return the directory of data sets if no flag names one."""
    return Path(os.environ.get("VAE_DATA_DIR", "data"))
