"""The trainer on real digits: what it writes, when it stops, and what it refuses."""

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.checkpoint import CONFIG, WEIGHTS, read
from models.evaluate.card import description
from models.mosaic import grid
from models.train.__main__ import main
from models.train.arguments import parse
from models.train.resume import recorded_arguments
from models.train.run import Run

EPOCHS, STEPS = 6, 6  # 256 digits - a tenth for the test split - a twentieth for validation = 219 = 6 batches of 32 and a rest

Flags = Callable[..., list[str]]


@pytest.fixture(scope="module")
def flags(digits_npz: Path) -> Flags:
    def small_run(out: Path, *more: str) -> list[str]:
        small = ["--arch", "mlp", "--hidden", "32", "--latent-dim", "2", "--batch-size", "32", "--epochs", str(EPOCHS)]
        return ["--data", f"npz:{digits_npz}", "--device", "cpu", *small, "--lr", "0.01", "--out", str(out), *more]

    return small_run


@pytest.fixture(scope="module")
def trained(flags: Flags, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "digits"
    assert main(flags(out, "--warmup", "0.5", "--beta", "2")) == 0
    return out


@pytest.fixture
def error(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """What a run that cannot start or go on says on its way out."""

    def error_of(argv: list[str]) -> str:
        assert main(argv) == 1
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        return told

    return error_of


def log_of(out: Path) -> list[dict[str, Any]]:
    """The log as strict readers of JSON see it: they know no NaN."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    lines = (out / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


class TestWhatItWrites:
    def test_a_checkpoint_of_what_was_asked_for(self, trained: Path, digits_npz: Path) -> None:
        manifest = read(trained).manifest
        assert manifest.model.shape == (1, 28, 28)
        assert manifest.model.latent_dim == 2
        assert (manifest.model.arch, manifest.model.arch_options["hidden"]) == ("mlp", [32])
        assert manifest.model.likelihood == "bernoulli"
        assert manifest.data["name"] == f"npz:{digits_npz}"
        assert manifest.data["binarize"] == "dynamic"
        training = manifest.data["training"]
        assert (training["beta"], training["warmup"], training["epochs"], training["seed"]) == (2, 0.5, EPOCHS, 0)
        assert not {"out", "device", "resume", "data_dir"} & training.keys()  # of the machine, not of the model

    def test_a_line_for_every_epoch(self, trained: Path) -> None:
        log = log_of(trained)
        assert [(entry["epoch"], entry["step"]) for entry in log] == [(n, n * STEPS) for n in range(1, EPOCHS + 1)]
        for entry in log:
            for part in ("train", "validation"):
                terms = entry[part]
                assert terms["elbo"] == pytest.approx(terms["log_likelihood"] - terms["kl"], rel=1e-5)
                assert terms["kl"] >= 0
            assert entry["skipped_steps"] == 0

    def test_warm_up_of_beta_and_cosine_of_the_learning_rate(self, trained: Path) -> None:
        log = log_of(trained)
        assert [entry["beta"] for entry in log] == pytest.approx([2 / 3, 4 / 3, 2, 2, 2, 2])
        expected = [0.005 * (1 + math.cos(math.pi * n / EPOCHS)) for n in range(1, EPOCHS + 1)]
        assert [entry["lr"] for entry in log] == pytest.approx(expected)

    def test_the_loss_is_weighted_and_the_elbo_is_not(self, trained: Path) -> None:
        terms = log_of(trained)[-1]["train"]
        assert terms["loss"] == pytest.approx(-terms["log_likelihood"] + 2 * terms["kl"], rel=1e-5)

    def test_it_learns(self, trained: Path) -> None:
        elbos = [entry["validation"]["elbo"] for entry in log_of(trained)]
        assert -784 * math.log(2) < elbos[0] < elbos[-1] - 20

    def test_samples_at_epochs_that_double_and_at_the_last(self, trained: Path) -> None:
        pictures = sorted((trained / "run").glob("samples-*.png"))
        assert [path.name for path in pictures] == [f"samples-{n:04}.png" for n in (1, 2, 4, 6)]
        z = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
        expected = np.asarray(grid(read(trained).vae.decode(z).mean))  # the weights of the last epoch were the best
        np.testing.assert_array_equal(np.asarray(Image.open(pictures[-1])), expected)


class TestSeeds:
    def test_same_seed_same_bits(self, flags: Flags, tmp_path: Path) -> None:
        digests = []
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
            assert main(flags(tmp_path / name, "--epochs", "1", "--seed", seed)) == 0
            digests.append((tmp_path / name / WEIGHTS).read_bytes())
        assert digests[0] == digests[1] != digests[2]


def test_batches_are_all_pictures_in_another_order_every_epoch(flags: Flags, tmp_path: Path) -> None:
    run = Run(parse(flags(tmp_path, "--binarize", "none", "--batch-size", "73")))  # 3 batches and no rest
    first, again, second = (torch.cat(list(run.batches(epoch, 0))) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    everything = {row.numpy().tobytes() for row in run.items.x.float() / 255}
    assert {row.numpy().tobytes() for row in first} == {row.numpy().tobytes() for row in second} == everything
    assert torch.equal(torch.cat(list(run.batches(1, 2))), second[2 * 73 :])


def test_no_collapse_is_told_before_latents_can_carry_anything(
    flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags(tmp_path, "--lr", "1e-30", "--epochs", "21")) == 0
    collapsed = ["posterior collapse" in " ".join(entry["warnings"]) for entry in log_of(tmp_path)]
    assert collapsed == [False] * 2 + [True] * 19  # a tenth of 21 epochs is more than two
    assert "warning: the run ended with the posterior collapse" in capsys.readouterr().err


class TestBest:
    def test_the_best_weights_are_kept_not_the_last(
        self, flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        argv = flags(tmp_path, "--beta", "0", "--hidden", "64", "--latent-dim", "20", "--lr", "0.02", "--epochs", "10")
        assert main(argv) == 0
        elbos = [entry["validation"]["elbo"] for entry in log_of(tmp_path)]
        assert max(elbos) > elbos[-1] + 5  # without a price on the KL it grows and grows
        best = 1 + elbos.index(max(elbos))
        words = f"he weights are those of epoch {best}, which has the best ELBO on the validation pictures"
        assert f"\nt{words}\n" in capsys.readouterr().out
        assert f"T{words}." in description(read(tmp_path).manifest)
        run = Run(parse(argv))
        run.vae.load_state_dict(read(tmp_path).vae.state_dict())
        assert float(run.validate().elbo) == pytest.approx(max(elbos), rel=1e-6)

    @pytest.mark.parametrize(
        ("more", "epochs"),
        [(["--patience", "2"], 3), (["--patience", "1", "--warmup", "0.5"], 4), (["--warmup", "0.5"], 6)],
        ids=["stops", "not before the warm-up ends", "no limit"],
    )
    def test_patience(self, flags: Flags, tmp_path: Path, more: list[str], epochs: int) -> None:
        assert main(flags(tmp_path, "--lr", "1e-30", *more)) == 0  # never better
        assert len(log_of(tmp_path)) == epochs
        assert (tmp_path / "run" / f"samples-{epochs:04}.png").exists()


class TestNotFinite:
    def test_a_step_without_effect(self, flags: Flags, tmp_path: Path) -> None:
        run = Run(parse(flags(tmp_path, "--likelihood", "gaussian")))
        x = torch.rand(4, 1, 28, 28)
        assert run.step(x, 0) is not None
        before = {name: tensor.clone() for name, tensor in run.vae.state_dict().items()}
        x[2, 0, 5, 5] = math.nan
        assert run.step(x, 1) is None
        for name, tensor in run.vae.state_dict().items():
            assert torch.equal(tensor, before[name]), name
        assert {int(state["step"]) for state in run.optimizer.state.values()} == {1}

    def test_a_short_run_that_only_skipped(self, flags: Flags, tmp_path: Path) -> None:
        assert main(flags(tmp_path, "--lr", "1e30", "--epochs", "3")) == 1
        first, *_, last = log_of(tmp_path)
        assert (first["skipped_steps"], last["skipped_steps"]) == (STEPS - 1, 3 * STEPS - 1)
        assert first["train"]["log_likelihood"] == pytest.approx(-784 * math.log(2), rel=0.05)  # of the step that was taken


class TestOut:
    def test_a_checkpoint_is_not_overwritten_unasked(
        self, flags: Flags, tmp_path: Path, error: Callable[[list[str]], str]
    ) -> None:
        assert main(flags(tmp_path, "--epochs", "1")) == 0
        before = read(tmp_path).digest
        told = error(flags(tmp_path, "--epochs", "1", "--seed", "5"))
        assert "--resume" in told
        assert "--overwrite" in told
        assert read(tmp_path).digest == before
        assert main(flags(tmp_path, "--epochs", "1", "--seed", "5", "--overwrite")) == 0
        assert read(tmp_path).digest != before

    def test_nothing_of_an_overwritten_run_is_left(self, flags: Flags, tmp_path: Path) -> None:
        assert main(flags(tmp_path, "--epochs", "2")) == 0
        assert main(flags(tmp_path, "--epochs", "1", "--overwrite")) == 0
        assert [path.name for path in (tmp_path / "run").glob("samples-*")] == ["samples-0001.png"]
        assert main(flags(tmp_path, "--lr", "1e30", "--batch-size", "8", "--overwrite")) == 1  # in its first epoch
        recorded = recorded_arguments(tmp_path / "run")  # --resume must not go on with a run of other flags
        assert recorded is not None
        assert recorded["lr"] == 1e30

    def test_signals_are_the_callers_again(self, flags: Flags, tmp_path: Path) -> None:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            assert main(flags(tmp_path, "--epochs", "1")) == 0
            assert {number: signal.getsignal(number) for number in before} == before
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class TestKinds:
    @pytest.mark.parametrize(
        "more",
        [
            ["--arch", "conv", "--conv-channels", "4,8", "--hidden", "16", "--activation", "silu"],
            ["--arch", "conv", "--conv-channels", "4", "--hidden", "16", "--precision", "bf16"],
            ["--dropout", "0.2", "--hidden", "32,16", "--activation", "elu"],
            ["--likelihood", "continuous_bernoulli"],
            ["--likelihood", "gaussian", "--sigma", "0.1"],
            ["--likelihood", "gaussian", "--sigma", "learned"],
            ["--likelihood", "gaussian", "--sigma", "optimal"],
        ],
        ids=lambda more: " ".join(more[:4]),
    )
    def test_all_of_them_learn(self, flags: Flags, tmp_path: Path, more: list[str]) -> None:
        assert main(flags(tmp_path, "--epochs", "2", *more)) == 0
        first, last = (entry["validation"]["elbo"] for entry in log_of(tmp_path))
        assert last > first
        assert read(tmp_path).manifest.data["binarize"] == ("none" if "--likelihood" in more else "dynamic")

    def test_colors_are_gaussian_unless_told_otherwise(self, flags: Flags, tmp_path: Path) -> None:
        images = np.random.default_rng(0).integers(0, 256, (60, 8, 9, 3), np.uint8)
        np.savez(tmp_path / "colors.npz", images=images)
        assert main(flags(tmp_path / "out", "--data", f"npz:{tmp_path / 'colors.npz'}", "--epochs", "1")) == 0
        manifest = read(tmp_path / "out").manifest
        assert (manifest.model.shape, manifest.model.likelihood) == ((3, 8, 9), "gaussian")
        assert (manifest.data["binarize"], manifest.preprocessing.fit) == ("none", "pad")

    def test_folders_are_cropped_unless_told_otherwise(self, flags: Flags, tmp_path: Path) -> None:
        (tmp_path / "pictures").mkdir()
        for i in range(30):
            Image.new("RGB", (9, 12), (i, 2 * i, 3 * i)).save(tmp_path / "pictures" / f"{i}.png")
        argv = flags(tmp_path / "out", "--data", f"folder:{tmp_path / 'pictures'}", "--size", "6x8", "--channels", "1")
        assert main([*argv, "--epochs", "1"]) == 0
        spec = read(tmp_path / "out").manifest.preprocessing
        assert (spec.shape, spec.fit) == ((1, 6, 8), "crop")


@pytest.mark.parametrize(
    "more",
    [
        "--lr 0", "--lr nan", "--lr inf", "--epochs 0", "--epochs 1.5", "--batch-size -1", "--latent-dim 0", "--beta -1",
        "--validation 1", "--warmup -0.1", "--size 6x4x3", "--size 0x5", "--size -3x4", "--hidden x", "--arch unet",
        "--likelihood poisson", "--binarize static", "--sigma best", "--fit zoom", "--save-every 0", "--unknown 1",
        "--seed 99999999999999999999",
        "--epochs 1000000000", "--steps 1000000000000", "--batch-size 100000000", "--latent-dim 1048577", "--samples 1000000",
        "--hidden 1048577", "--size 65536", "--threads 0", "--patience 9999999999", "--blocks 129",
    ],
)  # fmt: skip
def test_flags_that_are_refused(flags: Flags, tmp_path: Path, more: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(flags(tmp_path / "out", *more.split()))
    assert exit_.value.code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("--data cifar", "unknown data set"),
        ("--data npz:missing.npz", "missing.npz"),
        ("--data folder:missing", "no such folder"),
        ("--arch conv --hidden 32,16", "conv takes one --hidden"),
        ("--arch conv --hidden 32 --dropout 0.1", "conv takes no --dropout"),
        ("--validation 0.999", "--validation"),
        ("--hidden 1000000,1000000", "smaller --latent-dim, --hidden, --conv-channels or --size"),
        ("--device bogus", "bogus"),
        ("--device cuda:99", "cuda:99"),
    ],
)
def test_runs_that_cannot_start(
    flags: Flags, tmp_path: Path, more: str, reason: str, error: Callable[[list[str]], str]
) -> None:
    assert reason in error(flags(tmp_path / "out", *more.split()))
    assert not (tmp_path / "out" / CONFIG).exists()


def test_data_lie_where_the_environment_says(flags: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE_DATA_DIR", "/somewhere")
    assert parse(flags(tmp_path)).data_dir == Path("/somewhere")
    assert parse(flags(tmp_path, "--data-dir", "/else")).data_dir == Path("/else")
