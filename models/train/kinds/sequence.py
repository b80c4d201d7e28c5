"""How models of sequences are trained: what drawings and texts have in common. Knows nothing of the training loop."""

import argparse
from typing import Any, ClassVar

from torch import Tensor

from models.checkpoint import Manifest
from models.data.sequence_sources import SequenceOptions
from models.kinds.kind import Shape
from models.readers.read_options import ReadOptions
from models.train.kinds.training import Training, recorded_training
from models.train.training_error import TrainingError

# Units of the encoder, in each direction, and of the decoder.
HIDDEN = [128, 256]
# What keeps z in use. The weight of the KL rises during half of the run: autoregressive decoders learn to do without z if it
# costs something before it is of use (Bowman et al. 2016, arXiv:1511.06349).
AGAINST_COLLAPSE = {"warmup": 0.5, "objective": "free-bits", "free_bits": 0.5, "word_dropout": 0.2}


class SequenceTraining(Training):
    """Training of recurrent nets, in batches of rows that are about as long."""

    bf16: ClassVar[bool] = False  # half precision adds up over hundreds of steps
    compiles: ClassVar[bool] = False  # each length of a batch would be compiled anew

    def options(self, args: argparse.Namespace) -> ReadOptions:
        return SequenceOptions(
            max_length=args.max_length, units=args.tokens, bars=args.bars,
            hold_out=args.validation_split, validation=args.validation,
        )  # fmt: skip

    def options_again(self, manifest: Manifest) -> ReadOptions:
        training = recorded_training(manifest)
        return SequenceOptions(
            bars=training.get("bars"),
            model=manifest.preprocessing,
            hold_out=training.get("validation_split", "random"),
            validation=training.get("validation"),
        )

    def net_options(self, args: argparse.Namespace, rows: Tensor, spec: Any) -> dict[str, Any]:
        args.hidden = args.hidden or HIDDEN
        if len(args.hidden) != 2:
            raise TrainingError(
                f"--arch lstm takes two --hidden widths, encoder and decoder, such as 128,256, not {args.hidden}"
            )
        if args.dropout:
            raise TrainingError("--arch lstm takes no --dropout, but --word-dropout")
        encoder, decoder = args.hidden
        return {"encoder": encoder, "decoder": decoder, "word_dropout": args.word_dropout}

    def init_flags(self, manifest: Manifest) -> dict[str, Any]:
        return {"max_length": manifest.preprocessing.max_length}

    def size(self, shape: Shape) -> str:
        return f"up to {shape[0]} steps each"

    def shape_flags(self, saved: Shape, wanted: Shape) -> list[str]:
        return [f"--max-length {saved[0]}"] if saved[1:] == wanted[1:] else []

    def against_collapse(self, likelihood: str) -> str:
        return "a larger --word-dropout, "
