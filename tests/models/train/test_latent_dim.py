"""How many latent dimensions a run gets: what a trial finds in the pictures, and nothing else of the run changes by it."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.checkpoint import read
from models.train import latent_dim
from models.train.__main__ import main
from models.train.arguments import parse
from models.train.choices import choose
from models.train.latent_dim import LATENTS, active_axes, fill_in_latent_dim, is_by_trial, trial_steps

FAST = ["--arch", "mlp", "--hidden", "32", "--batch-size", "32", "--device", "cpu", "--no-snapshots", "--no-fit-prior"]


def sources(count: int, n: int = 600) -> Tensor:
    """Pictures of 8 x 8 that differ in so many independent greys, each of them a block of pixels."""
    blocks = torch.randint(0, 2, (n, count), generator=torch.Generator().manual_seed(0)) * 200 + 20
    return blocks.repeat_interleave(64 // count, 1).view(n, 1, 8, 8).to(torch.uint8)


def chosen(x: Tensor, run_steps: int, *argv: str) -> argparse.Namespace:
    args = parse(["--data", "npz:some.npz", "--out", "x", "--likelihood", "gaussian", "--sigma", "0.1", *FAST, *argv])
    choose(args, x, len(x))
    fill_in_latent_dim(args, x, run_steps)
    return args


@pytest.mark.parametrize(
    ("run_steps", "steps"), [(20, 0), (714, 0), (715, 50), (2000, 140), (22_250, 1000), (1_000_000, 1000)]
)
def test_a_trial_takes_a_small_share_of_the_run(run_steps: int, steps: int) -> None:
    assert trial_steps(run_steps) == steps


def test_active_axes_do_not_depend_on_how_the_latents_are_turned() -> None:
    mu = torch.randn(4000, 6) * torch.tensor([1.0, 1.0, 0.2, 0.05, 0.01, 0.0])
    turned = mu @ torch.linalg.qr(torch.randn(6, 6)).Q
    assert (turned.var(0) > 0.01).all()  # by Burda's count all six would be active
    assert active_axes(mu) == active_axes(turned) == 3
    assert active_axes(torch.randn(50, 1)) == 1


def test_pictures_with_more_to_tell_get_more_latents(capsys: pytest.CaptureFixture[str]) -> None:
    few, many = (chosen(sources(count), 5000) for count in (2, 32))
    assert few.latent_dim == 8
    assert 32 <= many.latent_dim <= 64
    reason = many.choices["latent dimensions"]
    found = re.fullmatch(
        r"(\d+) latent dimensions: a trial of 350 steps found (\d+) that matter \(principal axes of mu whose variance is "
        r"above 0.01\); a quarter more is ([\d.]+)(, and the next multiple of 8 is (\d+))?",
        reason,
    )
    assert found is not None
    assert float(found[3]) == 1.25 * int(found[2])
    assert int(found[1]) == many.latent_dim == (int(found[5]) if found[4] else float(found[3]))
    assert "trial: 350 steps with 64 latent dimensions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("active", "dim", "words"),
    [
        (10, 16, "found 10 that matter (principal axes of mu whose variance is above 0.01); a quarter more is 12.5, and the "
         "next multiple of 8 is 16"),
        (32, 40, "; a quarter more is 40"),
        (60, 64, "; a quarter more is 75, and the next multiple of 8 is 80, but a trial chooses at most 64"),
    ],
)  # fmt: skip
def test_the_reason_says_how_it_counted(active: int, dim: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_dim, "_trained_means", lambda *_: torch.zeros(3, 2))
    monkeypatch.setattr(latent_dim, "active_axes", lambda _: active)
    args = chosen(sources(4), 5000)
    assert args.latent_dim == dim
    assert args.choices["latent dimensions"].endswith(words)
    short = chosen(sources(4), 2000)
    if active == 10:
        assert short.latent_dim == 24
        wanted = "twice as many, because so few steps find too few, is 20, and the next multiple of 8 is 24"
        assert short.choices["latent dimensions"].endswith(wanted)
    assert is_by_trial(args.choices)
    assert not is_by_trial(chosen(sources(4), 500).choices)


def test_more_latents_than_values_get_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    chosen(sources(4), 500, "--latent-dim", "65")
    assert "warning: --latent-dim 65 is more than the 64 values of a picture" in capsys.readouterr().out
    chosen(sources(4), 500, "--latent-dim", "64")
    assert "warning" not in capsys.readouterr().out


def test_pictures_that_are_all_equal_get_the_fewest() -> None:
    assert chosen(torch.full((100, 1, 8, 8), 7, dtype=torch.uint8), 800).latent_dim == 8


def test_flags_presets_and_short_runs_have_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_dim, "by_trial", lambda *_: pytest.fail("a trial"))
    assert chosen(sources(4), 5000, "--latent-dim", "7").latent_dim == 7
    assert "latent dimensions" not in chosen(sources(4), 5000, "--latent-dim", "7").choices
    assert chosen(sources(4), 5000, "--preset", "pytorch").latent_dim == 20
    short = chosen(sources(4), 714)
    assert (short.latent_dim, short.choices["latent dimensions"]) == (
        LATENTS,
        "20 latent dimensions, the default, because 714 steps are too few for a trial",
    )
    assert "--objective kl-only" in chosen(sources(4), 5000, "--objective", "kl-only").choices["latent dimensions"]


def test_a_run_is_the_same_as_one_whose_user_names_that_number(
    digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(latent_dim, "LEAST_STEPS", 5)
    flags = ["--data", f"npz:{digits_npz}", *FAST, "--steps", "80"]
    assert main([*flags, "--out", str(tmp_path / "chosen")]) == 0
    manifest = read(tmp_path / "chosen").manifest
    dim = manifest.model.latent_dim
    reason = manifest.data["choices"]["latent dimensions"]
    assert "a trial of 5 steps found" in reason
    assert f"net: {reason}" in capsys.readouterr().out
    assert main([*flags, "--latent-dim", str(dim), "--out", str(tmp_path / "named")]) == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("chosen", "named")]
    assert weights[0] == weights[1]

    monkeypatch.setattr(latent_dim, "by_trial", lambda *_: pytest.fail("a trial of a run that goes on"))
    assert main(["--resume", "--steps", "90", "--out", str(tmp_path / "chosen")]) == 0
    longer = read(tmp_path / "chosen").manifest
    assert (longer.model.latent_dim, longer.data["choices"]["latent dimensions"]) == (dim, reason)


def last_warnings(out: Path) -> list[Any]:
    return list(json.loads((out / "run" / "metrics.jsonl").read_text().splitlines()[-1])["warnings"])


def test_a_run_whose_latents_are_all_active_says_that_more_would_help(
    digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--data", f"npz:{digits_npz}", *FAST, "--epochs", "20", "--lr", "0.01"]
    assert main([*flags, "--latent-dim", "3", "--out", str(tmp_path / "short")]) == 0
    assert last_warnings(tmp_path / "short") == []  # After few steps all latents always are.
    monkeypatch.setattr(latent_dim, "LEAST_STEPS", 5)
    assert main([*flags, "--latent-dim", "3", "--out", str(tmp_path / "three")]) == 0
    assert "all 3 latent dimensions are active: a larger --latent-dim, such as 6" in " ".join(
        last_warnings(tmp_path / "three")
    )
    first = json.loads((tmp_path / "three" / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["warnings"] == []
    assert main([*flags, "--latent-dim", "2", "--out", str(tmp_path / "plane")]) == 0
    assert last_warnings(tmp_path / "plane") == []  # a plane is wanted for pictures of it
