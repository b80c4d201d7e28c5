"""Training with --condition: what is found in the data, what the run learns, and that it resumes bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint
from models.condition import UNKNOWN
from models.data import Items
from models.data.conditions import conditioned, find_condition
from models.evaluate.__main__ import main as evaluate
from models.mixture import read_prior
from models.readers.download import DataError
from models.train.__main__ import main

FLAGS = ["--arch", "mlp", "--hidden", "32", "--latent-dim", "2", "--batch-size", "32", "--device", "cpu", "--no-snapshots"]


def items(labels: list[int] | None = None, **factors: list[int]) -> Items:
    count = len(labels or next(iter(factors.values())))
    numbers = {name: torch.tensor(values) for name, values in factors.items()}
    return Items(torch.zeros(count, 1, 2, 2, dtype=torch.uint8), None if labels is None else torch.tensor(labels), numbers)


def test_values_are_those_of_training_in_the_order_of_their_numbers() -> None:
    condition, lines = find_condition("label", items([7, 3, 3, -1]), None, "some")
    assert (condition.key, condition.values, condition.counts) == ("label", ("-1", "3", "7"), (1, 2, 1))
    assert lines == ["condition: label, 3 values in training: -1 (1), 3 (2), 7 (1)"]
    told = conditioned(items([3, 7, 7]), condition, None, "test", "some")
    assert told.condition is not None
    assert told.condition.tolist() == [1, 2, 2]


def test_classes_have_names_and_a_missing_name_is_a_value_of_its_own() -> None:
    condition, lines = find_condition("label", items([0, 1, 2, 2]), ["cat", "dog", ""], "some")
    assert condition.values == ("cat", "dog", UNKNOWN)
    assert lines[1] == "condition: 2 training items without a label have the value 'unknown'"


def test_a_factor_is_a_condition() -> None:
    condition, _ = find_condition("size", items([0, 1, 0], size=[4, 9, 9]), ["cat", "dog"], "some")
    assert (condition.key, condition.values, condition.counts) == ("size", ("4", "9"), (1, 2))


@pytest.mark.parametrize(
    ("key", "own", "reason"),
    [
        ("label", items(size=[1, 2]), "some has no labels; it has the factors size"),
        ("colour", items([0, 1], size=[1, 2]), "no factor of that name; choose label or size"),
        ("label", items([4, 4]), "has 1 value of it in 2 training items; a condition needs 2 to 256"),
        ("label", items(list(range(300))), "has 300 values"),
    ],
)
def test_data_that_cannot_be_conditioned(key: str, own: Items, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        find_condition(key, own, None, "some")


def test_values_that_training_does_not_have_are_named() -> None:
    condition, _ = find_condition("label", items([0, 1]), None, "some")
    with pytest.raises(DataError, match=r"the test split of some has values .* there is no label '5'; choose 0 or 1"):
        conditioned(items([1, 5]), condition, None, "test", "some")


@pytest.fixture(scope="module")
def run(digits_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("conditional") / "told"
    argv = ["--data", f"npz:{digits_npz}", *FLAGS, "--condition", "labels", "--epochs", "60", "--lr", "0.01"]
    assert main([*argv, "--out", str(out)]) == 0
    return out


def test_a_run_records_the_condition_and_fits_a_prior_for_all_labels(run: Path) -> None:
    saved = checkpoint.read(run)
    condition = saved.vae.config.condition
    assert condition is not None
    assert (condition.key, condition.values, sum(condition.counts)) == ("label", tuple("0123456789"), 219)
    assert saved.manifest.data["training"]["condition"] == "label"
    assert any(line.startswith("condition: label, 10 values in training: 0 (16),") for line in saved.manifest.data["summary"])
    prior = read_prior(run, saved.digest, 2)
    assert prior is None or prior.labels is None


def test_the_decoder_draws_what_it_is_told(run: Path, digits: Items) -> None:
    """The means of two labels at z = 0 resemble the mean digits of these labels, each more than the other."""
    vae = checkpoint.load(run)
    assert digits.labels is not None
    zero, one = (digits.x[digits.labels == label].float().mean(0) / 255 for label in (0, 1))
    made = vae.given(torch.tensor([0, 1])).decode(torch.zeros(2, 2)).mean
    for mine, own, other in ((made[0], zero, one), (made[1], one, zero)):
        assert (mine - own).square().sum() < 0.5 * (mine - other).square().sum()


def test_it_resumes_bit_for_bit(digits_npz: Path, tmp_path: Path) -> None:
    argv = ["--data", f"npz:{digits_npz}", *FLAGS, "--condition", "label", "--ema", "0.9"]
    assert main([*argv, "--epochs", "3", "--out", str(tmp_path / "whole")]) == 0

    import models.train.__main__ as training

    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    original = training._end_epoch
    count = 0

    def once(*args: object) -> None:
        nonlocal count
        original(*args)  # type: ignore[arg-type]
        count += 1
        if count == 2:
            run_state = args[0]
            run_state.state.save(args[1], training.arguments.resumable(run_state.args))  # type: ignore[attr-defined]
            stop()

    training._end_epoch = once  # type: ignore[assignment]
    try:
        with pytest.raises(Stopped):
            main([*argv, "--epochs", "3", "--out", str(tmp_path / "halves")])
    finally:
        training._end_epoch = original
    assert main(["--out", str(tmp_path / "halves"), "--resume"]) == 0
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (tmp_path / "halves" / "model.safetensors").read_bytes()


def test_other_labels_do_not_continue_it(digits_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(digits_npz) as arrays:
        own = {name: arrays[name] for name in ("images", "labels")}
    np.savez(tmp_path / "digits.npz", **own)
    argv = ["--data", f"npz:{tmp_path / 'digits.npz'}", *FLAGS, "--condition", "label", "--out", str(tmp_path / "run")]
    assert main([*argv, "--epochs", "1"]) == 0
    np.savez(tmp_path / "digits.npz", images=own["images"], labels=9 - own["labels"])
    assert main([*argv, "--epochs", "2", "--resume"]) == 1
    assert "training labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--prior", "vamp"], "--condition goes with --prior standard only, not with vamp"),
        (["--compile"], "--compile does not know labels"),
        (["--condition", "size"], "has no factor of that name; choose label"),
    ],
)
def test_what_does_not_go_together(
    more: list[str], reason: str, digits_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--data", f"npz:{digits_npz}", *FLAGS, "--condition", "label", *more, "--out", str(tmp_path / "run")]
    assert main(argv) == 1
    assert reason in capsys.readouterr().err


def test_a_key_that_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*FLAGS, "--condition", " ", "--out", "somewhere"])
    assert "must be label or the name of a factor" in capsys.readouterr().err


def test_evaluation_and_card_know_the_condition(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate([str(run), "--samples", "2"]) == 0
    card = (run / "README.md").read_text()
    assert "Conditional: encoder and decoder are told the label of each picture (CVAE, Sohn et al. 2015)" in card
    assert "all given the label of each picture" in card
    assert "--condition label" in card
    assert evaluate([str(run), "--calibrate"]) == 0
    assert "calibration:" in capsys.readouterr().out
