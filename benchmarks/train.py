"""`python -m benchmarks.train`: compare an epoch of our trainer with three others, with equal net, data and batch size.

The others are a minimal loop, the way of the PyTorch example (DataLoader, ToTensor), and pythae in its own environment. One
process runs at a time; a round visits all, and ratios are taken within a round. Only the steps of an epoch are measured, not
validation, samples and checkpoints, which not all of them have. Knows nothing of how the others work.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import environments, report
from benchmarks.environments import InstallError
from benchmarks.workload import ROOT
from models.data import load_data
from models.readers.download import DataError
from models.train.flag_types import whole
from models.train.flags import add_data_flags

BATCH_SIZE, LATENT_DIM = 128, 20
COLUMNS = ("net", "trainer", "images/s", "spread", "epoch time / ours", "our epoch time / its")
# The net of the PyTorch example and that of the shipped `mnist`: options of models.nets, and flags of models.train.
NETS = {
    "mlp": ({"hidden": [400]}, ["--hidden", "400"]),
    "conv": ({"hidden": 192, "channels": [32, 64]}, ["--hidden", "192", "--conv-channels", "32,64"]),
}


@dataclass
class Standing:
    """A trainer, with its images per second for each net and round, or the reason why it failed."""

    title: str
    script: str = ""  # in benchmarks/peers; empty for ours
    environment: str = ""  # name of its environment; empty: ours
    precision: str = "float32"  # of our trainer
    python: Path = Path(sys.executable)
    rates: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""


STANDINGS = (
    Standing("models.train"),
    Standing("models.train, bf16", precision="bf16"),
    Standing("minimal loop", "train_minimal.py"),
    Standing("PyTorch example's way", "train_example.py"),
    Standing("pythae", "train_pythae.py", "pythae"),
)


class RunError(Exception):
    """The trainer failed."""


def run(command: Sequence[str], threads: int) -> str:
    """Run a trainer and return its output. Raises RunError."""
    variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, cwd=ROOT)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RunError(lines[-1] if lines else f"exit status {done.returncode}")
    return done.stdout


def ours(precision: str, net: str, pictures: Path, threads: int) -> float:
    """Return the images per second of our second epoch, from the run's log."""
    with tempfile.TemporaryDirectory() as out:
        flags = ["--arch", net, *NETS[net][1], "--latent-dim", str(LATENT_DIM), "--batch-size", str(BATCH_SIZE)]
        flags += ["--binarize", "none", "--precision", precision, "--device", "cpu", "--epochs", "2", "--no-snapshots"]
        run([sys.executable, "-m", "models.train", "--data", f"npz:{pictures}", *flags, "--out", out], threads)
        lines = (Path(out) / "run" / "metrics.jsonl").read_text().splitlines()
    return float(json.loads(lines[1])["images_per_second"])


def theirs(standing: Standing, net: str, pictures: Path, threads: int) -> float:
    """Return the images per second of the second epoch, from the last line of the script's output."""
    task = {
        "arch": net,
        "options": NETS[net][0],
        "latent_dim": LATENT_DIM,
        "batch_size": BATCH_SIZE,
        "pictures": str(pictures),
    }
    script = str(ROOT / "benchmarks" / "peers" / standing.script)
    return float(json.loads(run([str(standing.python), script, json.dumps(task)], threads).splitlines()[-1]))


def measure(standings: Sequence[Standing], nets: Sequence[str], rounds: int, pictures: Path, threads: int) -> None:
    """Measure the rates, round by round. Raises RunError if our own trainer fails."""
    for standing in standings:
        if standing.environment:
            report.progress(f"{standing.title}: environment")
            try:
                standing.python = environments.interpreter(standing.environment)
            except InstallError as error:
                standing.failure = str(error)
    for _ in range(rounds):
        for net in nets:
            for standing in standings:
                if standing.failure:
                    continue
                try:
                    rate = (
                        theirs(standing, net, pictures, threads)
                        if standing.script
                        else ours(standing.precision, net, pictures, threads)
                    )
                except RunError as error:
                    if not standing.script:
                        raise
                    standing.failure = str(error)
                    continue
                standing.rates.setdefault(net, []).append(rate)
                report.progress(f"{net}, {standing.title}: {rate:.0f} images/s")


def rows(standings: Sequence[Standing], nets: Sequence[str]) -> Iterator[list[str]]:
    """Yield a line for each net and trainer; ratios are medians of the rounds' ratios."""
    for net in nets:
        own = standings[0].rates[net]
        for standing in standings:
            rates = standing.rates.get(net, [])
            if rates:
                times = [mine / rate for mine, rate in zip(own, rates, strict=False)]  # epoch time / ours
                yield [
                    net,
                    standing.title,
                    report.number(report.median(rates)),
                    report.percent(report.spread(rates)),
                    report.number(report.median(times)),
                    report.number(report.median(1 / time for time in times)),
                ]


def main() -> int:
    """Measure and print. Exit status: 1 if our own trainer fails or the data cannot be loaded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description="Compare our trainer with others.")
    parser.add_argument("--rounds", type=whole(1, 100), default=5, help="visits to each trainer (default: %(default)s)")
    parser.add_argument(
        "--pictures", type=whole(1, 60_000), default=20_000, help="MNIST pictures per epoch (default: %(default)s)"
    )
    parser.add_argument("--threads", type=whole(1, 256), default=1, help="threads of torch (default: %(default)s)")
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS), help="nets to train (default: all)")
    add_data_flags(parser)
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "pictures.npz"
            images = load_data("mnist", arguments.data_dir, mirror=arguments.mirror).train.x[: arguments.pictures, 0]
            np.savez(path, images=images.numpy())
            measure(STANDINGS, arguments.nets, arguments.rounds, path, arguments.threads)
    except (DataError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.heading("benchmarks.train"))
    print(report.table(COLUMNS, rows(STANDINGS, arguments.nets)))
    for standing in STANDINGS:
        if standing.failure:
            print(f"\nNot measured in all rounds: {standing.title}. {standing.failure}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
