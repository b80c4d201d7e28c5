"""python -m models.convert: models with pythae's default nets give the same answers here, and nothing pickled is run."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear, relu

import models
from models.checkpoint import read
from models.convert.__main__ import main
from models.evaluate.__main__ import main as evaluate

DATA = Path(__file__).parents[2] / "data" / "digits.npz"
CONFIG = {
    "name": "VAEConfig", "input_dim": [1, 28, 28], "latent_dim": 5, "uses_default_encoder": True, "uses_default_decoder": True,
    "reconstruction_loss": "mse",
}  # fmt: skip
SIZES = {
    "decoder.layers.0.0": (512, 5), "decoder.layers.1.0": (784, 512), "encoder.layers.0.0": (512, 784),
    "encoder.embedding": (5, 512), "encoder.log_var": (5, 512),
}  # fmt: skip


def weights() -> dict[str, Tensor]:
    """Weights with the names and sizes of pythae 0.1.2."""
    noise = torch.Generator().manual_seed(0)
    found = {f"{name}.weight": 0.05 * torch.randn(size, generator=noise) for name, size in SIZES.items()}
    return found | {f"{name}.bias": torch.randn(size[0], generator=noise) for name, size in SIZES.items()}


def saved(path: Path, content: Any = None, **changed: Any) -> Path:
    """Save what pythae saves, or other content of model.pt."""
    path.mkdir()
    (path / "model_config.json").write_text(json.dumps(CONFIG | changed))
    (path / "environment.json").write_text(json.dumps({"name": "EnvironmentConfig", "python_version": "3.11"}))
    torch.save({"model_state_dict": weights()} if content is None else content, path / "model.pt")
    return path


def through(own: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return linear(x, own[f"{name}.weight"], own[f"{name}.bias"])


@pytest.mark.parametrize(("loss", "likelihood"), [("mse", "gaussian"), ("bce", "bernoulli")])
def test_the_same_answers(loss: str, likelihood: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "theirs", name="BetaVAEConfig", reconstruction_loss=loss, beta=4.0)
    assert main([str(path), "--out", str(tmp_path / "ours")]) == 0
    printed = capsys.readouterr().out
    assert "BetaVAE of pythae, mlp with hidden [512], D = 5, shape (1, 28, 28); likelihood " + likelihood in printed
    vae, own = models.load(tmp_path / "ours"), weights()
    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    hidden = relu(through(own, "encoder.layers.0.0", x.flatten(1)))
    posterior = vae.encode(x)
    torch.testing.assert_close(posterior.mu, through(own, "encoder.embedding", hidden))
    torch.testing.assert_close(posterior.logvar, through(own, "encoder.log_var", hidden))
    decoded = through(own, "decoder.layers.1.0", relu(through(own, "decoder.layers.0.0", posterior.mu))).sigmoid()
    torch.testing.assert_close(vae.decode(posterior.mu).mean, decoded.view(4, 1, 28, 28))
    z, target = posterior.mu, x.round()
    nats = vae.decode(z).log_prob(target) - vae.decode(z + 1).log_prob(target)  # without constants
    if loss == "mse":
        other = vae.decode(z + 1).mean
        wanted = 0.5 * ((other - target) ** 2).flatten(1).sum(1) - 0.5 * ((decoded.view_as(x) - target) ** 2).flatten(1).sum(1)
        torch.testing.assert_close(nats, wanted, rtol=1e-4, atol=1e-3)


def test_it_is_measured_and_its_card_says_where_it_is_from(tmp_path: Path) -> None:
    assert main([str(saved(tmp_path / "theirs")), "--out", str(tmp_path / "ours")]) == 0
    assert evaluate([str(tmp_path / "ours"), "--data", f"npz:{DATA}", "--samples", "3", "--device", "cpu"]) == 0
    card = (tmp_path / "ours" / "README.md").read_text()
    assert "Converted from a VAE of pythae." in card
    assert "## Measured by" in card
    assert "models.train" not in card
    assert read(tmp_path / "ours").manifest.data["converted_from"]["reconstruction_loss"] == "mse"


class Trap:
    """An object whose pickle makes a directory when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_nothing_pickled_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trap = Trap(tmp_path / "sprung")
    path = saved(tmp_path / "hostile", {"model_state_dict": weights(), "more": trap})
    assert main([str(path), "--out", str(tmp_path / "ours")]) == 1
    error = capsys.readouterr().err
    assert "model.pt: is damaged or has more than tensors, which is not read because a pickle may run any code" in error
    assert "weights_only" not in error, "torch's advice to run the code is not passed on"
    path = saved(tmp_path / "custom")
    (path / "encoder.pkl").write_bytes(pickle.dumps(trap))
    assert main([str(path), "--out", str(tmp_path / "ours")]) == 1
    assert "has nets of its own, which are code" in capsys.readouterr().err
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "VQVAEConfig"}, "the name is 'VQVAEConfig', and only these are converted: VAEConfig"),
        ({"uses_default_decoder": False}, "has nets of its own"),
        ({"reconstruction_loss": "l1"}, "the reconstruction_loss is 'l1', known are mse, bce"),
        ({"reconstruction_loss": ["mse"]}, "the reconstruction_loss is ['mse'], known are mse, bce"),
        (
            {"latent_dim": 6},
            "do not fit together: the input_dim [1, 28, 28] and the latent_dim 6 need (6, 512) numbers in "
            "encoder.embedding.weight, and it has (5, 512)\n",
        ),
        ({"latent_dim": 1 << 20}, "the latent_dim 1048576 need (1048576, 512) numbers"),
        ({"latent_dim": "5"}, "model_config.json and model.pt do not fit together"),
        ({"input_dim": [784]}, "model_config.json and model.pt do not fit together"),
        ({"input_dim": None}, "input_dim must be a list of integers and latent_dim an integer, not (None, 5)"),
    ],
)
def test_what_is_no_such_model_is_said(
    changed: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(saved(tmp_path / "theirs", **changed)), "--out", str(tmp_path / "ours")]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()


def test_broken_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = saved(tmp_path / "theirs"), ["--out", str(tmp_path / "ours")]
    whole = (path / "model.pt").read_bytes()
    for content, words in (
        (whole[: len(whole) // 2], "model.pt: cannot be read as weights of torch"),
        (b"", "model.pt: cannot be read as weights of torch"),
    ):
        (path / "model.pt").write_bytes(content)
        assert main([str(path), *out]) == 1
        assert words in capsys.readouterr().err
    short = {name: value for name, value in weights().items() if not name.startswith("encoder.log_var")}
    for i, (other, words) in enumerate((
        ({"model_state_dict": short}, "model.pt: has no 'encoder.log_var.weight' of pythae's default nets"),
        ({"state": weights()}, "model.pt: has no model_state_dict with tensors"),
        ({"model_state_dict": weights() | {"encoder.embedding.bias": torch.full((5,), torch.nan)}}, "not finite"),
    )):  # fmt: skip
        assert main([str(saved(tmp_path / f"other-{i}", other)), *out]) == 1
        assert words in capsys.readouterr().err
    (path / "model.pt").unlink()
    assert main([str(path), *out]) == 1
    assert "model.pt: no such file" in capsys.readouterr().err
    (path / "model_config.json").write_text("{")
    assert main([str(path), *out]) == 1
    assert "model_config.json: cannot be read as JSON" in capsys.readouterr().err
    shutil.rmtree(path)
    assert main([str(path), *out]) == 1
    assert "model_config.json: no such file" in capsys.readouterr().err


def test_an_older_checkpoint_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = saved(tmp_path / "theirs"), tmp_path / "ours"
    assert main([str(path), "--out", str(out)]) == 0
    digest = read(out).digest
    assert main([str(path), "--out", str(out)]) == 1
    assert "has a checkpoint already" in capsys.readouterr().err
    assert read(out).digest == digest
