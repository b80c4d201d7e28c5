"""What the parser of the command line says of values that it cannot read."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from models.evaluate.__main__ import build_parser as evaluation
from models.train.__main__ import main
from models.train.flags import build_parser as training

Refused = Callable[..., str]
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
        (["--sigma", "x"], "--sigma: must be a number, learned or optimal, not x"),
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
