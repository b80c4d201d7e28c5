"""The name and the version of a command, for its --help and --version. Knows nothing of what the commands do."""

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = "vae-service"
# The console scripts in pyproject.toml, and the modules that are the same commands.
SCRIPTS = {
    "vae-service": "service",
    "vae-store": "service.store",
    "vae-train": "models.train",
    "vae-evaluate": "models.evaluate",
}


def program(module: str) -> str:
    """Return how the command was started: the name of its console script, or `python -m module`."""
    name = Path(sys.argv[0]).stem
    return name if SCRIPTS.get(name) == module else f"python -m {module}"


def version_line() -> str:
    """Return the name and version of the installed package."""
    try:
        return f"{PACKAGE} {version(PACKAGE)}"
    except PackageNotFoundError:
        return f"{PACKAGE} (not installed: this is a source tree)"


def add_version_flag(parser: argparse.ArgumentParser) -> None:
    """Add --version, which prints the version and exits."""
    parser.add_argument("--version", action="version", version=version_line(), help="print the version and exit")
