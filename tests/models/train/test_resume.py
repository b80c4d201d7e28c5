"""Runs that are killed or stopped and go on: what they end with is bit for bit what an undisturbed run ends with."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.checkpoint import CONFIG, WEIGHTS, read, save
from models.files.tensor_file import read_header
from models.train import objectives
from models.train.__main__ import main
from models.train.arguments import parse
from models.train.resume import STATE, MetricsLog, Progress, ResumeError, RunState, log_entries, recorded_arguments
from models.vae import VAE, VAEConfig
from tests.live.fork_server import Forked

STEPS = 27  # of an epoch: 219 digits in batches of 8
KINDS = {
    "mlp": ["--arch", "mlp", "--hidden", "32", "--dropout", "0.1", "--warmup", "0.5"],
    "conv": ["--arch", "conv", "--conv-channels", "4,6", "--hidden", "16", "--likelihood", "gaussian"],
}
MLP = ["--arch", "mlp", "--hidden", "16"]
OBJECTIVES = {  # every objective and every prior at least once, with what else has a state of its own
    "elbo": ["--arch", "gated", "--hidden", "16", "--prior", "vamp", "--pseudo-inputs", "9", "--l2", "1e-3"],
    "free-bits": [*MLP, "--free-bits", "0.3", "--ema", "0.95", "--warmup", "0.4"],
    "beta-tc": [*MLP, "--beta", "6", "--stratified", "yes", "--ema", "0.9", "--schedule", "staircase"],
    "iwae": [*MLP, "--samples", "3", "--prior", "vamp", "--pseudo-inputs", "9", "--ema", "0.9"],
    "iwae-dreg": [*MLP, "--samples", "3"],
    "perceptual": [*MLP, "--feature-weight", "0.5", "--warmup", "0.2", "--ema", "0.9"],
    "autoencoder": [*MLP, "--dropout", "0.2"],
    "kl-only": ["--arch", "residual", "--conv-channels", "4", "--hidden", "8", "--ema", "0.9"],
}

# What of a state these need is saved for others, too: averages, pseudo-inputs, several samples and dropout.
ALIKE = ("free-bits", "iwae", "autoencoder", "kl-only")

Flags = Callable[..., list[str]]


@pytest.fixture(scope="module")
def flags(digits_npz: Path) -> Flags:
    def small_run(out: Path, *more: str) -> list[str]:
        length = [] if "--steps" in more else ["--epochs", "8"]
        small = ["--latent-dim", "2", "--batch-size", "8", *length, "--device", "cpu"]
        return ["--data", f"npz:{digits_npz}", *small, "--out", str(out), *more]

    return small_run


@pytest.fixture(scope="module")
def undisturbed(flags: Flags, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind that nobody stopped."""
    outs = {kind: tmp_path_factory.mktemp("undisturbed") / kind for kind in KINDS}
    for kind, out in outs.items():
        assert main(flags(out, *KINDS[kind])) == 0
    return outs


@pytest.fixture(scope="module")
def one_epoch(flags: Flags, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one epoch") / "finished"
    assert main(flags(out, *KINDS["mlp"], "--epochs", "1")) == 0
    return out


@pytest.fixture
def finished(one_epoch: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(one_epoch, tmp_path / "finished"))


def start(argv: list[str]) -> Forked:
    """A run that saves its state as often as it can."""
    return Forked([*argv, "--save-every", "0.0001"], {**os.environ, "OMP_NUM_THREADS": "1"}, "models.train")


def saved_step(out: Path) -> int:
    """How far the state on disk is."""
    try:
        step: int = json.loads(read_header(out / "run" / STATE).metadata["progress"])["step"]
    except FileNotFoundError:
        return 0
    return step


def stop(argv: list[str], out: Path, number: signal.Signals, steps: int, epoch: int = STEPS) -> tuple[int, str]:
    """Start a run, and end it by a signal when it has saved so many steps and stands within an epoch of several."""
    give_up = time.monotonic() + 60
    process = start(argv)
    while (step := saved_step(out)) < steps or (epoch > 1 and step % epoch == 0):
        assert time.monotonic() < give_up
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(f"ended with {process.wait(timeout=0.002)} before it was stopped")
    process.send_signal(number)
    with process.stderr as told:
        return process.wait(timeout=60), told.read()


def resume(argv: list[str], out: Path, capsys: pytest.CaptureFixture[str], epoch: int = STEPS) -> None:
    """To the end, and from where it stood: a run from the start would end in the same bits."""
    next_epoch = saved_step(out) // epoch + 1
    capsys.readouterr()
    assert main([*argv, "--resume"]) == 0
    epochs = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert epochs[0].startswith(f"epoch {next_epoch}:")


def log_of(out: Path) -> list[dict[str, Any]]:
    """All but speed and memory."""
    lines = (out / "run" / "metrics.jsonl").read_text().splitlines()
    of_the_machine = {"images_per_second", "peak_memory_mb"}
    return [{name: value for name, value in json.loads(line).items() if name not in of_the_machine} for line in lines]


def assert_same(out: Path, expected: Path) -> None:
    for file in (WEIGHTS, CONFIG):
        assert (out / file).read_bytes() == (expected / file).read_bytes(), file
    assert log_of(out) == log_of(expected)
    run = expected / "run"
    for path in [*run.glob("*.png"), *run.glob("snapshots/*")]:
        assert (out / "run" / path.relative_to(run)).read_bytes() == path.read_bytes(), path.name
    assert {path.name for path in (out / "run").iterdir()} >= {path.name for path in (expected / "run").iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_twice(
    kind: str, flags: Flags, undisturbed: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = flags(tmp_path, *KINDS[kind])
    assert stop(argv, tmp_path, signal.SIGKILL, 40)[0] == -signal.SIGKILL
    assert stop([*argv, "--resume"], tmp_path, signal.SIGKILL, saved_step(tmp_path) + 30)[0] == -signal.SIGKILL
    resume(argv, tmp_path, capsys)
    assert_same(tmp_path, undisturbed[kind])


@pytest.mark.parametrize(
    "objective", [pytest.param(one, marks=[pytest.mark.soak] * (one in ALIKE)) for one in objectives.OBJECTIVES]
)
def test_every_objective_killed(objective: str, flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a run that has a length in steps, and does not end where an epoch does."""
    more = ["--objective", objective, *OBJECTIVES[objective], "--steps", str(3 * STEPS - 7)]
    argv = flags(tmp_path / "killed", *more)
    assert stop(argv, tmp_path / "killed", signal.SIGKILL, 10)[0] == -signal.SIGKILL
    resume(["--out", str(tmp_path / "killed")], tmp_path / "killed", capsys)
    assert main(flags(tmp_path / "undisturbed", *more)) == 0
    assert log_of(tmp_path / "undisturbed")[-1]["step"] == 3 * STEPS - 7
    assert_same(tmp_path / "killed", tmp_path / "undisturbed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_the_user(
    number: signal.Signals, flags: Flags, undisturbed: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = flags(tmp_path, *KINDS["mlp"])
    status, told = stop(argv, tmp_path, number, 10)
    assert status == 130
    assert "stopping after this step; a second Ctrl-C stops at once" in told
    assert f"python -m models.train --out {tmp_path} --resume" in told
    assert read(tmp_path).manifest.data["kept"]["epoch"] >= 1
    assert read(tmp_path).vae.config.latent_dim == 2  # something to look at, also before the first epoch has ended
    resume(["--out", str(tmp_path)], tmp_path, capsys)
    assert_same(tmp_path, undisturbed["mlp"])


def test_stopped_at_the_last_step_of_an_epoch(flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where an epoch is one step, every stop is at its last."""
    one_step = ["--batch-size", "1000", "--epochs", "25", *KINDS["mlp"]]
    argv = flags(tmp_path / "stopped", *one_step)
    assert stop(argv, tmp_path / "stopped", signal.SIGINT, 3, epoch=1)[0] == 130
    resume(argv, tmp_path / "stopped", capsys, epoch=1)
    assert main(flags(tmp_path / "undisturbed", *one_step)) == 0
    assert_same(tmp_path / "stopped", tmp_path / "undisturbed")


def test_a_finished_run_has_nothing_to_do(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert main(["--out", str(finished), "--resume"]) == 0
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    assert read(finished).digest[:12] in capsys.readouterr().out


@pytest.mark.parametrize(
    "changed",
    [
        "--lr 0.5",
        "--batch-size 9",
        "--seed 1",
        "--hidden 16",
        "--data mnist",
        "--beta 2",
        "--likelihood gaussian",
        "--patience 3",
        "--objective iwae",
        "--ema 0.9",
        "--prior vamp",
        "--preset keras",
    ],
)
def test_other_arguments_are_refused(finished: Path, changed: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = read(finished).digest
    assert main(["--out", str(finished), "--resume", *changed.split()]) == 1
    assert f"error: {changed.split()[0]} is " in capsys.readouterr().err
    assert read(finished).digest == before


def test_the_same_arguments_and_other_places_are_welcome(flags: Flags, finished: Path, tmp_path: Path) -> None:
    finished.rename(tmp_path / "moved")
    same = flags(tmp_path / "moved", *KINDS["mlp"], "--epochs", "1", "--data-dir", str(tmp_path), "--save-every", "7")
    assert main([*same, "--resume"]) == 0


def test_a_checkpoint_without_a_run_is_not_overwritten(
    flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, VAE(VAEConfig((1, 28, 28), 2, "mlp")))
    before = read(tmp_path).digest
    assert main(flags(tmp_path, "--epochs", "1", "--resume")) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert read(tmp_path).digest == before


@pytest.mark.parametrize("share", [0, 0.0001, 0.01, 0.5, 0.99])
def test_a_truncated_state(finished: Path, share: float, capsys: pytest.CaptureFixture[str]) -> None:
    state = finished / "run" / STATE
    content = state.read_bytes()
    state.write_bytes(content[: int(share * len(content))])
    assert main(["--out", str(finished), "--resume"]) == 1
    assert str(state) in capsys.readouterr().err


@pytest.mark.parametrize("header", [b"[]", b"{}", b'{"__metadata__":null}', b'{"__metadata__":{"arguments":"[]"}}', b"\xff"])
def test_a_strange_state(finished: Path, header: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    state = finished / "run" / STATE
    state.write_bytes(len(header).to_bytes(8, "little") + header)
    assert main(["--out", str(finished), "--resume"]) == 1
    assert str(state) in capsys.readouterr().err


class TestRunState:
    """Without a run around it."""

    def pieces(self, seed: int, width: int = 5) -> tuple[nn.Module, torch.optim.Optimizer, torch.Generator]:
        torch.manual_seed(seed)
        module = nn.Linear(4, width)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
        module(torch.randn(3, 4)).sum().backward()
        optimizer.step()
        return module, optimizer, torch.Generator().manual_seed(seed)

    def test_everything_comes_back(self, tmp_path: Path) -> None:
        module, optimizer, noise = self.pieces(1)
        progress = Progress(7, 2, -99.5, 3, False, [1.0, 2.0])
        RunState(tmp_path, module, optimizer, noise).save(progress, {"lr": 0.1, "hidden": [5], "fit": None})
        expected = torch.rand(2), torch.rand(2, generator=noise)

        other, other_optimizer, other_noise = self.pieces(2)
        assert RunState(tmp_path, other, other_optimizer, other_noise).restore() == progress
        assert recorded_arguments(tmp_path) == {"lr": 0.1, "hidden": [5], "fit": None}
        for name, tensor in module.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor)
        for index, state in optimizer.state_dict()["state"].items():
            for name, tensor in state.items():
                assert torch.equal(other_optimizer.state_dict()["state"][index][name], tensor)
        assert torch.equal(torch.rand(2), expected[0])
        assert torch.equal(torch.rand(2, generator=other_noise), expected[1])

    def test_another_model_is_refused(self, tmp_path: Path) -> None:
        RunState(tmp_path, *self.pieces(1)).save(Progress(), {})
        with pytest.raises(ResumeError, match=STATE):
            RunState(tmp_path, *self.pieces(1, width=6)).restore()

    def test_nothing_recorded(self, tmp_path: Path) -> None:
        assert recorded_arguments(tmp_path) is None

    def test_arguments_of_another_version(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        RunState(tmp_path / "run", *self.pieces(1)).save(Progress(), {"lr": 0.1, "warp": 9, "flux": 1})
        with pytest.raises(ResumeError, match=r"was started by another version; unknown arguments: flux, warp$"):
            parse(["--out", str(tmp_path), "--resume"])


def test_lines_of_a_log_that_somebody_else_has_changed(tmp_path: Path) -> None:
    lines = [b'{"step": 1, "x": "\xc3\xa9"}', b"[" * 100_000, b'{"step": 2', b"\xff", b"[3]", b'{"step": 4, "x": "\\ud800"}']
    (tmp_path / "log").write_bytes(b"\n".join(lines))
    assert log_entries(tmp_path / "log") == [{"step": 1, "x": "é"}, {"step": 4, "x": "\ufffd"}]


def test_lists_in_a_log_have_no_nan(tmp_path: Path) -> None:
    MetricsLog(tmp_path / "log", 0).write({"kl": [float("nan"), 1.0]})
    assert (tmp_path / "log").read_text() == '{"kl": [null, 1.0]}\n'
