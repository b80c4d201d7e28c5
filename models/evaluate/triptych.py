"""python -m models.evaluate.triptych PATH ...: draw models with D = 2 side by side.

The picture shows the effect of each term of the ELBO; `models.evaluate.planes` draws it. Knows nothing of training.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from models.checkpoint import CheckpointError, read
from models.evaluate.__main__ import EvaluationError
from models.evaluate.loading import load_splits
from models.mosaic import write_png
from models.readers.download import DataError
from models.train import flag_types
from models.train.flags import add_data_flags


def write_triptych(args: argparse.Namespace) -> None:
    """Draw the models of --paths into --out. Raises EvaluationError, CheckpointError, DataError, OSError."""
    try:
        from models.evaluate import planes
    except ModuleNotFoundError as error:
        raise EvaluationError(f"the picture needs {error.name}: pip install 'vae-service[report]'") from None
    names = [path.resolve().name for path in args.paths]
    checkpoints = [
        (name if names.count(name) == 1 else str(path), read(path)) for name, path in zip(names, args.paths, strict=True)
    ]
    columns = [(name, checkpoint, load_splits(checkpoint, args).test) for name, checkpoint in checkpoints]
    try:
        drawn = io.BytesIO()
        planes.draw(columns).savefig(drawn, format="png", dpi=args.dpi)
    except planes.PlaneError as error:
        raise EvaluationError(str(error)) from None
    with Image.open(drawn) as image:  # A palette reduces the file to a third.
        write_png(args.out, image.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status: 0 for success, 1 for an error."""
    args = build_parser().parse_args(argv)
    try:
        write_triptych(args)
    except (CheckpointError, DataError, EvaluationError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(args.out)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser("python -m models.evaluate.triptych", description="Draw models with D = 2 side by side.")
    add = parser.add_argument
    add("paths", type=Path, nargs="+", metavar="PATH", help="checkpoint directories, from left to right")
    add("--out", type=Path, default=Path("triptych.png"), help="PNG file to write (default: %(default)s)")
    add("--dpi", type=flag_types.whole(20, 1200), default=100, help="dots per inch (default: %(default)s)")
    add("--data", help="mnist, fashion-mnist, lpc-sprites, folder:PATH or npz:PATH (default: the training data of each)")
    add_data_flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
