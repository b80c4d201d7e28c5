"""The command line of `python -m models.train`: its flags, their defaults, and how a resumed run takes over its own."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from models.distributions import LIKELIHOODS
from models.nets import ARCHITECTURES
from models.nets.layers import ACTIVATIONS
from models.preprocess import Filter, Fit
from models.priors import PRIORS
from models.train.losses import OBJECTIVES
from models.train.presets import PRESETS, listing
from models.train.resume import ResumeError, recorded_arguments

# flags that say where and how a run goes on, not what it computes: free to change when it is resumed
PLACES = {
    "out", "resume", "overwrite", "data_dir", "mirror", "device", "save_every", "compile", "tensorboard", "no_snapshots",
    "command", "preset",
}  # fmt: skip
SCHEDULES = ("cosine", "constant", "staircase")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Arguments of a run; with --resume those that the run recorded, and none that contradict them (ResumeError)."""
    parser = build_parser()
    parser.set_defaults(command=shlex.join(["python", "-m", "models.train", *(sys.argv[1:] if argv is None else argv)]))
    first = parser.parse_args(argv)
    previous = recorded_arguments(first.out / "run") if first.resume else None
    if previous is None:
        parser.set_defaults(**(PRESETS[first.preset].flags if first.preset else {}))
        return parser.parse_args(argv)
    if first.overwrite:
        raise ResumeError(f"--resume goes on with the run in {first.out}, --overwrite starts anew: choose one")
    unknown = previous.keys() - vars(first).keys()
    if unknown:
        raise ResumeError(
            f"the run in {first.out} was started by another version; unknown arguments: {', '.join(sorted(unknown))}"
        )
    parser.set_defaults(**previous)
    args = parser.parse_args(argv)
    # what a run does not have recorded is of a later version, and had the default
    started = {**{name: parser.get_default(name) for name in recorded(args)}, **previous}
    for name, value in started.items():
        if (name not in PLACES or name == "preset") and getattr(args, name) != value:
            flag = "--" + name.replace("_", "-")
            raise ResumeError(f"{flag} is {getattr(args, name)}, but the run in {args.out} was started with {value}")
    return args


def recorded(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments that determine the result, as JSON can hold them; what a preset set is among them, its name is not."""
    return {name: value for name, value in vars(args).items() if name not in PLACES}


def resumable(args: argparse.Namespace) -> dict[str, Any]:
    """What `--resume` needs beside `--out`: the arguments that determine the result, their preset, and where the data lie."""
    return {**recorded(args), "preset": args.preset, "data_dir": str(args.data_dir.resolve())}


def build_parser() -> argparse.ArgumentParser:
    """All flags of the train command."""
    parser = argparse.ArgumentParser("python -m models.train", description="Train a VAE on pictures and write a checkpoint.")
    add = parser.add_argument
    add(
        "--preset", action=_Preset, help="defaults of a known VAE; other flags win over it. list: print them and their sources"
    )
    add("--data", default="mnist", help="mnist, fashion-mnist, lpc-sprites, folder:PATH or npz:PATH (%(default)s)")
    add_data_flags(parser)
    add("--size", type=_size, help="height x width for a folder, e.g. 64x64 (default: the pictures' own)")
    add("--channels", type=int, choices=(1, 3), help="colour channels for a folder (default: the pictures' own)")
    add("--fit", choices=get_args(Fit), help="how other shapes are brought to the size (default: pad; folders: crop)")
    add("--filter", choices=get_args(Filter), default="bilinear", help="resampling filter (default: %(default)s)")
    add("--max-corrupt", type=_share, default=0.01, help="share of a folder's files that may be unreadable")
    add("--validation", type=_share, default=0.05, help="share of the training pictures held out for validation")

    add("--arch", choices=sorted(ARCHITECTURES), default="conv", help="architecture (default: %(default)s)")
    add("--latent-dim", type=_positive(int), default=20, help="size of the latent (default: %(default)s)")
    add("--hidden", type=_widths, help="hidden widths, e.g. 500,500 (mlp, gated) or one number (conv, residual)")
    add("--conv-channels", type=_widths, help="channels of each level, e.g. 32,64 (conv, residual)")
    add("--blocks", type=_positive(int, zero=True), default=1, help="residual blocks of each level (default: %(default)s)")
    add("--activation", choices=sorted(ACTIVATIONS), help="default: silu for conv and residual, relu for mlp")
    add("--dropout", type=_share, default=0.0, help="probability that a hidden unit is dropped (mlp)")
    add("--likelihood", choices=sorted(LIKELIHOODS), help="default: bernoulli for greys, gaussian for colours")
    add("--sigma", type=_sigma, default="optimal", help="gaussian: a number, learned, or optimal (default)")
    add("--binarize", choices=("dynamic", "none"), help="draw greys as 0/1 at every step (default with bernoulli on greys)")

    add("--objective", choices=list(OBJECTIVES), default="elbo", help="what is maximised (default: %(default)s)")
    add("--beta", type=_positive(float, zero=True), default=1.0, help="weight of the KL (beta-tc: of the total correlation)")
    add("--warmup", type=_share, default=0.0, help="share of the run in which the KL's weight rises from 0")
    add("--samples", type=at_least(1), default=1, help="posterior samples of each picture in a step: the K of iwae")
    add(
        "--free-bits", type=_positive(float, zero=True), default=0.1, help="nats that each dimension's KL has free (free-bits)"
    )
    add(
        "--stratified", type=_yes_no, default=False, metavar="yes|no", help="stratified instead of weighted sampling (beta-tc)"
    )
    add("--prior", choices=sorted(PRIORS), default="standard", help="vamp: a mixture of posteriors of learnt pictures")
    add("--pseudo-inputs", type=at_least(1), default=500, help="how many pictures those are (vamp; default: %(default)s)")

    add("--epochs", type=_positive(int), default=50, help="default: %(default)s")
    add("--steps", type=_positive(int), help="length of the run in steps, instead of --epochs")
    add("--batch-size", type=_positive(int), default=128, help="default: %(default)s")
    add("--lr", type=_positive(float), default=1e-3, help="peak learning rate of Adam (default: %(default)s)")
    add("--schedule", choices=SCHEDULES, default="cosine", help="cosine to 0, constant, or the staircase of Burda et al.")
    add("--adam-eps", type=_positive(float), default=1e-8, help="epsilon of Adam (default: %(default)s)")
    add("--l2", type=_positive(float, zero=True), default=0.0, help="l2/2 times the squared weights (no biases) in the loss")
    add("--clip", type=_positive(float), default=100.0, help="largest norm of the gradient (default: %(default)s)")
    add("--ema", type=_share, default=0.0, help="decay of averaged weights, which are then measured and saved; 0: none")
    add("--patience", type=_positive(int, zero=True), default=0, help="epochs without a better validation ELBO; 0: no limit")
    add("--precision", choices=("auto", "float32", "bf16"), default="auto", help="auto: bf16 on a GPU, float32 on the CPU")
    add("--seed", type=_seed, default=0, help="of weights, order and noise (default: %(default)s)")

    add("--out", type=Path, required=True, help="directory of the checkpoint; run/ in it holds log, state and samples")
    add("--resume", action="store_true", help="go on with the run in --out, bit for bit as if it had never stopped")
    add("--overwrite", action="store_true", help="start anew where a checkpoint stands already")
    add("--save-every", type=_positive(float), default=60.0, help="seconds between saved states within an epoch")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: %(default)s)")
    add("--compile", action="store_true", help="torch.compile: slow to start, then faster on a GPU; rounds differently")
    add("--tensorboard", action="store_true", help="also write run/tensorboard (needs the extra `tensorboard`)")
    add("--no-snapshots", action="store_true", help="keep no weights of steps 0, 1, 2, ... (at most 24, log-spaced)")
    return parser


class _Preset(argparse.Action):
    """A name of a preset; `list` prints them all and ends."""

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
    """Where data sets lie and come from: the same for training and evaluation."""
    default = Path(os.environ.get("VAE_DATA_DIR", "data"))
    parser.add_argument("--data-dir", type=Path, default=default, help="data sets (default: $VAE_DATA_DIR, else data)")
    parser.add_argument("--mirror", help="download from this address instead of the official mirrors")


def at_least(least: int) -> Callable[[str], int]:
    """A parser of whole numbers that are not below `least`."""

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
        raise argparse.ArgumentTypeError(f"a share is at least 0 and below 1, not {text}")
    return share


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**53:
        raise argparse.ArgumentTypeError(f"a seed is 0 to 2^53 - 1, not {text}")
    return seed


def _yes_no(text: str) -> bool:
    if text.lower() not in ("yes", "no", "true", "false"):
        raise argparse.ArgumentTypeError(f"yes or no, not {text}")
    return text.lower() in ("yes", "true")


def _widths(text: str) -> list[int]:
    return [int(width) for width in text.split(",") if width]


def _size(text: str) -> list[int]:
    height, width = (int(side) for side in text.split("x"))
    if height < 1 or width < 1:
        raise argparse.ArgumentTypeError(f"a size is height x width, such as 64x48, not {text}")
    return [height, width]


def _sigma(text: str) -> float | str:
    return text if text in ("learned", "optimal") else float(text)
