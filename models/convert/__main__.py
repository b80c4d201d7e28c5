"""python -m models.convert PATH --out DIR: write the checkpoint of a model that pythae has saved."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models.checkpoint import CONFIG, WEIGHTS, read, save
from models.convert.pythae import ConvertError, read_pythae
from models.program import add_version_flag, command, program
from models.readers.path_names import shown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status: 0 for success, 1 for an error, 130 if the user stopped it."""
    args = build_parser().parse_args(argv)
    try:
        _convert(args.path, args.out)
    except (ConvertError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _convert(path: Path, out: Path) -> None:
    """Write a checkpoint and say what it is. Raises ConvertError, OSError."""
    if any((out / name).exists() for name in (CONFIG, WEIGHTS)):
        raise ConvertError(f"{shown(out)}: has a checkpoint already; choose another --out, or remove it")
    found = read_pythae(path)
    save(out, found.vae, data={"converted_from": found.origin})
    model, digest = found.vae.config, read(out).digest
    said = " ".join([model.likelihood, *(f"({key} {value:g})" for key, value in model.likelihood_options.items())])
    print(f"{shown(out)}: {found.origin['name']} of pythae, {model.arch} with hidden {model.arch_options['hidden']}, ", end="")
    print(f"D = {model.latent_dim}, shape {model.shape}; likelihood {said}, by its reconstruction_loss; digest {digest[:12]}")
    print("Not known, and so the defaults: how pictures of another size become this one (padded, bilinear)")
    print(f"Measure it: {command('models.evaluate')} {shown(out)} --data DATA")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the convert command."""
    name = program("models.convert")
    parser = argparse.ArgumentParser(
        name,
        usage=f"{name} PATH --out DIR",
        description="Write the checkpoint of a model with the default nets of pythae.",
    )
    add_version_flag(parser)
    parser.add_argument("path", type=Path, metavar="PATH", help="directory with model_config.json and model.pt")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the new checkpoint")
    return parser


if __name__ == "__main__":
    sys.exit(main())
