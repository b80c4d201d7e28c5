"""How models of drawings are trained. Knows nothing of the training loop."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from models.kinds import KINDS
from models.kinds.kind import Kind
from models.kinds.strokes import MOST_POINTS
from models.step_likelihoods import PENS, PER_COMPONENT
from models.train.flag_types import share, whole
from models.train.kinds.sequence import AGAINST_COLLAPSE, SequenceTraining

MOST_COMPONENTS = 1000


class StrokesTraining(SequenceTraining):
    """Training on drawings. It adds the flags that texts have, too."""

    kind: ClassVar[Kind] = KINDS["strokes"]
    defaults: ClassVar[Mapping[str, Any]] = {
        **AGAINST_COLLAPSE, "arch": "lstm", "likelihood": "mixture", "latent_dim": 32, "batch_size": 64, "epochs": 20,
        "lr": 2e-3, "clip": 1.0,
    }  # fmt: skip
    flags: ClassVar[frozenset[str]] = frozenset(("max_length", "word_dropout", "mixtures"))

    # fmt: off
    def add_flags(self, add: Callable[..., None]) -> None:
        add("--max-length", type=whole(1, MOST_POINTS), metavar="N",
            help="steps of the longest sequence: longer drawings are simplified, longer texts left out (default: that of the "
            "data, at most 250 points or 512 tokens)")
        add("--word-dropout", type=share, default=0.0, metavar="SHARE",
            help="share of the decoder's inputs that training hides, so that it reads the latent (lstm; default: "
            "0.2 for drawings and texts)")
        add("--mixtures", type=whole(1, MOST_COMPONENTS), default=20, metavar="N",
            help="Gaussians in the distribution of the next point")
    # fmt: on

    def net_options(self, args: argparse.Namespace, rows: Tensor, spec: Any) -> dict[str, Any]:
        return {"outputs": PENS + PER_COMPONENT * args.mixtures, **super().net_options(args, rows, spec)}
