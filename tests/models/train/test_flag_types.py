"""What the parser of the command line says of values that it cannot read."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from models.evaluate.__main__ import build_parser as evaluation
from models.evaluate.commands import train_command
from models.kinds import KINDS
from models.train.__main__ import main
from models.train.arguments import parse
from models.train.flags import build_parser as training

Refused = Callable[..., str]
SIGMA = "--sigma: must be a number from 1/255 to 1000, learned or optimal"
WIDTHS = "must be a whole number from 1 to 1,048,576, or several with commas, such as 500,500"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    def tell(*argv: str) -> str:
        with pytest.raises(SystemExit):
            main(["--out", str(tmp_path / "out"), *argv])
        return capsys.readouterr().err.splitlines()[-1].partition("argument ")[2]

    return tell


@pytest.mark.parametrize("build", [training, evaluation])
def test_no_message_names_our_functions(
    build: Callable[[], argparse.ArgumentParser], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = build()
    for action in parser._actions:
        if action.option_strings and action.type is not None:
            first = ["--out", "x"] if build is training else ["x"]
            try:
                parser.parse_args([*first, f"{action.option_strings[-1]}=abc"])
            except SystemExit:
                told = capsys.readouterr().err.splitlines()[-1]
                assert "must be" in told, told
                assert "not abc" in told, told


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--size", "10x20x30"], "--size: must be height x width, such as 64x48, or one number, up to 65,535, not 10x20x30"),
        (["--size", "0"], "--size: must be height x width, such as 64x48, or one number, up to 65,535, not 0"),
        (["--latent-dim", "-1"], "--latent-dim: must be a whole number from 1 to 1,048,576, not -1"),
        (["--epochs", "1.5"], "--epochs: must be a whole number from 1 to 1,000,000, not 1.5"),
        (["--samples", "0"], "--samples: must be a whole number from 1 to 10,000, not 0"),
        (["--lr", "inf"], "--lr: must be a number above 0, not inf"),
        (["--ema", "1"], "--ema: must be a number, at least 0 and below 1, not 1"),
        (["--range", "5"], "--range: must be LO,HI, two numbers of which the first is smaller, such as 0,4095, not 5"),
        (["--sigma", "x"], f"{SIGMA}, not x"),
        (["--sigma", "0.001"], f"{SIGMA}, not 0.001"),
        (["--sigma", "1001"], f"{SIGMA}, not 1001"),
        (["--sigma", "nan"], f"{SIGMA}, not nan"),
        (["--seed", "-1"], "--seed: must be a whole number from 0 to 2^53 - 1, not -1"),
        (
            ["--hidden", ""],
            f"--hidden: {WIDTHS}, not empty",
        ),
        (
            ["--conv-channels", "8,-1"],
            f"--conv-channels: {WIDTHS}, not 8,-1",
        ),
        (
            ["--hidden", "0,5"],
            f"--hidden: {WIDTHS}, not 0,5",
        ),
    ],
)
def test_messages(argv: list[str], reason: str, refused: Refused) -> None:
    assert refused(*argv) == reason


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ("--sigma 0.1 --likelihood bernoulli", "--sigma is for --likelihood gaussian, but the likelihood is bernoulli: add "
         "--likelihood gaussian, or leave --sigma out"),
        ("--sigma optimal --preset keras --likelihood bernoulli", "the likelihood is bernoulli: add"),
        ("--free-bits 0.1", "--free-bits is for --objective free-bits, but the objective is elbo: add --objective free-bits"),
        ("--pseudo-inputs 5", "--pseudo-inputs is for --prior vamp, but the prior is standard"),
        ("--blocks 2", "--blocks is for --arch residual, but the architecture is conv"),
        ("--pixel-weight 0", "--pixel-weight is for --objective perceptual, but the objective is elbo"),
        ("--stratified yes", "--stratified is for --objective beta-tc, but the objective is elbo"),
        ("--objective iwae-dreg", "--objective iwae-dreg with --samples 1 is only the ELBO with a noisier KL"),
    ],
)  # fmt: skip
def test_flags_without_an_effect_are_refused_before_the_data_are_read(
    argv: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "out"), "--data", "npz:missing.npz", *argv.split()]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_a_preset_sets_may_be_idle() -> None:
    args = parse(["--out", "x", "--preset", "keras", "--likelihood", "bernoulli"])
    assert args.given == ()
    assert parse(["--out", "x", "--preset", "residual", "--blocks", "2"]).given == ("blocks",)
    assert "--sigma" not in train_command(Path("x"), {"likelihood": "bernoulli", "sigma": 0.7, "objective": "elbo"})


def test_sigma_of_a_likelihood_that_the_pictures_choose(
    digits_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "out"), "--data", f"npz:{digits_npz}", "--sigma", "0.1", "--device", "cpu"]) == 1
    assert "but the likelihood is bernoulli (because only " in capsys.readouterr().err


def test_a_length_in_steps_and_in_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--out", "x", "--steps", "2", "--epochs", "3"])
    assert "--steps and --epochs both set the length of the run: choose one of them" in capsys.readouterr().err


def test_the_directory_is_a_file(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").touch()
    assert refused("--out", str(tmp_path / "file")) == f"--out: {tmp_path / 'file'} is a file, not a directory"


def test_no_run_to_continue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["--out", str(out), "--resume"]) == 1
    wanted = f"error: there is no run to continue in {out} (no run/state.safetensors). To start a new run there, leave out"
    assert wanted in capsys.readouterr().err
    assert not out.exists()


def test_the_help_of_shared_flags_names_what_each_kind_takes() -> None:
    told = {option: action.help or "" for action in training()._actions for option in action.option_strings}
    for kind in KINDS.values():
        assert all(name in told["--arch"] for name in kind.nets), kind.name
        assert all(name in told["--likelihood"] for name in kind.likelihoods), kind.name
    assert "CSV" in told["--max-corrupt"]
