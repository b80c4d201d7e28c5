"""The command line of `python -m models.train`: flags, defaults, and the recorded arguments of resumed runs."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from models.distributions import LIKELIHOODS
from models.ink import Invert
from models.nets import ARCHITECTURES
from models.nets.layers import ACTIVATIONS
from models.preprocess import Filter, Fit, checked_range
from models.priors import PRIORS
from models.readers.path_names import storable
from models.train.continuing import lengthen
from models.train.initial_weights import flags_of
from models.train.losses import OBJECTIVES
from models.train.presets import PRESETS, listing
from models.train.resume import ResumeError, recorded_arguments
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
    previous = recorded_arguments(first.out / "run") if first.resume else None
    if previous is None:
        if first.init_from:
            parser.set_defaults(**flags_of(first))
        parser.set_defaults(**(PRESETS[first.preset].flags if first.preset else {}))
        return parser.parse_args(argv)
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


def recorded(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that determine the result. Values set by a preset are included, the preset's name is not."""
    return {name: value for name, value in vars(args).items() if name not in PLACES}


def resumable(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `--resume` needs: the arguments that determine the result, RECORDS, and the directory of the data."""
    records = {name: getattr(args, name) for name in RECORDS}
    return {**recorded(args), **records, "data_dir": str(args.data_dir.resolve())}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the train command."""
    parser = argparse.ArgumentParser("python -m models.train", description="Train a VAE on pictures and write a checkpoint.")

    def add(flag: str, *, help: str, **options: Any) -> None:
        if options.get("default") is not None and options["default"] is not False and "default" not in help:
            help += " (default: %(default)s)"
        parser.add_argument(flag, help=help, **options)

    add("--preset", action=_Preset, help="start from a published VAE; other flags override it. `list` prints all presets")
    add("--data", type=storable, default="mnist", help="mnist, fashion-mnist, lpc-sprites, folder:PATH or npz:PATH")
    add_data_flags(parser)
    add("--size", type=_size, help="height x width, e.g. 64x64, or 64 for a square (default: the size of most pictures)")
    add("--channels", type=int, choices=(1, 3), help="colours: 1 for grey, 3 for RGB (default: 1 if all pictures are grey)")
    add(
        "--fit",
        choices=get_args(Fit),
        help="how to change the aspect ratio of pictures (default: crop for folders, otherwise pad)",
    )
    add("--filter", choices=get_args(Filter), default="bilinear", help="resampling filter")
    add("--range", type=_range, metavar="LO,HI", help="values that become black and white (default: those of the whole set)")
    add("--background", choices=get_args(Background), default="auto", help="what transparent parts are put on")
    add("--invert", choices=get_args(Invert), default="no", help="invert all pictures, or those that contradict the others")
    add(
        "--max-corrupt",
        type=_share,
        default=0.01,
        help="largest share of a folder's files that may be unreadable (one always may)",
    )
    add("--validation", type=_share, default=0.05, help="share of the training pictures held out for validation")

    add("--arch", choices=sorted(ARCHITECTURES), default="conv", help="architecture of encoder and decoder")
    add("--latent-dim", type=_positive(int), help="number of latent dimensions (default: 20, or 64 for pictures of your own)")
    add(
        "--hidden",
        type=_widths,
        help="widths of the hidden layers: 500,500 (mlp, gated), or one number, 0 for none (conv, residual)",
    )
    add("--conv-channels", type=_widths, help="channels of each convolutional level, e.g. 32,64 (conv, residual)")
    add("--blocks", type=_positive(int, zero=True), default=1, help="residual blocks per level (residual)")
    add(
        "--activation",
        choices=sorted(ACTIVATIONS),
        help="activation function (default: silu for conv and residual, relu for mlp)",
    )
    add("--dropout", type=_share, default=0.0, help="probability that a hidden unit is dropped (mlp)")
    add(
        "--likelihood",
        choices=sorted(LIKELIHOODS),
        help="distribution of pixels, p(x given z) (default: bernoulli for pictures that are nearly binary, else gaussian)",
    )
    add("--sigma", type=_sigma, default="optimal", help="sigma of a gaussian likelihood: a number, learned, or optimal")
    add(
        "--binarize",
        choices=("dynamic", "none"),
        help="dynamic: sample greys as 0 or 1 at each step (default for bernoulli on greys); none: keep them",
    )

    add("--objective", choices=list(OBJECTIVES), default="elbo", help="what training optimises")
    add(
        "--beta", type=_positive(float, zero=True), default=1.0, help="weight of the KL; for beta-tc, of the total correlation"
    )
    add("--warmup", type=_share, default=0.0, help="share of the run during which the KL's weight rises from 0")
    add("--samples", type=at_least(1), default=1, help="posterior samples per picture and step; the K of iwae")
    add(
        "--free-bits", type=_positive(float, zero=True), default=0.1,
        help="KL below this many nats per dimension is not penalised (free-bits)",
    )  # fmt: skip
    add(
        "--stratified", type=_yes_no, default=False, metavar="yes|no",
        help="use stratified instead of weighted minibatch sampling (beta-tc; default: no)",
    )  # fmt: skip
    add(
        "--prior",
        choices=sorted(PRIORS),
        default="standard",
        help="prior of the latents, p(z): standard is N(0, I), vamp a VampPrior",
    )
    add("--pseudo-inputs", type=at_least(1), default=500, help="number of pseudo-inputs of the VampPrior")

    add(
        "--epochs", type=_positive(int), metavar="N",
        help="length of the run in epochs (default: 50, and more for small sets); with --resume, a larger number continues it",
    )  # fmt: skip
    add("--steps", type=_positive(int), metavar="N", help="length of the run in steps, instead of --epochs")
    add(
        "--validate-every", type=_positive(int), metavar="N",
        help="epochs between two measurements of the validation split (default: 1, and more where small sets get many epochs)",
    )  # fmt: skip
    add("--batch-size", type=_positive(int), metavar="N", help="pictures per step (default: 128, or 32 for small sets)")
    add("--lr", type=_positive(float), default=1e-3, help="peak learning rate of Adam")
    add(
        "--schedule",
        choices=SCHEDULES,
        default="cosine",
        help="learning rate: cosine to 0, constant, or the staircase of Burda et al. 2016",
    )
    add("--adam-eps", type=_positive(float), default=1e-8, help="epsilon of Adam")
    add(
        "--l2",
        type=_positive(float, zero=True),
        default=0.0,
        help="add l2/2 times the squared weights (no biases) to the loss",
    )
    add("--clip", type=_positive(float), default=100.0, help="scale larger gradients down to this norm")
    add("--ema", type=_share, default=0.0, help="decay of averaged weights, which are then validated and saved; 0: off")
    add(
        "--patience",
        type=_positive(int, zero=True),
        default=0,
        help="stop after so many epochs without a better validation ELBO; 0: never",
    )
    add("--precision", choices=("auto", "float32", "bf16"), default="auto", help="auto is bf16 on a GPU, float32 on the CPU")
    add("--seed", type=_seed, default=0, help="seed of the initial weights, the order of pictures and the noise")

    add("--out", type=Path, required=True, help="directory of the checkpoint; run/ in it has log, state and samples")
    add("--resume", action="store_true", help="continue the run in --out; the result is bit-identical to an uninterrupted run")
    add("--init-from", metavar="CHECKPOINT", help="start from the weights of this checkpoint directory, with a new schedule")
    add(
        "--fit-prior", action=argparse.BooleanOptionalAction, default=True,
        help="fit a Gaussian mixture to the latents at the end, from which /sample draws",
    )  # fmt: skip
    add("--overwrite", action="store_true", help="replace an existing checkpoint by a new run")
    add("--save-every", type=_positive(float), default=60.0, help="seconds between saved states within an epoch")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1")
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


def at_least(least: int) -> Callable[[str], int]:
    """Return a parser of integers that are at least `least`."""

    def parse_number(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {text}")
        return number

    return parse_number


def _positive(kind: type[Any], zero: bool = False) -> Any:
    def parse_number(text: str) -> Any:
        number = kind(text)
        if not (number > 0 or (zero and number == 0)) or number == float("inf"):
            raise argparse.ArgumentTypeError(f"must be {'at least 0' if zero else 'above 0'}, not {text}")
        return number

    return parse_number


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, not {text}")
    return share


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**53:
        raise argparse.ArgumentTypeError(f"must be from 0 to 2^53 - 1, not {text}")
    return seed


def _yes_no(text: str) -> bool:
    if text.lower() not in ("yes", "no", "true", "false"):
        raise argparse.ArgumentTypeError(f"must be yes or no, not {text}")
    return text.lower() in ("yes", "true")


def _widths(text: str) -> list[int]:
    return [int(width) for width in text.split(",") if width]


def _size(text: str) -> list[int]:
    sides = [int(side) for side in text.lower().split("x")]
    height, width = sides * 2 if len(sides) == 1 else sides
    if height < 1 or width < 1:
        raise argparse.ArgumentTypeError(f"must be height x width, such as 64x48, or one number, not {text}")
    return [height, width]


def _range(text: str) -> list[float]:
    try:
        return list(checked_range([float(word) for word in text.split(",")]))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _sigma(text: str) -> float | str:
    return text if text in ("learned", "optimal") else float(text)
