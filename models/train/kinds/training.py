"""What the training of one kind of data adds to the shared code of `models.train`, which asks for everything here.

Knows nothing of the training loop.
"""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.checkpoint import Manifest
from models.data.items import Splits
from models.kinds.kind import Kind, Shape
from models.readers.holding_out import SHARES
from models.readers.read_options import ReadOptions
from models.train.training_error import TrainingError
from models.vae import VAE

# Hidden widths of the dense nets, which fit rows of any kind.
DENSE: Mapping[str, list[int]] = {"mlp": [400], "gated": [300, 300]}


class Training(ABC):
    """How models of one kind are trained. There is one instance for each kind, in `TRAINING`."""

    kind: ClassVar[Kind]
    # Values of flags, instead of the general defaults. Presets, --init-from and the command line win over them.
    defaults: ClassVar[Mapping[str, Any]] = {}
    # Flags that are for this kind, by their names with underscores. They are refused, and not recorded, for other kinds.
    flags: ClassVar[frozenset[str]] = frozenset()
    # The keys of `choose` whose reasons the plan shows below the net.
    reasons: ClassVar[tuple[str, ...]] = ()
    bf16: ClassVar[bool] = True  # whether steps may run in bf16; otherwise they are float32, on a GPU too
    compiles: ClassVar[bool] = True  # whether --compile works

    @property
    def unit(self) -> str:
        """Return what steps count in a second, as in "rows/s" and the log's "rows_per_second"."""
        return self.kind.many

    def add_flags(self, add: Callable[..., None]) -> None:  # noqa: B027  Most kinds have none.
        """Add the flags of this kind to the parser: `add` is `add_argument`, with `help` as a keyword."""

    def worded(self, text: str) -> str:
        """Return a text of shared code about pictures, or about "images" in a second, with the words of this kind."""
        return self.kind.worded(text).replace("images_per_second", f"{self.unit}_per_second")

    def is_usual(self, args: argparse.Namespace) -> bool:
        """Return whether the objective is a default of this kind alone, of which nobody needs a warning."""
        usual = [flag for flag in ("objective", "free_bits", "beta") if flag in self.defaults]
        return "objective" in usual and all(getattr(args, flag) == self.defaults[flag] for flag in usual)

    @abstractmethod
    def options(self, args: argparse.Namespace) -> ReadOptions:
        """Return what the reader is told for the flags."""

    def options_again(self, manifest: Manifest) -> ReadOptions:
        """Return what the reader is told when the data of a checkpoint are read again, to measure it."""
        training = recorded_training(manifest)
        return ReadOptions(
            model=manifest.preprocessing,
            hold_out=training.get("validation_split", "random"),
            validation=training.get("validation"),
        )

    def check_data(self, args: argparse.Namespace, splits: Splits) -> None:  # noqa: B027
        """Raise DataError if the data contradict the flags."""

    def validation_share(self, count: int) -> tuple[float, str]:
        """Return which share of `count` items is held out at random by default, and why, if not as for other kinds."""
        return SHARES["random"], ""

    def preprocessing(self, args: argparse.Namespace, shape: Shape) -> Any:
        """Return the preprocessing of data that were rows already. Raises ValueError if this kind has none."""
        return self.kind.default_preprocessing(shape)

    def choose(self, args: argparse.Namespace, rows: Tensor, resumed: bool) -> dict[str, str]:
        """Fill in flags of net and likelihood that were left open; return a sentence with the reason for each.

        rows: those to train on, (N, ...).
        """
        return {}

    def net_options(self, args: argparse.Namespace, rows: Tensor, spec: Any) -> dict[str, Any]:
        """Return the options of the net, and fill in the flags that were left open. Raises TrainingError.

        `spec` is the preprocessing, None if the data were rows already. By default, these are the options of a dense net.
        """
        args.activation = args.activation or ("relu" if args.arch == "mlp" else "silu")
        options: dict[str, Any] = {"hidden": args.hidden or DENSE[args.arch]}
        if args.arch == "mlp":
            return {**options, "dropout": args.dropout, "activation": args.activation}
        if args.dropout:
            raise TrainingError(f"--arch {args.arch} takes no --dropout; only mlp does")
        return options

    def likelihood_options(self, args: argparse.Namespace, rows: Tensor, spec: Any) -> dict[str, Any]:
        """Return the options of the likelihood. `spec`: see `net_options`."""
        return {"sigma": args.sigma} if args.likelihood == "gaussian" else {}

    def place(self, vae: VAE) -> None:  # noqa: B027
        """Put the weights into the memory layout that is fastest for this kind."""

    def start(self, vae: VAE, args: argparse.Namespace, rows: Tensor) -> None:  # noqa: B027
        """Set first weights by the data, in a new run."""

    def prepare(self, args: argparse.Namespace, rows: Tensor, noise: torch.Generator) -> Tensor:
        """Return the x of a batch of rows, as the loss takes it."""
        return self.kind.to_x(self.kind.cut(rows))

    def prepares_together(self, args: argparse.Namespace) -> bool:
        """Return whether `prepare` needs all rows of a batch: it draws noise for them, or cuts them to the longest one."""
        return True

    def init_flags(self, manifest: Manifest) -> dict[str, Any]:
        """Return the flags of --init-from's checkpoint by which data of the user are prepared as its data were."""
        return {}

    def size(self, shape: Shape) -> str:
        """Return the size of an item in words, such as "28 x 28 pixels, grey"."""
        return f"{' x '.join(map(str, shape))} values each"

    def shape_flags(self, saved: Shape, wanted: Shape) -> list[str]:
        """Return the flags that bring the items of a run to the shape of a saved model, [] if there are none."""
        return []

    def against_collapse(self, likelihood: str) -> str:
        """Return what helps this kind against a posterior collapse, with a comma and a space behind it, or ""."""
        return ""

    def data_note(self, args: argparse.Namespace) -> str:
        """Return what training does to the data at each step, for the plan, or ""."""
        return ""


def recorded_training(manifest: Manifest) -> Mapping[str, Any]:
    """Return the arguments of the training as a checkpoint records them, {} if it does not."""
    training = manifest.data.get("training", {})
    return training if isinstance(training, dict) else {}
