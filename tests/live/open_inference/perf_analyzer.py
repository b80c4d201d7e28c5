"""Triton's perf_analyzer in an environment of its own, `.bench/perf_analyzer`, which is made once.

It comes in the wheel of tritonclient. 2.51.0 is the newest one that runs with glibc 2.35; its Python part is not used. Knows
nothing of what is measured.
"""

import ctypes.util
import os
import subprocess
import sys

from tests.live.server import ROOT

# What it links to: the runtime of CUDA, also for measurements without a GPU.
PACKAGES = ("tritonclient==2.51.0", "nvidia-cuda-runtime-cu12==12.9.79")
# It links to this library, too, which is on no package index for Python. The distribution has it, in 10 kB.
LIBRARY, DEBIAN_PACKAGE = "b64", "libb64-0d"
ENVIRONMENT = ROOT / ".bench" / "perf_analyzer"
SECONDS = 120


def perf_analyzer(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run it with these arguments. It is installed first, if it is missing; a failure raises CalledProcessError."""
    libraries = _installed()
    variables = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    command = [str(ENVIRONMENT / "bin" / "perf_analyzer"), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False)


def _installed() -> list[str]:
    """Return the directories of the libraries that it needs."""
    stamp, wanted = ENVIRONMENT / "installed", " ".join(PACKAGES)
    if not stamp.exists() or stamp.read_text() != wanted:
        ENVIRONMENT.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]
        _run([*pip, "--target", str(ENVIRONMENT), *PACKAGES])
        if ctypes.util.find_library(LIBRARY) is None:
            _run(["apt-get", "download", DEBIAN_PACKAGE])
            for package in ENVIRONMENT.glob(f"{DEBIAN_PACKAGE}_*.deb"):
                _run(["dpkg-deb", "--extract", str(package), str(ENVIRONMENT)])
        stamp.write_text(wanted)
    return [str(path.parent) for name in ("libcudart.so.*", f"lib{LIBRARY}.so.*") for path in ENVIRONMENT.rglob(name)]


def _run(command: list[str]) -> None:
    subprocess.run(command, cwd=ENVIRONMENT, check=True, timeout=SECONDS)
