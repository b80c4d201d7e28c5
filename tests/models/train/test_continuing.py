"""Runs that get a longer schedule: with the same bits as if they had been stopped and resumed in between, and said so."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from models.checkpoint import WEIGHTS, read
from models.evaluate.card import description
from models.train.__main__ import main
from models.train.arguments import parse
from models.train.run import Run

STEPS = 6  # of an epoch: 219 digits in batches of 32

Flags = Callable[..., list[str]]


@pytest.fixture(scope="module")
def flags(digits_npz: Path) -> Flags:
    def small_run(out: Path, *more: str) -> list[str]:
        small = ["--arch", "mlp", "--hidden", "16", "--latent-dim", "2", "--batch-size", "32", "--device", "cpu"]
        return ["--data", f"npz:{digits_npz}", *small, "--out", str(out), *more]

    return small_run


def steps_of(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]


def test_a_finished_run_goes_on_and_says_how(flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(flags(out, "--epochs", "2", "--warmup", "0.5")) == 0
    before = read(out).digest
    capsys.readouterr()
    assert main(["--out", str(out), "--resume", "--epochs", "4"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("plan\n  pictures: 219 to train on")
    assert "\n  done: 12 steps (2 epochs), 2 epochs left\n" in told.out
    assert "longer schedule: 4 epochs instead of 2; the learning rate follows the cosine of the new length" in told.out
    assert "time: " in told.out
    assert steps_of(out) == [STEPS * n for n in (1, 2, 3, 4)]
    assert "Longer schedule: 4 epochs instead of 2" in (out / "run" / "README.md").read_text()
    manifest = read(out).manifest
    assert read(out).digest != before
    assert manifest.data["lengthened"]["from"] == [2]
    assert manifest.data["training"]["epochs"] == 4
    assert any("Continued, so that the command" in words for words in description(manifest))
    capsys.readouterr()
    assert main(["--out", str(out), "--resume"]) == 0  # nothing to do
    told = capsys.readouterr()
    assert "the run is finished, after 24 steps (4 epochs); --resume --epochs N with N above 4 makes it longer" in told.out
    assert main(["--out", str(out), "--resume", "--epochs", "5"]) == 0
    assert read(out).manifest.data["lengthened"]["from"] == [2, 4]


def test_the_schedule_is_that_of_the_new_length_and_the_warm_up_of_the_old(flags: Flags, tmp_path: Path) -> None:
    argv = flags(tmp_path, "--epochs", "2", "--warmup", "0.5")
    assert main(argv) == 0
    run = Run(parse(["--out", str(tmp_path), "--resume", "--epochs", "8"]))
    assert run.steps == 8 * STEPS
    assert run.lr(2 * STEPS) == pytest.approx(1e-3 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert [run.warm(0), run.warm(STEPS - 1)] == pytest.approx([1 / STEPS, 1])


def test_a_run_with_a_length_in_steps(flags: Flags, tmp_path: Path) -> None:
    assert main(flags(tmp_path, "--steps", "8")) == 0  # which is within an epoch
    assert main(["--out", str(tmp_path), "--resume", "--steps", "15"]) == 0
    assert steps_of(tmp_path) == [6, 8, 12, 15]


def test_a_run_that_patience_ended_goes_on(flags: Flags, tmp_path: Path) -> None:
    assert main(flags(tmp_path, "--epochs", "9", "--patience", "1", "--lr", "1e-30")) == 0
    assert len(steps_of(tmp_path)) == 2
    assert main(["--out", str(tmp_path), "--resume", "--epochs", "10"]) == 0
    assert len(steps_of(tmp_path)) == 3


def test_stopped_in_between_it_has_the_same_bits(flags: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("once", "twice"):
        assert main(flags(tmp_path / name, "--epochs", "1")) == 0
    longer = ["--out", str(tmp_path / "twice"), "--resume", "--epochs", "3"]
    whole = Run.step

    def interrupted(run: Run, x: object, step: int) -> object:
        if step == STEPS + 2:
            raise ZeroDivisionError
        return whole(run, x, step)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", interrupted)
        with pytest.raises(ZeroDivisionError):
            main(longer)
    assert main(longer[:3]) == 0  # the new length was recorded before the first step
    assert main([*longer[:1], str(tmp_path / "once"), *longer[2:]]) == 0
    assert (tmp_path / "once" / WEIGHTS).read_bytes() == (tmp_path / "twice" / WEIGHTS).read_bytes()


def test_the_new_length_is_recorded_before_the_pictures_are_read(
    flags: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where --patience had ended the run."""
    assert main(flags(tmp_path, "--epochs", "9", "--patience", "1", "--lr", "1e-30")) == 0
    assert steps_of(tmp_path) == [6, 12]
    with monkeypatch.context() as patch:
        patch.setattr("models.train.run.load_for_all", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(["--out", str(tmp_path), "--resume", "--epochs", "10"])
    assert main(["--out", str(tmp_path), "--resume"]) == 0
    assert steps_of(tmp_path) == [6, 12, 18]
    assert "Longer schedule: 10 epochs instead of 9" in (tmp_path / "run" / "README.md").read_text()


@pytest.mark.parametrize(
    ("started", "wanted", "reason"),
    [
        (["--epochs", "2"], ["--epochs", "1"], "--epochs is 1, but the run in .* was started with 2: .* longer"),
        (["--epochs", "1"], ["--steps", "99"], "its length is in epochs"),
        (["--steps", "3"], ["--epochs", "9"], "its length is in steps"),
        (["--epochs", "1"], ["--epochs", "2", "--lr", "0.5"], "--lr is 0.5"),
    ],
)
def test_what_is_refused(
    flags: Flags, tmp_path: Path, started: list[str], wanted: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags(tmp_path, *started)) == 0
    before = read(tmp_path).digest
    assert main(["--out", str(tmp_path), "--resume", *wanted]) == 1
    assert re.search(reason, capsys.readouterr().err)
    assert read(tmp_path).digest == before


def test_validation_every_few_epochs_changes_only_the_log(flags: Flags, tmp_path: Path) -> None:
    for name, every in (("each", "1"), ("third", "3")):
        assert main(flags(tmp_path / name, "--epochs", "7", "--validate-every", every)) == 0
    assert steps_of(tmp_path / "third") == [18, 36, 42]
    each, third = (read(tmp_path / name).vae.state_dict() for name in ("each", "third"))
    assert all((each[name] == third[name]).all() for name in each)  # the last epoch was the best
