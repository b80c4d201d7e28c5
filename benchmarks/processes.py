"""`python -m benchmarks.processes`: training with two processes of torchrun, compared with one process of two threads.

Both take the same steps in batches of 512 on MNIST, in turn. It prints the pictures per second of the last epoch, and how far
the mean losses of the same steps are apart.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.process import environment
from benchmarks.workload import ROOT
from models.train.flag_types import whole
from models.train.flags import default_data_dir

COLUMNS = ("preset", "pictures/s, 1 process", "2 processes", "ratio", "loss, 1 process", "2 processes", "largest difference")
FLAGS = (
    "--data",
    "mnist",
    "--batch-size",
    "512",
    "--device",
    "cpu",
    "--validation",
    "0.01",
    "--no-fit-prior",
    "--no-snapshots",
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


class RunError(Exception):
    """A run failed; the message is the end of what it said."""


@dataclass(frozen=True)
class Outcome:
    """What a run wrote about its epochs."""

    rate: float  # pictures per second of the last epoch
    losses: tuple[float, ...]  # the mean over the steps of each epoch, in nats


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Exit status: 1 if a run fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes", description="Compare two processes with one.")
    parser.add_argument("--presets", nargs="+", default=["conv", "pytorch"], help="nets (default: conv pytorch)")
    parser.add_argument("--epochs", type=whole(1, 100), default=2, help="epochs of each run (default: %(default)s)")
    parser.add_argument("--rounds", type=whole(1, 100), default=3, help="runs of each kind, in turn (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help="where MNIST is ($VAE_DATA_DIR, else data)")
    options = parser.parse_args(argv)
    print(report.heading("benchmarks.processes"), flush=True)
    try:
        print(report.table(COLUMNS, [row(preset, options) for preset in options.presets]))
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def row(preset: str, options: argparse.Namespace) -> list[str]:
    """Return the line of a preset: medians of the rounds, and of the ratios within a round. Raises RunError."""
    ones, twos = list[Outcome](), list[Outcome]()
    for number in range(1, options.rounds + 1):
        ones.append(run(preset, options, (), 2))
        twos.append(run(preset, options, TORCHRUN, 1))
        report.progress(f"{preset}, round {number}: {ones[-1].rate:.0f} and {twos[-1].rate:.0f} pictures/s")
    pairs = list(zip(ones, twos, strict=True))
    apart = max(abs(a - b) for one, two in pairs for a, b in zip(one.losses, two.losses, strict=True))
    return [
        preset,
        report.number(report.median(one.rate for one in ones)),
        report.number(report.median(two.rate for two in twos)),
        report.number(report.median(two.rate / one.rate for one, two in pairs)),
        f"{ones[-1].losses[-1]:.4f}",
        f"{twos[-1].losses[-1]:.4f}",
        f"{apart:.1e}",
    ]


def run(preset: str, options: argparse.Namespace, start: Sequence[str], threads: int) -> Outcome:
    """Train once; `start` are the arguments of Python that start the processes. Raises RunError."""
    with tempfile.TemporaryDirectory() as name:
        flags = ["--preset", preset, *FLAGS, "--epochs", str(options.epochs), "--threads", str(threads)]
        flags += ["--data-dir", str(options.data_dir.resolve()), "--out", f"{name}/run"]
        command = [sys.executable, *start, "-m", "models.train", *flags]
        ended = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
        if ended.returncode:
            raise RunError(f"{' '.join(command)}\n{ended.stderr[-2000:]}")
        lines = [json.loads(line) for line in Path(name, "run", "run", "metrics.jsonl").read_text().splitlines()]
    return Outcome(lines[-1]["images_per_second"], tuple(line["train"]["loss"] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
