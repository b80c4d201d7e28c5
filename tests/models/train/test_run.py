"""What a run is made of, piece by piece, and what it leaves behind to explain itself."""

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from models.checkpoint import CheckpointError, read, read_weights
from models.train.__main__ import main
from models.train.arguments import parse
from models.train.run import Run
from models.train.run_directory import MAX_SNAPSHOTS, data_digest, snapshot_steps
from models.train.training_error import TrainingError
from models.vae import VAE

STEPS = 27  # of an epoch: 219 digits in batches of 8

Start = Callable[..., Run]


@pytest.fixture
def argv(digits_npz: Path, tmp_path: Path) -> list[str]:
    small = ["--arch", "mlp", "--hidden", "16", "--latent-dim", "3", "--batch-size", "8", "--epochs", "2", "--device", "cpu"]
    return ["--data", f"npz:{digits_npz}", *small, "--out", str(tmp_path / "out")]


@pytest.fixture
def start(argv: list[str]) -> Start:
    def run(*more: str) -> Run:
        length = argv.index("--epochs")
        return Run(parse([*argv[:length], *argv[length + 2 * ("--steps" in more) :], *more]))

    return run


class TestSchedules:
    def test_constant(self, start: Start) -> None:
        run = start("--schedule", "constant", "--lr", "0.003")
        assert {run.lr(step) for step in range(run.steps + 1)} == {0.003}

    def test_staircase(self, start: Start) -> None:
        """3^i of 3,280 passes at 0.001 x 10^(-i/7)."""
        run = start("--schedule", "staircase", "--steps", "3280")
        passes = [0.001 * 10 ** (-i / 7) for i in range(8) for _ in range(3**i)]
        assert [run.lr(step) for step in range(3280)] == pytest.approx(passes)
        assert run.lr(3280) == pytest.approx(0.0001)

    def test_warm_up_of_every_objective(self, start: Start) -> None:
        run = start("--warmup", "0.5", "--steps", "10")
        assert [run.warm(step) for step in range(10)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1])


class TestPenalty:
    def test_it_is_half_the_squared_weights(self, start: Start) -> None:
        """One step of plain gradient descent on loss + l2/2 sum of squares, as torch's Adam is told to take it."""
        run = start("--l2", "0.25")
        weights, others = run.optimizer.param_groups
        assert (weights["weight_decay"], others["weight_decay"]) == (0.25, 0)
        assert {tuple(p.shape) for p in weights["params"]} == {(16, 784), (6, 16), (16, 3), (784, 16)}
        assert all(p.dim() == 1 for p in others["params"])

    def test_pseudo_inputs_are_not_weights(self, start: Start) -> None:
        run = start("--l2", "0.25", "--prior", "vamp", "--pseudo-inputs", "5")
        assert (5, 1, 28, 28) in {tuple(p.shape) for p in run.optimizer.param_groups[1]["params"]}

    def test_weights_shrink(self, argv: list[str], tmp_path: Path) -> None:
        norms = []
        for l2 in ("0", "30"):
            assert main([*argv, "--l2", l2, "--overwrite"]) == 0
            norms.append(sum(float(p.square().sum()) for p in read(tmp_path / "out").vae.parameters() if p.dim() > 1))
        assert norms[1] < 0.8 * norms[0]


def test_averaged_weights_are_measured_and_saved(argv: list[str], tmp_path: Path) -> None:
    assert main([*argv, "--ema", "0.9"]) == 0
    run = Run(parse([*argv, "--ema", "0.9", "--resume"]))
    run.state.restore()
    saved = read(tmp_path / "out").vae.state_dict()
    raw = {name: parameter.detach().clone() for name, parameter in run.vae.named_parameters()}
    for name, average in run.average.state().items():
        assert torch.equal(saved[name], average), name
        assert not torch.equal(average, raw[name]), name
    last = json.loads((tmp_path / "out" / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert run.validate()._asdict() == last["validation"] | dict.fromkeys(("bound", "loss", "sigma", "rmse"))


@pytest.mark.parametrize("objective", ["iwae", "iwae-dreg"])
def test_the_iwae_is_kept_for_its_bound(argv: list[str], tmp_path: Path, objective: str) -> None:
    assert main([*argv, "--objective", objective, "--samples", "5"]) == 0
    for line in (tmp_path / "out" / "run" / "metrics.jsonl").read_text().splitlines():
        terms = json.loads(line)["validation"]
        assert terms["bound"] > terms["elbo"] == pytest.approx(terms["log_likelihood"] - terms["kl"], rel=1e-5)


def test_the_last_weights_of_a_contrast_are_kept(argv: list[str], tmp_path: Path) -> None:
    assert main([*argv, "--objective", "autoencoder", "--epochs", "3", "--lr", "0.01"]) == 0
    run = Run(parse([*argv, "--objective", "autoencoder", "--epochs", "3", "--lr", "0.01", "--resume"]))
    assert run.state.restore().best_epoch == 3
    for name, tensor in read(tmp_path / "out").vae.state_dict().items():
        assert torch.equal(tensor, run.vae.state_dict()[name])


class TestWarnings:
    def log(self, tmp_path: Path) -> list[list[str]]:
        lines = (tmp_path / "out" / "run" / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["warnings"] for line in lines]

    def test_none(self, argv: list[str], tmp_path: Path) -> None:
        assert main(argv) == 0
        assert self.log(tmp_path) == [[], []]

    def test_beta_and_warm_up(self, argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*argv, "--beta", "0.5", "--warmup", "0.5", "--epochs", "5"]) == 0
        first, second, third, *_, last = self.log(tmp_path)
        assert first[0] == last[0] == "the effective beta is 0.5, not 1"
        steps = math.ceil(2.5 * STEPS)
        assert first[1:] == [f"warm-up: the weight of the KL rises until step {steps}, the effective beta is below 0.5"]
        assert first == second
        assert third[1:] == last[1:] == []
        told = [line for line in capsys.readouterr().err.splitlines() if "%" not in line]  # the bar's
        assert told == [f"warning: {words}" for words in first] + ["the warm-up is over: the effective beta is 0.5"]

    def test_lines_name_what_is_minimised(self, argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The loss, where it is not the negative ELBO, and the bound, where that is what is maximised."""
        for more, loss, bound in (
            ([], False, False),
            (["--objective", "iwae", "--samples", "2"], True, True),
            (["--objective", "kl-only"], True, False),
        ):
            assert main([*argv, *more, "--overwrite", "--epochs", "1"]) == 0
            entry = json.loads((tmp_path / "out" / "run" / "metrics.jsonl").read_text())
            (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
            assert (f"epoch 1: loss {entry['train']['loss']:.2f}, train ELBO {entry['train']['elbo']:.2f}, " in line) == loss
            assert (f", bound {entry['validation'].get('bound', 0):.2f} (KL" in line) == bound

    def test_collapse(self, argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*argv, "--beta", "1000"]) == 0
        assert "posterior collapse: none of the 3 latent dimensions" in self.log(tmp_path)[-1][-1]
        assert "warning: posterior collapse" in capsys.readouterr().err

    def test_nothing_is_said_of_collapse_before_the_warm_up_is_over(self, start: Start) -> None:
        run = start("--warmup", "0.5")
        assert "posterior collapse" not in " ".join(run.warnings(0.5, 0))
        assert "posterior collapse" in " ".join(run.warnings(1.0, 0))

    def test_few_active_units(self, start: Start) -> None:
        run = start("--latent-dim", "5")
        assert run.warnings(1.0, 3) == []
        assert run.warnings(1.0, None) == []
        assert "fewer than half of the 5 latent dimensions are active" in run.warnings(1.0, 2)[0]

    def test_active_units_by_hand(self, start: Start) -> None:
        run = start()
        run.vae.eval()
        mu = run.vae.encode(run.validation.x).mu
        assert run.validate().active_units == int((mu.var(0, correction=0) > 0.01).sum())


class TestSnapshots:
    @pytest.mark.parametrize("steps", [1, 2, 10, 100, 20_000, 10_000_000])
    def test_steps(self, steps: int) -> None:
        found = sorted(snapshot_steps(steps))
        assert len(found) <= MAX_SNAPSHOTS
        assert found[0] == 0
        assert found[-1] == steps
        if steps >= 20_000:
            ratios = [later / earlier for earlier, later in pairwise(found[8:])]
            assert max(ratios) / min(ratios) < 1.2

    def test_they_are_the_weights_on_the_way(self, argv: list[str], tmp_path: Path) -> None:
        assert main([*argv, "--ema", "0.9"]) == 0
        paths = sorted((tmp_path / "out" / "run" / "snapshots").iterdir())
        assert [path.name for path in paths] == [f"{step:08d}.safetensors" for step in sorted(snapshot_steps(2 * STEPS))]
        checkpoint = read(tmp_path / "out")
        first, last = VAE(checkpoint.vae.config), VAE(checkpoint.vae.config)
        read_weights(paths[0], first)
        read_weights(paths[-1], last)
        initial = Run(parse([*argv, "--overwrite"])).vae.state_dict()
        for name, tensor in checkpoint.vae.state_dict().items():
            assert torch.equal(first.state_dict()[name], initial[name])
            assert torch.equal(last.state_dict()[name], tensor)  # the last epoch was the best

    def test_of_another_model(self, argv: list[str], tmp_path: Path) -> None:
        assert main(argv) == 0
        other = VAE(read(tmp_path / "out").vae.config.__class__((1, 28, 28), 3, "mlp", {"hidden": [17]}))
        with pytest.raises(CheckpointError):
            read_weights(tmp_path / "out" / "run" / "snapshots" / "00000001.safetensors", other)

    def test_not_asked_for(self, argv: list[str], tmp_path: Path) -> None:
        assert main([*argv, "--no-snapshots"]) == 0
        assert not (tmp_path / "out" / "run" / "snapshots").exists()


class TestExplanation:
    def test_what_the_readme_says(self, argv: list[str], tmp_path: Path, start: Start) -> None:
        assert main([*argv, "--beta", "2"]) == 0
        told = (tmp_path / "out" / "run" / "README.md").read_text()
        digest = read(tmp_path / "out").manifest.data["digest"]
        for fact in ("--beta 2", torch.__version__.split("+")[0], digest, "219 pictures", "12 for validation", '"beta": 2.0'):
            assert fact in told, fact
        for path in (tmp_path / "out" / "run").iterdir():
            name = path.name.replace("0001", "NNNN").replace("0002", "NNNN")
            assert name == "README.md" or f"`{name}" in told, name

    def test_a_resumed_run_adds_to_it(self, argv: list[str], tmp_path: Path) -> None:
        assert main(argv) == 0
        path = tmp_path / "out" / "run" / "README.md"
        before = path.read_text()
        assert main([*argv, "--resume"]) == 0
        assert path.read_text() == before  # there was nothing to do

    def test_digest_of_the_data(self) -> None:
        x = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)
        changed = x.clone()
        changed[0, 0, 0, 0] = 9
        assert data_digest(x) == data_digest(x.clone())
        assert len({data_digest(x), data_digest(changed), data_digest(x.view(4, 3, 2, 1))}) == 3


def test_memory_and_speed_are_logged(argv: list[str], tmp_path: Path) -> None:
    assert main(argv) == 0
    for line in (tmp_path / "out" / "run" / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line)["peak_memory_mb"] > 50
        assert json.loads(line)["images_per_second"] > 0


def test_tensorboard(argv: list[str], tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert main([*argv, "--tensorboard"]) == 0
    found: Any = events.EventAccumulator(str(tmp_path / "out" / "run" / "tensorboard"))
    found.Reload()
    log = [json.loads(line) for line in (tmp_path / "out" / "run" / "metrics.jsonl").read_text().splitlines()]
    for name, values in {
        "validation/elbo": [entry["validation"]["elbo"] for entry in log],
        "run/lr": [entry["lr"] for entry in log],
    }.items():
        curve = found.Scalars(name)
        assert [event.step for event in curve] == [STEPS, 2 * STEPS]
        assert [event.value for event in curve] == pytest.approx(values, rel=1e-5)


def test_more_samples_lessen_the_noise_of_the_elbo(start: Start) -> None:
    run = start("--samples", "50")
    x = next(run.batches(0, 0))
    losses = {
        k: [float(run.objective(run.vae, x, torch.randn(k, len(x), 3)).value.detach()) for _ in range(30)] for k in (1, 50)
    }
    assert torch.tensor(losses[50]).std() < 0.5 * torch.tensor(losses[1]).std()
    loss = run.step(x, 0)
    assert loss is not None
    assert math.isfinite(loss.value)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("--objective free-bits --prior vamp", "--prior standard"),
        ("--objective beta-tc --batch-size 1", "--batch-size"),
        ("--objective iwae", "--samples"),
        ("--objective iwae-dreg", "--samples"),
        ("--arch gated --dropout 0.1", "gated takes no --dropout"),
        ("--arch residual --hidden 3,4", "residual takes one --hidden"),
    ],
)
def test_flags_that_do_not_go_together(start: Start, more: str, reason: str) -> None:
    with pytest.raises(TrainingError, match=reason):
        start(*more.split())
