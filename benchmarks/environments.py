"""Create a virtual environment for each peer, `.bench/NAME`, with the exact versions in `peers/NAME.txt`.

It is created once, and again if that file changes. Knows nothing of what runs in it.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.workload import ROOT

ENVIRONMENTS = ROOT / ".bench"
PEERS = Path(__file__).with_name("peers")
INSTALL_SECONDS = 1800


class InstallError(Exception):
    """The environment could not be created."""


def interpreter(name: str) -> Path:
    """Return the Python of a peer's environment, which is created if it is missing. Raises InstallError.

    Uses the variable TORCH_INDEX_URL, as `make` does.
    """
    directory = ENVIRONMENTS / name
    python, stamp = directory / "bin" / "python", directory / "installed"
    wanted = hashlib.sha256(_requirements(name).read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    index = os.environ.get("TORCH_INDEX_URL")
    _run([sys.executable, "-m", "venv", "--clear", str(directory)])
    _run([*pip, *(["--index-url", index] if index else []), f"torch=={pinned(name, 'torch')}"])
    _run([*pip, "--requirement", str(_requirements(name))])
    stamp.write_text(wanted)
    return python


def pinned(name: str, package: str) -> str:
    """Return the version of a package in a peer's environment. Raises InstallError."""
    found = re.search(rf"^{re.escape(package)}==(\S+)$", _requirements(name).read_text(), re.MULTILINE)
    if found is None:
        raise InstallError(f"peers/{name}.txt does not name {package}")
    return found[1]


def _requirements(name: str) -> Path:
    return PEERS / f"{name}.txt"


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or error.stderr.splitlines()
        raise InstallError(f"the installation failed: {lines[-1] if lines else error}") from None
    except subprocess.TimeoutExpired:
        raise InstallError(f"the installation took more than {INSTALL_SECONDS} s") from None
