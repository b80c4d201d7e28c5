"""python -m models.export PATH --onnx: write encoder and decoder of a model as ONNX, which runs without this software.

`models.export.graphs` says which functions a model has, and docs/hub.md what their callers must do.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models.checkpoint import CheckpointError, read
from models.export.graphs import ITEMS, graphs
from models.export.onnx_models import TOLERANCE, ExportError, onnx_model
from models.files.atomic_file import make_directory, write_together
from models.program import add_version_flag, program
from models.readers.path_names import shown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status: 0 for success, 1 for an error, 130 if the user stopped it."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not args.onnx:
        parser.error("say which format: --onnx is the one that there is")
    try:
        _export(args.path, args.out or args.path / "onnx")
    except (CheckpointError, ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _export(path: Path, out: Path) -> None:
    """Write all ONNX models of a checkpoint, or none, and say what they are. Raises CheckpointError, ExportError, OSError."""
    checkpoint, name = read(path), path.resolve().name
    found = {graph.name: onnx_model(graph, checkpoint, name) for graph in graphs(checkpoint.vae)}
    make_directory(out)
    write_together({out / f"{graph}.onnx": content for graph, (content, _) in found.items()})
    for graph, (_, told) in found.items():
        print(f"{shown(out / graph)}.onnx: {told}")
    print(f"ONNX Runtime answers as torch does, within {TOLERANCE:g}, for {ITEMS} items that the model made up")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the export command."""
    name = program("models.export")
    parser = argparse.ArgumentParser(
        name,
        usage=f"{name} PATH --onnx [--out DIR]",
        description="Write a model in a format that other programs read.",
    )
    add_version_flag(parser)
    parser.add_argument("path", type=Path, metavar="PATH", help="directory of the checkpoint")
    parser.add_argument(
        "--onnx", action="store_true", help="ONNX: encoder.onnx and decoder.onnx (for drawings and texts, one step of it)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="directory for the files (default: PATH/onnx)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
