"""Runs of two processes, by torchrun: the same numbers as one process, whatever looks at more than one row of a batch.

A process that is killed ends the run, and --resume goes on with one process or with two.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.checkpoint import WEIGHTS
from models.train.__main__ import main
from models.train.run_directory import SNAPSHOTS
from models.train.shared_weights import owners
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
    "table": ["--data", f"csv:{DATA / 'penguins.csv'}", "--preset", "table", "--epochs", "2", "--hidden", "16", "--device",
              "cpu", "--batch-size", "33", "--no-fit-prior", "--dropout", "0.1"],
    "strokes": ["--data", f"strokes:{DATA / 'strokes.npz'}", "--mixtures", "3", *SEQUENCE],
}  # fmt: skip
MORE: Mapping[str, list[str]] = {
    "kl-only": [*SMALL, "--objective", "kl-only"],
    "autoencoder": [*SMALL, "--objective", "autoencoder", "--l2", "1e-3"],
}  # fmt: skip
LONG = [*SMALL, "--steps", "600", "--dropout", "0.1", "--threads", "1"]
# One start of torchrun for all of them, because torch is slow to import. It prints the status of each run at last. Every
# other run has no shared memory, as on several machines.
SCRIPT = """
import json, pathlib, sys
from contextlib import contextmanager
from models.train import __main__ as command, shared_weights

shared = shared_weights.shared_memory
joined = command.joined
with joined() as ranks:
    @contextmanager
    def again():
        ranks.in_steps = False
        yield ranks
    command.joined = again
    statuses = []
    for number, argv in enumerate(json.loads(sys.argv[1])):
        shared_weights.shared_memory = shared if number % 2 else lambda *_: None
        statuses.append(command.main(argv))
names = [(thread / "comm").read_text() for thread in pathlib.Path("/proc/self/task").iterdir()]
print(f"{ranks.rank}: {statuses}, {sum('gloo_runloop' in name for name in names)} threads", file=sys.stderr)
"""


def torchrun(*command: str, processes: int = 2) -> subprocess.Popen[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(start, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what it printed. No run of these takes long, so that one that hangs fails here."""
    try:
        return process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.terminate()  # It ends its processes.
        process.wait()
        raise


def several(directory: Path, runs: Mapping[str, list[str]], processes: int = 2) -> tuple[str, str]:
    """Run all of these with several processes; return what they printed. A run may fail, but the processes must end well."""
    script = directory / "runs.py"
    script.write_text(SCRIPT)
    argv = [[*argv, "--out", str(directory / name), "--threads", "1"] for name, argv in runs.items()]
    process = torchrun(str(script), json.dumps(argv), processes=processes)
    told, errors = ended(process)
    assert process.returncode == 0, errors
    return told, errors


def killed(out: Path, rank: int, after: int, seconds: float = 0) -> str:
    """Start a run of two processes, kill one of them when so many steps are saved, and return what was printed."""
    process = torchrun("-m", "models.train", *LONG, "--out", str(out), "--save-every", "0.0001")
    try:
        while not saved_step(out):
            assert process.poll() is None
        children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        environments = {pid: Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in children}
        (victim,) = (pid for pid, found in environments.items() if f"RANK={rank}".encode() in found)
        while saved_step(out) < after:
            assert process.poll() is None
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    _, errors = ended(process)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    return errors


def assert_lost_connection(errors: str, teller: str) -> None:
    """Whoever is left says why the run ends, in words of this project."""
    reason = (
        r"the connection to another process of the run is lost, because it ended or did not answer \([ -~]{10,90}\); the same"
    )
    assert re.search(f"^error: {teller}{reason}", errors, re.MULTILINE), errors
    assert "gloo" not in errors.lower()
    assert "typically" not in errors


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
def without_leader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes whose leader was killed."""
    out = tmp_path_factory.mktemp("killed") / "out"
    assert_lost_connection(killed(out, 0, 20), "process 1 of 2: ")
    assert 0 < saved_step(out) < 600
    return out


@pytest.fixture(scope="module")
def outs(without_leader: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """All runs with two processes, and what they printed: at last one that cannot start, and one whose leader was killed."""
    directory = tmp_path_factory.mktemp("two")
    shutil.copytree(without_leader, directory / "resumed")
    return (directory, *several(directory, {**RUNS, "few": [*SMALL, "--batch-size", "1"], "resumed": ["--resume"]}))


def assert_one_process_is_alike(several: Path, argv: list[str], one: Path) -> None:
    assert main([*argv, "--out", str(one), "--threads", "1"]) == 0
    assert_same_curve(several, one)
    files = [path.relative_to(one) for path in (one / "run" / SNAPSHOTS).iterdir()]
    assert len(files) > 2
    for file in [*files, Path(WEIGHTS)]:
        found, wanted = (load_file(out / file) for out in (several, one))
        for key, tensor in found.items():
            torch.testing.assert_close(tensor, wanted[key], rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_are_one(name: str, outs: tuple[Path, str, str], tmp_path: Path) -> None:
    assert_one_process_is_alike(outs[0] / name, RUNS[name], tmp_path / "one")


@pytest.mark.soak
def test_two_processes_are_one_without_a_term(tmp_path: Path) -> None:
    several(tmp_path, MORE)
    for name, argv in MORE.items():
        assert_one_process_is_alike(tmp_path / name, argv, tmp_path / f"{name}-one")


@pytest.mark.soak
def test_three_processes_are_one(tmp_path: Path) -> None:
    runs = {name: RUNS[name] for name in ("table", "dropout", "vamp", "optimal-sigma")}  # The second and fourth share memory.
    several(tmp_path, runs, 3)
    for name, argv in runs.items():
        assert_one_process_is_alike(tmp_path / name, argv, tmp_path / f"{name}-one")


def test_each_process_updates_about_as_many_weights() -> None:
    assert owners([3, 90, 10, 80, 7], 2) == [1, 0, 1, 1, 0]  # 97 and 93
    assert owners([5, 5], 3) == [0, 1]


def test_one_process_prints_and_writes(outs: tuple[Path, str, str]) -> None:
    directory, told, errors = outs
    assert told.count("\nplan\n") == told.count(": digest ") == len(RUNS) + 1
    assert not list(directory.rglob(".lock"))
    assert errors.count("error: 2 processes cannot share batches of 1: each needs one item at least") == 1


def test_no_thread_of_gloo_is_left_that_could_abort_the_interpreter_when_it_exits(outs: tuple[Path, str, str]) -> None:
    for rank in range(2):
        # The default group may be left with its 2 threads: it has sent nothing, so that they have nothing to release.
        assert re.search(rf"{rank}: {re.escape(str([0] * len(RUNS) + [1, 0]))}, [02] threads", outs[2])


def test_one_process_or_two_resume_a_run_whose_leader_was_killed(
    without_leader: Path, outs: tuple[Path, str, str], tmp_path: Path
) -> None:
    shutil.copytree(without_leader, tmp_path / "alone")
    assert main(["--out", str(tmp_path / "alone"), "--resume"]) == 0
    assert main([*LONG, "--out", str(tmp_path / "whole")]) == 0
    assert_same_curve(tmp_path / "alone", tmp_path / "whole", 1e-4)
    assert_same_curve(outs[0] / "resumed", tmp_path / "whole", 1e-4)


@pytest.mark.soak
def test_the_leader_tells_that_the_other_process_was_killed(tmp_path: Path) -> None:
    assert_lost_connection(killed(tmp_path / "killed", 1, 20), "")
    assert main(["--out", str(tmp_path / "killed"), "--resume"]) == 0
    assert main([*LONG, "--out", str(tmp_path / "whole")]) == 0
    assert_same_curve(tmp_path / "killed", tmp_path / "whole", 1e-4)


@pytest.mark.soak
def test_torchrun_ends_with_the_reason(tmp_path: Path) -> None:
    process = torchrun("-m", "models.train", *SMALL, "--data", f"npz:{tmp_path / 'gone.npz'}", "--out", str(tmp_path / "out"))
    _, errors = ended(process)
    assert process.returncode == 1
    first, _, report = errors.partition("Root Cause (first observed failure):")
    said = re.search(r"^error: (.*gone.npz.*)$", first, re.MULTILINE)
    assert said, errors
    assert re.search(rf"^  traceback : (process \d of 2: )?{re.escape(said[1])}$", report, re.MULTILINE), errors


@pytest.mark.soak
def test_an_error_of_one_process_ends_all_of_them(tmp_path: Path) -> None:
    process = torchrun("-m", "models.train", *LONG, "--steps", "100000", "--out", str(tmp_path), "--save-every", "0.0001")
    while saved_step(tmp_path) < 5:
        assert process.poll() is None
    state = tmp_path / "run" / "state.safetensors"
    while state.is_file():  # The next state may be written at any moment.
        state.unlink()
        with contextlib.suppress(FileExistsError):
            state.mkdir()
    _, errors = ended(process)
    assert process.returncode == 1
    assert errors.count("error: ") >= 1
    assert "it exists and is not a regular file" in errors


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(8))
def test_kills_at_random_moments(seed: int, tmp_path: Path) -> None:
    drawn = random.Random(seed)
    killed(tmp_path / "killed", seed % 2, drawn.randrange(1, 200), drawn.random())
    if seed % 4 < 2:
        assert main(["--out", str(tmp_path / "killed"), "--resume"]) == 0
    else:
        process = torchrun("-m", "models.train", "--out", str(tmp_path / "killed"), "--resume")
        _, errors = ended(process)
        assert process.returncode == 0, errors
    assert main([*LONG, "--out", str(tmp_path / "whole")]) == 0
    assert_same_curve(tmp_path / "killed", tmp_path / "whole", 1e-4)
