"""Training the net AutoencoderKL, and writing the result in the layout of diffusers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

import models
from models import VAE, VAEConfig
from models.checkpoint import read
from models.train.__main__ import main
from models.train.to_diffusers import main as to_diffusers

FLAGS = ["--arch", "autoencoder_kl", "--device", "cpu", "--no-snapshots", "--batch-size", "8", "--epochs", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of 40 pictures, 8 x 12, each of one colour with a bar."""
    noise = np.random.default_rng(0)
    pictures = np.repeat(noise.integers(0, 256, (40, 1, 1, 3)), 8, 1).repeat(12, 2).astype(np.uint8)
    pictures[:, 3:5] = 255 - pictures[:, 3:5]
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, images=pictures)
    return f"npz:{path}"


def test_a_run_becomes_a_checkpoint_of_diffusers(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    flags = [*FLAGS, "--data", data, "--conv-channels", "8,8", "--latent-dim", "48", "--likelihood", "gaussian"]
    assert main([*flags, "--out", str(run)]) == 0
    config = read(run).manifest.model
    assert config.likelihood_options == {"sigma": "optimal", "link": "identity"}
    assert (config.arch_options["latent_channels"], config.arch_options["norm_num_groups"]) == (2, 2)
    assert to_diffusers([str(run), str(out)]) == 0
    words = "from 36 pictures of the training split, those for validation among them"
    assert words in capsys.readouterr().out
    original: Any = AutoencoderKL.from_pretrained(out)
    ours, theirs = read(run), read(out)
    assert original.config.scaling_factor == theirs.manifest.model.arch_options["scaling_factor"] > 0
    assert theirs.manifest.data["training"] == ours.manifest.data["training"]
    x = torch.rand(2, 3, 8, 12)
    with torch.inference_mode():
        wanted = original.encode(2 * x - 1).latent_dist.mean.flatten(1)
        torch.testing.assert_close(theirs.vae.encode(x).mu, wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.vae.encode(x).mu, wanted, rtol=1e-5, atol=1e-5)
        both = [checkpoint.vae.decode(wanted) for checkpoint in (ours, theirs)]
        torch.testing.assert_close(both[0].log_prob(x), both[1].log_prob(x), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--latent-dim", "50"], "--latent-dim must be a multiple of 24, such as 96 for 4 channels, not 50"),
        (["--conv-channels", "8,8,8,8", "--latent-dim", "4"], "8 x 12 pixels are no multiples of 8"),
        (["--latent-dim", "24", "--hidden", "8"], "takes no --hidden, --dropout or --activation"),
        (["--latent-dim", "24", "--likelihood", "bernoulli"], "its --likelihood is gaussian, not bernoulli"),
        (["--latent-dim", "24", "--blocks", "2"], "--blocks is for --arch residual"),
    ],
)
def test_flags_that_do_not_fit(
    data: str, flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = [] if "--conv-channels" in flags else ["--conv-channels", "8,8"]
    assert main([*FLAGS, "--data", data, *known, *flags, "--out", str(tmp_path / "run")]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_what_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_diffusers([str(tmp_path / "nothing"), str(tmp_path / "out")]) == 1
    assert "no such file" in capsys.readouterr().err


def test_another_net_is_refused_before_its_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.train.to_diffusers.load_data", pytest.fail)
    models.save(tmp_path / "mlp", VAE(VAEConfig((1, 8, 8), 2, "mlp", {"hidden": [4]})), data={"name": "mnist", "training": {}})
    assert to_diffusers([str(tmp_path / "mlp"), str(tmp_path / "out")]) == 1
    assert "the layout of diffusers is for the net autoencoder_kl, not for mlp" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
