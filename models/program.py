"""The name and the version of a command, and how it passes on errors. Knows nothing of what the commands do."""

import argparse
import shlex
import shutil
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
    "vae-export": "models.export",
    "vae-convert": "models.convert",
}


def program(module: str) -> str:
    """Return how the command was started: the name of its console script, or `python -m module`."""
    name = Path(sys.argv[0]).stem
    return name if SCRIPTS.get(name) == module else f"python -m {module}"


def interpreter() -> str:
    """Return how a shell starts this Python: .venv/bin/python below the current directory, python, or the whole path."""
    path = Path(sys.executable)
    if path.is_relative_to(Path.cwd()):
        return shlex.quote(str(path.relative_to(Path.cwd())))
    return "python" if shutil.which("python") == sys.executable else shlex.quote(sys.executable)


def command(module: str) -> str:
    """Return a command for the user to type: a console script if this program is one, or else Python with `-m module`."""
    script = next((script for script, of in SCRIPTS.items() if of == module), None)
    return script if script and Path(sys.argv[0]).stem in SCRIPTS else f"{interpreter()} -m {module}"


def version_line() -> str:
    """Return the name and version of the installed package."""
    try:
        return f"{PACKAGE} {version(PACKAGE)}"
    except PackageNotFoundError:
        return f"{PACKAGE} (not installed: this is a source tree)"


def add_version_flag(parser: argparse.ArgumentParser) -> None:
    """Add --version, which prints the version and exits."""
    parser.add_argument("--version", action="version", version=version_line(), help="print the version and exit")


def first_line(error: BaseException) -> str:
    """Return the type of another library's error and the first line of its message, of at most 200 characters."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {line if len(line) <= 200 else f'{line[:200]}...'}"
