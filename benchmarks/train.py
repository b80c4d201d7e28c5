"""`python -m benchmarks.train`: one epoch of our trainer beside three others of the same net, data and batch size.

The others are a minimal hand-written loop, the PyTorch example's way (DataLoader, ToTensor), and pythae in an environment of
its own. One process runs at a time; a round visits all, and ratios are taken within a round. Counted are an
epoch's steps, without validation, samples and checkpoints, which not everybody writes. Knows nothing of how the others work.
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
from models.train.arguments import add_data_flags

BATCH_SIZE, LATENT_DIM = 128, 20
COLUMNS = ("net", "who", "images/s", "spread", "epoch time, of ours", "ours, of it")
# the PyTorch example's net, and that of the shipped `mnist`: options of models.nets, and flags of models.train
NETS = {
    "mlp": ({"hidden": [400]}, ["--hidden", "400"]),
    "conv": ({"hidden": 192, "channels": [32, 64]}, ["--hidden", "192", "--conv-channels", "32,64"]),
}


@dataclass
class Standing:
    """Someone who trains, with the images a second of each round and net, or the reason why not."""

    title: str
    script: str = ""  # in benchmarks/peers; ours has none
    environment: str = ""  # its own, or ours
    precision: str = "float32"  # of ours
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
    """A trainer that ended without a result."""


def run(command: Sequence[str], threads: int) -> str:
    """What a trainer prints. Raises RunError."""
    variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, cwd=ROOT)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RunError(lines[-1] if lines else f"exit status {done.returncode}")
    return done.stdout


def ours(precision: str, net: str, pictures: Path, threads: int) -> float:
    """Images a second in the second epoch, as the run's own log has it."""
    with tempfile.TemporaryDirectory() as out:
        flags = ["--arch", net, *NETS[net][1], "--latent-dim", str(LATENT_DIM), "--batch-size", str(BATCH_SIZE)]
        flags += ["--binarize", "none", "--precision", precision, "--device", "cpu", "--epochs", "2", "--no-snapshots"]
        run([sys.executable, "-m", "models.train", "--data", f"npz:{pictures}", *flags, "--out", out], threads)
        lines = (Path(out) / "run" / "metrics.jsonl").read_text().splitlines()
    return float(json.loads(lines[1])["images_per_second"])


def theirs(standing: Standing, net: str, pictures: Path, threads: int) -> float:
    """Images a second in the second epoch, as the script prints them in its last line."""
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
    """Fill in the rates, round by round. Raises RunError when it is ours that fails."""
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
    """A line for each net and trainer; ratios are medians of the rounds' ratios."""
    for net in nets:
        own = standings[0].rates[net]
        for standing in standings:
            rates = standing.rates.get(net, [])
            if rates:
                times = [mine / rate for mine, rate in zip(own, rates, strict=False)]  # of an epoch, in units of ours
                yield [
                    net,
                    standing.title,
                    report.number(report.median(rates)),
                    report.percent(report.spread(rates)),
                    report.number(report.median(times)),
                    report.number(report.median(1 / time for time in times)),
                ]


def main() -> int:
    """Measure and print. Exit status: 1 when our own trainer or the data fail."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description="An epoch of training beside others.")
    parser.add_argument("--rounds", type=int, default=5, help="visits to each trainer (%(default)s)")
    parser.add_argument("--pictures", type=int, default=20_000, help="of MNIST in an epoch (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS), help="all by default")
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
