"""Runs that start from the weights of a checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import read, save
from models.evaluate.card import description
from models.evaluate.commands import train_command, train_commands
from models.preprocess import Preprocessing
from models.train.__main__ import main
from models.train.arguments import parse
from models.train.run import Run
from models.vae import VAE, VAEConfig

SMALL = ["--epochs", "1", "--batch-size", "32", "--device", "cpu"]

Start = Callable[..., list[str]]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of another project: no data are recorded in it."""
    torch.manual_seed(5)
    config = VAEConfig((1, 28, 28), 3, "mlp", {"hidden": [12], "activation": "elu", "dropout": 0.0})
    save(tmp_path / "saved", VAE(config), Preprocessing(1, 28, 28))
    return tmp_path / "saved"


@pytest.fixture
def argv(digits_npz: Path, tmp_path: Path, saved: Path) -> Start:
    return lambda *more: [
        "--data", f"npz:{digits_npz}", *SMALL, "--init-from", str(saved), "--out", str(tmp_path / "out"), *more
    ]  # fmt: skip


def test_its_net_is_the_default_and_its_weights_the_first(argv: Start, saved: Path) -> None:
    run = Run(parse(argv()))
    for name, tensor in read(saved).vae.state_dict().items():
        assert torch.equal(run.vae.state_dict()[name], tensor), name


def test_it_is_recorded(argv: Start, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = read(saved).digest
    assert main(argv()) == 0
    assert f"weights: from {saved}, digest {digest[:12]}" in capsys.readouterr().out
    manifest = read(tmp_path / "out").manifest
    assert manifest.data["init_from"] == {"path": str(saved), "digest": digest}
    assert f"Started from the weights of `{saved}`, digest {digest[:12]}." in description(manifest)
    assert digest in (tmp_path / "out" / "run" / "README.md").read_text()


def test_both_stages_of_a_chain_are_recorded_and_in_the_card(argv: Start, digits_npz: Path, tmp_path: Path) -> None:
    """The card has the commands of both, in their order, so that the weights can be made again."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["--data", f"npz:{digits_npz}", *SMALL, "--arch", "mlp", "--hidden", "12", "--out", str(first)]) == 0
    more = ["--objective", "iwae-dreg", "--samples", "2", "--init-from", str(first)]
    assert main(["--data", f"npz:{digits_npz}", *SMALL, *more, "--out", str(second)]) == 0
    before, after = read(first).manifest.data, read(second).manifest.data
    assert after["init_from"] == {"path": str(first), "digest": read(first).digest, "data": before}
    one, two = train_commands(second, after)
    assert one == train_command(first, before["training"])
    assert two == train_command(second, after["training"])
    assert f"--init-from {first}" in two


def test_commands_of_a_start_that_recorded_nothing() -> None:
    """Earlier versions wrote a path and a digest; a config.json of others may have anything."""
    starts: list[object] = [{"path": "a", "digest": "b"}, {"data": {}}, {"data": {"training": 3}}, 7, None]
    for start in starts:
        assert len(train_commands(Path("c"), {"training": {"data": "mnist"}, "init_from": start})) == 1


def test_a_resumed_run_does_not_need_it_any_more(argv: Start, saved: Path, tmp_path: Path) -> None:
    assert main(argv()) == 0
    saved.rename(tmp_path / "elsewhere")
    assert main(["--out", str(tmp_path / "out"), "--resume", "--epochs", "2"]) == 0
    assert read(tmp_path / "out").manifest.data["init_from"]["path"] == str(saved)


def test_another_likelihood_starts_anew(argv: Start, saved: Path) -> None:
    run = Run(parse(argv("--likelihood", "gaussian")))
    assert run.vae.config.likelihood == "gaussian"
    assert torch.equal(run.vae.net.state_dict()["encoder.1.weight"], read(saved).vae.net.state_dict()["encoder.1.weight"])


@pytest.mark.parametrize(
    ("more", "reasons"),
    [
        (["--latent-dim", "4"], ["it has 3 latent dimensions, this run has 4", "Start this run with --latent-dim 3\n"]),
        (["--hidden", "13"], ["its hidden is 12, that of this run is 13", "Start this run with --hidden 12\n"]),
        (["--prior", "vamp"], ["its prior is standard, that of this run is vamp"]),
        (["--init-from", "nowhere"], ["--init-from nowhere", "no such file"]),
    ],
)
def test_a_mismatch_is_explained(argv: Start, more: list[str], reasons: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv(*more)) == 1
    told = capsys.readouterr().err
    assert all(words in told for words in ("error: --init-from", *reasons)), told


def test_pictures_of_another_size(argv: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = VAEConfig((1, 14, 28), 3, "mlp", {"hidden": [12], "activation": "elu", "dropout": 0.0})
    save(tmp_path / "flat", VAE(config), Preprocessing(1, 14, 28))
    wanted = ["--init-from", str(tmp_path / "flat")]
    assert Run(parse(argv(*wanted))).vae.config.shape == (1, 14, 28)
    assert main(argv(*wanted, "--size", "28")) == 1
    told = capsys.readouterr().err
    assert "its pictures are 14 x 28 grey, those of this run are 28 x 28 grey. Start this run with --size 14x28\n" in told


def test_a_range_that_does_not_fit_is_named(
    argv: Start, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = read(saved)
    save(saved, checkpoint.vae, replace(checkpoint.manifest.preprocessing, range=(-1, 1.53)))
    np.savez(tmp_path / "deep.npz", images=np.arange(30 * 784, dtype=np.uint16).reshape(30, 28, 28))
    assert main(argv("--data", f"npz:{tmp_path / 'deep.npz'}", "--no-fit-prior")) == 0
    found = capsys.readouterr().out
    assert (
        f"warning: 30 of 30 pictures are partly outside of the range of --init-from {saved}, -1 to 1.53, and clipped" in found
    )
    assert "--range changes nothing" not in found
