"""How models of texts are trained. Knows nothing of the training loop."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from models.checkpoint import Manifest
from models.kinds import KINDS
from models.kinds.kind import Kind
from models.readers.texts import UNITS
from models.readers.tunes import MOST_BARS
from models.train.flag_types import whole
from models.train.kinds.sequence import AGAINST_COLLAPSE, SequenceTraining


class TextTraining(SequenceTraining):
    """Training on texts, token by token. `StrokesTraining` adds the flags that both have."""

    kind: ClassVar[Kind] = KINDS["text"]
    defaults: ClassVar[Mapping[str, Any]] = {
        **AGAINST_COLLAPSE, "arch": "lstm", "likelihood": "categorical", "latent_dim": 32, "batch_size": 32, "lr": 2e-3,
        "clip": 1.0,
    }  # fmt: skip
    flags: ClassVar[frozenset[str]] = frozenset(("max_length", "word_dropout", "tokens", "bars"))

    # fmt: off
    def add_flags(self, add: Callable[..., None]) -> None:
        add("--tokens", choices=UNITS,
            help="what a step of a text is (default: characters, or bytes if there are more than 500 different characters)")
        add("--bars", type=whole(1, MOST_BARS), metavar="N",
            help="cut tunes in ABC notation (*.abc) into phrases of so many bars (default: whole tunes)")
    # fmt: on

    def net_options(self, args: argparse.Namespace, rows: Tensor, spec: Any) -> dict[str, Any]:
        return {"outputs": spec.count, **super().net_options(args, rows, spec)}

    def init_flags(self, manifest: Manifest) -> dict[str, Any]:
        spec = manifest.preprocessing
        return {**super().init_flags(manifest), "tokens": "bytes" if spec.tokens == "bytes" else "characters"}
