"""The flags of `python -m models.train`, in groups, with their bounds and defaults.

Knows nothing of runs that are resumed (see `models.train.arguments`).
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.data.sources import known
from models.distributions import LIKELIHOODS
from models.nets import ARCHITECTURES
from models.nets.layers import ACTIVATIONS, MAX_LAYERS, MAX_WIDTH
from models.priors import PRIORS
from models.program import add_version_flag, program
from models.readers.holding_out import HOLD_OUT
from models.readers.left_out import one_of
from models.readers.path_names import storable
from models.train.flag_types import (
    condition_key,
    file_name,
    hidden,
    out_directory,
    positive,
    seed,
    share,
    sigma,
    whole,
    widths,
    yes_no,
)
from models.train.kinds import TRAINING
from models.train.objectives import OBJECTIVES
from models.train.perceptual import FEATURE_WEIGHT, PIXEL_WEIGHT
from models.train.presets import PRESETS, listing

SCHEDULES = ("cosine", "constant", "staircase")
# Far longer than the longest published run, which has 3,280 epochs of 3,000 steps.
MOST_EPOCHS, MOST_STEPS = 1_000_000, 100_000_000
MOST_PICTURES, MOST_SAMPLES = 1_000_000, 10_000
MOST_THREADS = 1024
Add = Callable[..., None]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the train command."""
    name = program("models.train")
    parser = argparse.ArgumentParser(
        name,
        usage=f"{name} --out DIR [--data DATA] [more flags]",
        description=f"Train a VAE on your data and write a checkpoint. `{name} --data folder:PATH --out runs/mine` is enough: "
        "all other flags have defaults, and the plan at the start says what was chosen and why. "
        "Several processes, such as one for each GPU: `torchrun --standalone --nproc_per_node=N -m models.train ...`.",
    )
    add_version_flag(parser)
    _add_run(_group(parser, "run"))
    data = parser.add_argument_group("data")
    _add_data(_adder(data))
    add_data_flags(data, writes_pack=True)
    _add_model(_group(parser, "model"))
    _add_objective(_group(parser, "objective (what training optimises)"))
    _add_training(_group(parser, "training"))
    _add_output(_group(parser, "output"))
    _add_machine(_group(parser, "machine"))
    return parser


def _group(parser: argparse.ArgumentParser, title: str) -> Add:
    return _adder(parser.add_argument_group(title))


def _adder(group: argparse._ArgumentGroup) -> Add:
    def add(flag: str, *, help: str, **options: Any) -> None:
        if options.get("default") is not None and options["default"] is not False and "default" not in help:
            help += " (default: %(default)s)"
        group.add_argument(flag, help=help, **options)

    return add


# Formatted, each flag would take six lines.
# fmt: off
def _add_run(add: Add) -> None:
    add("--out", type=out_directory, required=True, metavar="DIR",
        help="directory of the checkpoint; its name becomes that of the model, and run/ in it has log, state and samples")
    add("--preset", action=_Preset, metavar="NAME",
        help="start from a published VAE; other flags override it. `list` prints all presets")
    add("--resume", action="store_true",
        help="continue the run in --out; on the CPU, the result is bit-identical to that of an uninterrupted run")
    add("--overwrite", action="store_true", help="replace an existing checkpoint by a new run")
    add("--init-from", metavar="CHECKPOINT",
        help="start from the weights of this checkpoint directory, with a new schedule")


def _add_data(add: Add) -> None:
    add("--data", type=storable, default="mnist", help=one_of(known()))
    for training in TRAINING.values():
        training.add_flags(add)
    add("--validation", type=share, metavar="SHARE",
        help="share of the training items held out to choose the best weights, unless the data have a validation split; one "
        "at least, also with 0 (default: 0.05, of tables with fewer than 2,000 rows 100 rows, but at most a fifth; blocks and "
        "groups as many as for the test, 0.1, of several groups)")
    add("--validation-split", choices=HOLD_OUT, default="random",
        help="what is held out for validation, and for the test where the data have no such split: random pictures; blocks of "
        "neighbours, for videos and other sequences; whole groups, from sub-folders or the array `groups`")


def _add_model(add: Add) -> None:
    add("--arch", choices=sorted(ARCHITECTURES), default="conv",
        help="architecture of encoder and decoder: for pictures conv (default), residual, mlp, gated, or autoencoder_kl, the "
        "AutoencoderKL of diffusers; for tables only table, for drawings and texts only lstm")
    add("--latent-dim", type=whole(1, MAX_WIDTH), metavar="N",
        help="number of latent dimensions (default for pictures: a short trial with 128 counts those that matter; a "
        "quarter more, or twice as many after fewer than 200 steps, rounded up to a multiple of 8; 20 for runs of fewer "
        "than 715 steps, and for autoencoder and kl-only; for tables half of the columns, 4 to 32; for drawings and texts 32)")
    add("--hidden", type=hidden, metavar="N,N,...",
        help="widths of the hidden layers: 500,500 (mlp, gated), or one number, 0 for none (conv, residual)")
    add("--conv-channels", type=widths, metavar="N,N,...",
        help="channels of each convolutional level, e.g. 32,64 (conv, residual, autoencoder_kl)")
    add("--blocks", type=whole(0, MAX_LAYERS), default=1, metavar="N", help="residual blocks per level (residual)")
    add("--activation", choices=sorted(ACTIVATIONS),
        help="activation function (default: relu for mlp, silu for conv, residual and table; gated and lstm have their own)")
    add("--dropout", type=share, default=0.0, metavar="SHARE", help="probability that a hidden unit is dropped (mlp)")
    add("--likelihood", choices=sorted(LIKELIHOODS),
        help="distribution of the data, p(x given z): of pixels bernoulli, continuous_bernoulli or gaussian (default: "
        "bernoulli for pictures that are nearly binary, else gaussian); for tables only columns, for drawings mixture, for "
        "texts categorical")
    add("--sigma", type=sigma, default="optimal", metavar="NUMBER|learned|optimal",
        help="standard deviation of the pixels with --likelihood gaussian: a number from 1/255 to 1000 (pixels are from 0 to "
        "1), learned, or optimal, the RMSE of each batch (default: %(default)s)")
    add("--binarize", choices=("dynamic", "none"),
        help="dynamic: draw greys as 0 or 1 at each step (default for bernoulli on greys); none: keep them")
    add("--prior", choices=sorted(PRIORS), default="standard",
        help="prior of the latents, p(z): standard is N(0, I), vamp a mixture of the posteriors of learnt pictures")
    add("--condition", type=condition_key, metavar="KEY",
        help="train a conditional model: encoder and decoder are told this about each item; label for the labels of the data, "
        "or the name of a factor (conv, residual, mlp, gated)")
    add("--pseudo-inputs", type=whole(1, MOST_PICTURES), default=500, metavar="N", help="number of learnt pictures (vamp)")


def _add_objective(add: Add) -> None:
    add("--objective", choices=list(OBJECTIVES), default="elbo",
        help="elbo, four variants (free-bits, beta-tc, iwae, iwae-dreg), perceptual, which compares features of a classifier "
        "that is trained on the labels, or only one of its terms (autoencoder, kl-only)")
    add("--beta", type=positive(zero=True), default=1.0, metavar="WEIGHT",
        help="weight of the KL; for beta-tc, of the total correlation")
    add("--warmup", type=share, default=0.0, metavar="SHARE",
        help="share of the run during which the weight of the KL rises from 0; 0.1 to 0.3 helps against a posterior collapse")
    add("--samples", type=whole(1, MOST_SAMPLES), default=1, metavar="K",
        help="posterior samples per picture and step; the K of iwae and iwae-dreg")
    add("--free-bits", type=positive(zero=True), default=0.1, metavar="NATS",
        help="KL below this many nats per dimension is not penalised (free-bits)")
    add("--stratified", type=yes_no, default=False, metavar="yes|no",
        help="use stratified instead of weighted minibatch sampling (beta-tc; default: no)")
    add("--feature-weight", type=positive(), default=FEATURE_WEIGHT, metavar="WEIGHT",
        help="weight of the difference of features (perceptual; default: %(default)s)")
    add("--pixel-weight", type=positive(zero=True), default=PIXEL_WEIGHT, metavar="WEIGHT",
        help="weight of the log likelihood of the pixels beside it, 0 for none (perceptual; default: %(default)s)")


def _add_training(add: Add) -> None:
    add("--epochs", type=whole(1, MOST_EPOCHS), metavar="N",
        help="length of the run in epochs (default: 50, and more for small sets); with --resume, a larger number continues it")
    add("--steps", type=whole(1, MOST_STEPS), metavar="N", help="length of the run in steps, instead of --epochs")
    add("--batch-size", type=whole(1, MOST_PICTURES), metavar="N",
        help="pictures per step (default: 128, or 32 for small sets)")
    add("--lr", type=positive(), default=1e-3, metavar="RATE", help="largest learning rate of Adam")
    add("--schedule", choices=SCHEDULES, default="cosine",
        help="learning rate: cosine to 0, constant, or the staircase of Burda et al. 2016")
    add("--adam-eps", type=positive(), default=1e-8, metavar="NUMBER", help="epsilon of Adam")
    add("--l2", type=positive(zero=True), default=0.0, metavar="WEIGHT",
        help="add l2/2 times the squared weights (no biases) to the loss")
    add("--clip", type=positive(), default=100.0, metavar="NORM", help="scale larger gradients down to this norm")
    add("--ema", type=share, default=0.0, metavar="DECAY",
        help="average the weights with this decay, such as 0.999; the averages are validated and saved; 0: off")
    add("--validate-every", type=whole(1, MOST_EPOCHS), metavar="N",
        help="epochs between two measurements of the validation split (default: 1, and more where small sets get many epochs)")
    add("--patience", type=whole(0, MOST_EPOCHS), default=0, metavar="N",
        help="stop after so many epochs without a better validation ELBO; 0: never")
    add("--seed", type=seed, default=0, metavar="N", help="seed of the initial weights, the order of pictures and the noise")


def _add_output(add: Add) -> None:
    add("--fit-prior", action=argparse.BooleanOptionalAction, default=True,
        help="fit a Gaussian mixture to the latents at the end, from which /sample draws; on by default")
    add("--save-every", type=positive(), default=60.0, metavar="SECONDS", help="time between two saved states within an epoch")
    add("--tensorboard", action="store_true", help="also write run/tensorboard (needs pip install 'vae-service[tensorboard]')")
    add("--no-snapshots", action="store_true",
        help="do not keep the weights of up to 24 log-spaced steps in run/snapshots")


def _add_machine(add: Add) -> None:
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1; mps has no float64, which is needed")
    add("--threads", type=whole(1, MOST_THREADS), metavar="N",
        help="threads on the CPU (default: one per core); 1 is several times as fast if other programs keep the cores busy")
    add("--precision", choices=("auto", "float32", "bf16"), default="auto", help="auto is bf16 on a GPU, float32 on the CPU")
    add("--compile", action="store_true",
        help="use torch.compile: slow to start, then faster on a GPU; rounds differently")
# fmt: on


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


def add_data_flags(parser: argparse._ActionsContainer, writes_pack: bool = False) -> None:
    """Add the flags of data that training and evaluation share. `writes_pack`: whether the file of --pack is made."""
    parser.add_argument(
        "--data-dir", type=Path, default=default_data_dir(), metavar="DIR",
        help="directory of data sets (default: $VAE_DATA_DIR, else data)",
    )  # fmt: skip
    parser.add_argument(
        "--pack", type=file_name, metavar="FILE",
        help="for data larger than the memory: prepare the pictures of folder:PATH or npz:PATH, write them into FILE unless "
        "it is there, and read them from it; the weights are the same"
        if writes_pack
        else "read the pictures from the file that models.train --pack has written",
    )  # fmt: skip
    parser.add_argument("--mirror", metavar="URL", help="download data sets from this URL instead of the official mirrors")


def default_data_dir() -> Path:
    """Return the directory of data sets if no flag names one."""
    return Path(os.environ.get("VAE_DATA_DIR", "data"))
