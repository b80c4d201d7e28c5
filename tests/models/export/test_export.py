"""python -m models.export: what it writes, what it says, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor

import models
from models import VAE, VAEConfig
from models.checkpoint import read
from models.condition import Condition
from models.export.__main__ import main
from models.export.graphs import Graph
from models.export.onnx_models import ExportError, onnx_model
from models.golden import read_golden
from models.onnx_graph import onnx_runtime
from models.preprocess import Preprocessing

ROOT = Path(models.__file__).parent.parent
SHIPPED = ROOT / "models" / "weights"


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A checkpoint of colour pictures that is told a label."""
    condition = Condition("label", ("cat", "dog", "no"), (1, 2, 3))
    config = VAEConfig((3, 12, 16), 4, "conv", {"channels": [4, 8], "hidden": 16}, condition=condition)
    torch.manual_seed(0)
    models.save(tmp_path / "pets", VAE(config), Preprocessing(3, 12, 16, fit="crop"))
    return tmp_path / "pets"


def run(path: Path, **inputs: Any) -> list[Any]:
    answers: list[Any] = onnx_runtime().InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, inputs)
    return answers


def test_a_conditional_model_has_a_label_for_each_item(told: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(told), "--onnx"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith(
        "onnx/encoder.onnx: x uint8 (batch, 3, 12, 16), label int64 (batch) "
        "-> mu float (batch, 4), sigma float (batch, 4), logvar float (batch, 4)"
    )
    assert printed[1].endswith("onnx/decoder.onnx: z float (batch, 4), label int64 (batch) -> mean float (batch, 3, 12, 16)")
    vae, labels = models.load(told), np.array([2, 0, 1, 1, 0])
    x = np.random.default_rng(0).integers(0, 256, (5, 3, 12, 16), np.uint8)
    mu, sigma, logvar = run(told / "onnx" / "encoder.onnx", x=x, label=labels)
    posterior = vae.given(torch.from_numpy(labels)).encode(torch.from_numpy(x))
    for found, wanted in ((mu, posterior.mu), (sigma, posterior.sigma), (logvar, posterior.logvar)):
        np.testing.assert_allclose(found, wanted, 1e-5, 1e-5)
    (mean,) = run(told / "onnx" / "decoder.onnx", z=mu, label=labels)
    np.testing.assert_allclose(mean, vae.given(torch.from_numpy(labels)).decode(torch.from_numpy(mu)).mean, 1e-5, 1e-5)
    (other,) = run(told / "onnx" / "decoder.onnx", z=mu[:1], label=(labels[:1] + 1) % 3)
    assert not np.allclose(other, mean[:1], atol=1e-3)


def test_the_files_say_what_they_are(told: Path, tmp_path: Path) -> None:
    assert main([str(told), "--onnx", "--out", str(tmp_path / "new" / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == ["decoder.onnx", "encoder.onnx"]
    assert not (told / "onnx").exists()
    for name in ("encoder", "decoder"):
        model = onnx.load(tmp_path / "new" / "out" / f"{name}.onnx")
        onnx.checker.check_model(model, full_check=True)
        said = {one.key: one.value for one in model.metadata_props}
        assert (said["name"], said["digest"], said["kind"]) == ("pets", read(told).digest, "picture")
        assert json.loads(said["preprocessing"]) == read(told).manifest.preprocessing.stored()
        assert json.loads(said["condition"])["values"] == ["cat", "dog", "no"]
        assert str(tmp_path).encode() not in model.SerializeToString()
        assert str(ROOT).encode() not in model.SerializeToString()


def test_the_program_of_the_document_needs_onnx_runtime_alone(tmp_path: Path) -> None:
    """Torch and our packages cannot be imported while it runs. It makes what the model makes here."""
    assert main([str(SHIPPED / "mnist"), "--onnx", "--out", str(tmp_path / "onnx")]) == 0
    text = (ROOT / "docs" / "hub.md").read_text()
    program = text.partition("## ONNX")[2].partition("```python\n")[2].partition("```")[0]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    alone = "import sys\nfor name in ('torch', 'models', 'service'): sys.modules[name] = None\n"
    shown = "\nnp.savez('found.npz', mu=mu, sigma=sigma, mean=mean)"
    done = subprocess.run([sys.executable, "-c", alone + program + shown], cwd=tmp_path, timeout=120, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    found = np.load(tmp_path / "found.npz")
    vae = models.load(SHIPPED / "mnist")
    with Image.open(ROOT / "examples" / "seven.png") as picture:
        posterior = vae.encode(torch.from_numpy(np.asarray(picture)[None, None].copy()))
    np.testing.assert_allclose(found["mu"], posterior.mu, 1e-5, 1e-5)
    np.testing.assert_allclose(found["sigma"], posterior.sigma, 1e-5, 1e-5)
    np.testing.assert_allclose(found["mean"], vae.decode(posterior.mu).mean, 1e-5, 1e-5)
    with Image.open(tmp_path / "reconstruction.png") as made:
        assert made.size == (28, 28)


def test_what_is_refused(tmp_path: Path, told: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), "--onnx"]) == 1
    assert "error: " in (error := capsys.readouterr().err)
    assert "config.json: no such file" in error
    with pytest.raises(SystemExit):
        main([str(told)])
    assert "say which format: --onnx" in capsys.readouterr().err
    (tmp_path / "file").write_bytes(b"")
    assert main([str(told), "--onnx", "--out", str(tmp_path / "file")]) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err
    assert (tmp_path / "file").read_bytes() == b""


def test_without_the_extra_the_message_says_what_to_install(
    told: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.onnx_graph.find_spec", lambda name: None)
    assert main([str(told), "--onnx"]) == 1
    assert "pip install 'vae-service[onnx]'" in capsys.readouterr().err
    assert not (told / "onnx").exists()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: (x * (2 if torch.onnx.is_in_onnx_export() else 2.001),), "answer of the odd differs from torch's answers"),
        (lambda x: (x * float("nan"),), "answer of the odd differs"),
        (lambda x: (torch.special.bessel_j0(x),), "ONNX cannot hold the odd of this model; nothing was written: "),
        (lambda x: (x + torch.zeros(len(x), 1),), "ONNX cannot hold the odd of this model; nothing was written: "),
    ],
)
def test_other_answers_than_torchs_are_never_written(function: Any, words: str, told: Path) -> None:
    x: Tensor = torch.ones(16, 2)
    with pytest.raises(ExportError, match=words):
        onnx_model(Graph("odd", function, {"x": x}, ("answer",)), read(told), "pets")


@pytest.mark.parametrize("arch", ["mlp", "conv", "gated", "residual"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "continuous_bernoulli"])
def test_every_architecture_is_exported_or_refused(
    arch: str, likelihood: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With another number of items than it was traced with. The mean of a continuous Bernoulli does not fit convolutions."""
    options: dict[str, dict[str, Any]] = {"mlp": {"hidden": [8]}, "conv": {"channels": [2, 4], "hidden": 8}}
    models.save(tmp_path, VAE(VAEConfig((1, 8, 8), 3, arch, options.get(arch, {}), likelihood)))
    refused = likelihood == "continuous_bernoulli" and arch in ("conv", "residual")
    assert main([str(tmp_path), "--onnx"]) == int(refused)
    assert (tmp_path / "onnx").exists() != refused
    error = capfd.readouterr().err
    assert ("ONNX cannot hold the decoder of this model; nothing was written" in error) == refused
    assert len(error.splitlines()) == int(refused)


def test_an_autoencoder_of_diffusers_is_exported_for_any_number_of_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime alone answers as torch does: in a process that can import neither torch nor diffusers."""
    assert main([str(SHIPPED / "sprites-kl"), "--onnx", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "encoder.onnx: x uint8 (batch, 3, 64, 64) -> mu float (batch, 256)" in printed
    assert "decoder.onnx: z float (batch, 256) -> mean float (batch, 3, 64, 64)" in printed
    checkpoint = read(SHIPPED / "sprites-kl")
    golden = read_golden(SHIPPED / "sprites-kl", checkpoint.digest, checkpoint.manifest.model)
    assert golden is not None
    np.save(tmp_path / "x.npy", golden.x)
    program = (
        "import sys\nfor name in ('torch', 'models', 'diffusers'): sys.modules[name] = None\n"
        "import numpy as np, onnxruntime\n"
        "encoder, decoder = (onnxruntime.InferenceSession(f'{name}.onnx') for name in ('encoder', 'decoder'))\n"
        "x = np.load('x.npy')\n"
        "mu, sigma, logvar = encoder.run(None, {'x': x})\n"
        "one = encoder.run(None, {'x': x[-1:]})[0]\n"
        "np.savez('found.npz', mu=mu, sigma=sigma, logvar=logvar, one=one, mean=decoder.run(None, {'z': mu})[0],"
        " single=decoder.run(None, {'z': mu[-1:]})[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=120, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    found = np.load(tmp_path / "found.npz")
    posterior = checkpoint.vae.encode(torch.from_numpy(golden.x))
    wanted = {"mu": posterior.mu, "sigma": posterior.sigma, "logvar": posterior.logvar}
    wanted["mean"] = checkpoint.vae.decode(torch.from_numpy(found["mu"])).mean
    for name, own in {**wanted, "one": posterior.mu[-1:], "single": wanted["mean"][-1:]}.items():
        np.testing.assert_allclose(found[name], own, 1e-5, 1e-5, err_msg=name)


def test_a_dump_of_another_library_is_not_passed_on(told: Path) -> None:
    """It is the first line alone, and shortened."""

    def refuse(x: Tensor) -> tuple[Tensor, ...]:
        if torch.onnx.is_in_onnx_export():
            raise RuntimeError(f"\n the reason {'x' * 900}\n  at node 17\n  at node 18\n")
        return (x,)

    with pytest.raises(ExportError) as found:
        onnx_model(Graph("odd", refuse, {"x": torch.ones(16, 2)}, ("answer",)), read(told), "pets")
    assert "nothing was written: RuntimeError: the reason xxx" in str(found.value)
    assert "node 17" not in str(found.value)
    assert len(str(found.value)) < 300
