"""Runs of two processes, by torchrun: the same numbers as one process, whatever looks at more than one row of a batch."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from models.checkpoint import read
from models.train.__main__ import main
from tests.models.train.test_resume import saved_step

DATA = Path(__file__).parents[2] / "data"
DIGITS = ["--data", f"npz:{DATA / 'digits.npz'}", "--latent-dim", "3", "--no-fit-prior", "--device", "cpu"]
SMALL = [*DIGITS, "--arch", "mlp", "--hidden", "16", "--batch-size", "33", "--steps", "12"]
SEQUENCE = ["--hidden", "8,12", "--latent-dim", "4", "--batch-size", "15", "--steps", "7", "--no-fit-prior", "--device", "cpu"]
# Everything that draws noise for rows of the batch, or computes something over all of them.
RUNS: Mapping[str, list[str]] = {
    "dropout": [*SMALL, "--dropout", "0.2", "--samples", "2", "--ema", "0.9", "--clip", "1"],
    "optimal-sigma": [*DIGITS, "--conv-channels", "4,6", "--hidden", "8", "--likelihood", "gaussian", "--batch-size", "9",
                      "--steps", "12", "--condition", "label"],
    "free-bits": [*SMALL, "--objective", "free-bits", "--free-bits", "0.05", "--warmup", "0.4"],
    "beta-tc": [*SMALL, "--objective", "beta-tc", "--beta", "6", "--stratified", "yes", "--samples", "2"],
    "vamp": [*SMALL, "--objective", "iwae-dreg", "--samples", "3", "--prior", "vamp", "--pseudo-inputs", "9", "--dropout",
             "0.1"],
    "perceptual": [*SMALL, "--objective", "perceptual", "--likelihood", "gaussian"],
    "kl-only": [*SMALL, "--objective", "kl-only"],
    "autoencoder": [*SMALL, "--objective", "autoencoder", "--l2", "1e-3"],
    "table": ["--data", f"csv:{DATA / 'penguins.csv'}", "--preset", "table", "--epochs", "2", "--hidden", "16", "--device",
              "cpu", "--batch-size", "33", "--no-fit-prior", "--dropout", "0.1"],
    "strokes": ["--data", f"strokes:{DATA / 'strokes.npz'}", "--mixtures", "3", *SEQUENCE],
}  # fmt: skip
# One start of torchrun for all of them, because torch is slow to import.
SCRIPT = """
import json, sys
from contextlib import contextmanager
from models.train import __main__ as command

joined = command.joined
with joined() as ranks:
    @contextmanager
    def again():
        ranks.in_steps = False
        yield ranks
    command.joined = again
    status = sum(command.main(argv) for argv in json.loads(sys.argv[1]))
sys.exit(status)
"""


def torchrun(*command: str, processes: int = 2) -> subprocess.Popen[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(start, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed; no run of these takes long, so that one that hangs fails here."""
    try:
        return process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.terminate()  # It ends its processes.
        raise


def log_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]


def assert_same_curve(out: Path, expected: Path, most: float = 1e-5) -> None:
    """Equal apart from rounding, in shares of each number."""
    found, wanted = log_of(out), log_of(expected)
    assert [line["step"] for line in found] == [line["step"] for line in wanted]
    for line, other in zip(found, wanted, strict=True):
        for part in ("train", "validation"):
            assert line[part] == pytest.approx(other[part], rel=most, abs=1e-4), (out, line["step"])


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """All runs with two processes, and what they printed."""
    directory = tmp_path_factory.mktemp("two")
    script = directory / "runs.py"
    script.write_text(SCRIPT)
    runs = [[*argv, "--out", str(directory / name), "--threads", "1"] for name, argv in RUNS.items()]
    process = torchrun(str(script), json.dumps(runs))
    told, errors = ended(process)
    assert process.returncode == 0, errors
    return directory, told, errors


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_are_one(name: str, outs: tuple[Path, str, str], tmp_path: Path) -> None:
    assert main([*RUNS[name], "--out", str(tmp_path / "one"), "--threads", "1"]) == 0
    assert_same_curve(outs[0] / name, tmp_path / "one")
    found, wanted = (read(path).vae.state_dict() for path in (outs[0] / name, tmp_path / "one"))
    for key, tensor in found.items():
        torch.testing.assert_close(tensor, wanted[key], rtol=1e-3, atol=2e-4)


def test_one_process_prints_and_writes(outs: tuple[Path, str, str]) -> None:
    directory, told, _ = outs
    assert told.count("\nplan\n") == told.count(": digest ") == len(RUNS)
    assert told.count("near-duplicates: ") == len(RUNS)
    assert not list(directory.rglob(".lock"))


def test_a_killed_process_ends_the_run_and_one_process_goes_on(tmp_path: Path) -> None:
    argv = [*SMALL, "--steps", "600", "--dropout", "0.1", "--threads", "1"]
    killed = tmp_path / "killed"
    process = torchrun("-m", "models.train", *argv, "--out", str(killed), "--save-every", "0.0001")
    give_up = time.monotonic() + 60
    while saved_step(killed) < 20:
        assert time.monotonic() < give_up
        assert process.poll() is None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(children[-1]), signal.SIGKILL)
    _, errors = ended(process)
    assert process.returncode == 1
    assert "the connection to another process of the run is lost" in errors
    assert 0 < saved_step(killed) < 600
    assert main(["--out", str(killed), "--resume"]) == 0
    assert main([*argv, "--out", str(tmp_path / "whole")]) == 0
    assert_same_curve(killed, tmp_path / "whole", 1e-4)


def test_more_processes_than_rows_of_a_batch(tmp_path: Path) -> None:
    process = torchrun("-m", "models.train", *SMALL, "--batch-size", "1", "--out", str(tmp_path / "few"))
    _, errors = ended(process)
    assert process.returncode == 1
    assert errors.count("error: 2 processes cannot share batches of 1: each needs one item at least") == 1
