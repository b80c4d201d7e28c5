"""Checkpoints in the layout of diffusers: they are read as diffusers reads them, and what cannot be read is refused."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor

import models
from models import VAE, VAEConfig, diffusers_layout
from models.checkpoint import CheckpointError, read
from models.diffusers_layout import ExtraMissing, save_diffusers
from models.diffusers_weights import HALF, WEIGHTS
from models.metric_choice import MetricChoice
from models.spatial_latents import spatial_latents
from tests.autoencoders import save_autoencoder

# Differences of float32 on one machine; the means of pixels are computed from those of diffusers, -1 to 1.
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Any]:
    return tmp_path / "kl", save_autoencoder(tmp_path / "kl")


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def assert_same(vae: VAE, original: Any, x: Tensor) -> None:
    with torch.inference_mode():
        found, wanted = vae.encode(x), original.encode(2 * x - 1).latent_dist
        torch.testing.assert_close(found.mu, wanted.mean.flatten(1), **CLOSE)
        torch.testing.assert_close(found.sigma, wanted.std.flatten(1), **CLOSE)
        mean = vae.decode(found.mu).mean
        torch.testing.assert_close(2 * mean - 1, original.decode(wanted.mean).sample, **CLOSE)


def test_it_encodes_and_decodes_as_diffusers_does(saved: tuple[Path, Any]) -> None:
    path, original = saved
    vae = models.load(path)
    assert (vae.config.shape, vae.config.latent_dim) == ((3, 16, 16), 4 * 4 * 4)
    assert_same(vae, original, pictures(3, 3, 16, 16))
    assert not vae.training
    assert not any(parameter.requires_grad for parameter in vae.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"in_channels": 1, "out_channels": 1},
        {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.1159},
        {"sample_size": [8, 16], "layers_per_block": 2},
        {"mid_block_add_attention": False, "latents_mean": [0.0, 1.0, 2.0, 3.0], "latents_std": [1.0, 1.0, 2.0, 2.0]},
    ],
)
def test_other_options(tmp_path: Path, options: dict[str, Any]) -> None:
    original = save_autoencoder(tmp_path, **options)
    vae = models.load(tmp_path)
    assert_same(vae, original, pictures(2, *vae.config.shape))


def test_the_digest_is_that_of_both_files(saved: tuple[Path, Any]) -> None:
    path, _ = saved
    before = read(path).digest
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "scaling_factor": 0.5}))
    assert read(path).digest != before


def test_the_scale_of_latents_is_that_of_the_configuration(tmp_path: Path) -> None:
    save_autoencoder(tmp_path, scaling_factor=0.25, shift_factor=0.5)
    found = spatial_latents(read(tmp_path).manifest.model)
    assert found is not None
    assert (found.channels, found.factor, found.scaling_factor, found.shift_factor) == (4, 4, 0.25, 0.5)
    assert found.usual == ([0.5] * 4, [4.0] * 4)
    assert found.shape(16, 24) == (4, 4, 6)
    assert found.size_of((4, 4, 6)) == (16, 24)


def change(path: Path, **changed: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changed}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "'UNet2DConditionModel' of diffusers; of its classes, only AutoencoderKL"),
        ({"_class_name": 7}, "class 7"),
        ({"out_channels": 1}, "in_channels 3 and out_channels 1 must be the same"),
        ({"in_channels": 4, "out_channels": 4}, "in_channels must be 1 or 3, grey or colour, not 4"),
        ({"sample_size": 18}, "each side must be a multiple of 4"),
        ({"in_channels": "3", "out_channels": "3"}, "in_channels must be 1 or 3, grey or colour, not '3'"),
        ({"sample_size": "16"}, "sample_size must be a positive integer or two"),
        ({"sample_size": 0}, "sample_size must be a positive integer or two"),
        ({"sample_size": -16}, "sample_size must be a positive integer or two"),
        ({"sample_size": [16]}, "sample_size must be a positive integer or two"),
        ({"sample_size": [16, 16, 16]}, "sample_size must be a positive integer or two"),
        ({"sample_size": 65_536}, "sample_size must be a positive integer or two, up to 65535, not 65536"),
        ({"sample_size": None}, "sample_size is null; give it a value, or leave it out"),
        ({"scaling_factor": None}, "scaling_factor is null"),
        ({"scaling_factor": math.nan}, "scaling_factor is NaN or infinite"),
        ({"shift_factor": math.inf}, "shift_factor is NaN or infinite"),
        ({"latents_mean": [0.0, 0.0, 0.0, math.nan], "latents_std": [1.0] * 4}, "latents_mean is NaN or infinite"),
        ({"scaling_factor": -0.5}, "scaling_factor must be at least 1e-06, not -0.5"),
        ({"latent_channels": -4}, "latent_channels must be an integer from 1 to 1024, not -4"),
        ({"use_quant_conv": "no"}, "use_quant_conv must be true or false, not 'no'"),
        ({"force_upcast": 1}, "force_upcast must be true or false, not 1"),
        ({"act_fn": ["silu"]}, "act_fn must be the name of a function, such as silu, not ['silu']"),
        ({"sample_size": 1}, "must be a multiple of 4"),
        ({"block_out_channels": [8] * 40}, "block_out_channels must be a list of 1 to 8"),
        ({"block_out_channels": [8, 16, 1 << 40]}, "block_out_channels must be positive integers"),
        ({"block_out_channels": [8, 16, 18]}, "diffusers cannot build it"),
        ({"block_out_channels": 8}, "block_out_channels must be a list"),
        ({"latent_channels": 10**9}, "latent_channels must be an integer from 1 to 1024"),
        ({"layers_per_block": 10**9}, "layers_per_block must be an integer from 1 to 16"),
        ({"norm_num_groups": 3}, "diffusers cannot build it"),
        ({"norm_num_groups": 8, "sample_size": 4}, "pictures of 4 x 4 pixels are too small: groups of one channel"),
        ({"down_block_types": ["AttnDownBlock2D"] * 3}, "down_block_types must list DownEncoderBlock2D once for each"),
        ({"up_block_types": ["UpDecoderBlock2D"]}, "up_block_types must list UpDecoderBlock2D once for each"),
        ({"depth": 3}, "diffusers does not know the options depth: update it, or remove them"),
        ({"act_fn": "no such"}, "diffusers cannot build it"),
        ({"scaling_factor": 0}, "scaling_factor must be at least 1e-06, not 0"),
        ({"scaling_factor": 1e-320}, "scaling_factor must be at least 1e-06"),
        ({"scaling_factor": 10**400}, "scaling_factor must be a number from"),
        ({"scaling_factor": "0.2"}, "scaling_factor must be a number from"),
        ({"shift_factor": [1]}, "shift_factor must be a number from"),
        ({"shift_factor": 1e39}, "shift_factor must be a number from"),
        ({"latents_mean": [0.0] * 4}, "latents_mean and latents_std go together"),
        ({"latents_mean": [0.0] * 3, "latents_std": [1.0] * 3}, "latents_mean must be a list of 4 numbers"),
        ({"latents_mean": [0.0] * 4, "latents_std": [0.0] * 4}, "latents_std must be at least 1e-06"),
    ],
)
def test_configurations_that_are_refused(saved: tuple[Path, Any], changed: dict[str, Any], message: str) -> None:
    path, _ = saved
    change(path, **changed)
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        read(path)
    assert str(path / "config.json") in str(caught.value)
    assert len(str(caught.value)) < 1000


def rewritten(path: Path, **changed: Any) -> dict[str, Tensor]:
    """Write other weights into a checkpoint."""
    weights: dict[str, Tensor] = {**load_file(path / WEIGHTS), **changed}
    weights = {name: tensor for name, tensor in weights.items() if tensor is not None}
    save_file(weights, path / WEIGHTS)
    return weights


def test_weights_that_are_refused(saved: tuple[Path, Any]) -> None:
    path, _ = saved
    bias = load_file(path / WEIGHTS)["decoder.conv_in.bias"]
    for changed, message in (
        ({"decoder.conv_in.bias": None}, "missing tensors: decoder.conv_in.bias"),
        ({"decoder.conv_in.bias": bias, "more": bias.clone()}, "unknown tensors: more"),
        ({"more": None, "decoder.conv_in.bias": bias[:3].clone()}, r"decoder.conv_in.bias is torch.float32 \(3,\), should be"),
        ({"decoder.conv_in.bias": bias.to(torch.int32)}, "decoder.conv_in.bias is torch.int32"),
        ({"decoder.conv_in.bias": bias * torch.nan}, "decoder.conv_in.bias has values that are not finite"),
    ):
        rewritten(path, **changed)
        with pytest.raises(CheckpointError, match=message):
            read(path)
    content = (path / WEIGHTS).read_bytes()
    (path / WEIGHTS).write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match="truncated or not a safetensors file"):
        read(path)


def test_metadata_that_cannot_be_read(saved: tuple[Path, Any]) -> None:
    path, _ = saved
    for key, value in (("pixel_sigma", "wide"), ("training_record", "{"), ("training_record", "[]")):
        save_file(load_file(path / WEIGHTS), path / WEIGHTS, {key: value})
        with pytest.raises(CheckpointError, match="pixel_sigma or training_record in its metadata"):
            read(path)
    save_file(load_file(path / WEIGHTS), path / WEIGHTS, {"pixel_sigma": "nan"})
    with pytest.raises(CheckpointError, match="sigma must be a number from 1/255"):
        read(path)


def test_attention_by_its_former_names_and_shapes(saved: tuple[Path, Any]) -> None:
    """Autoencoders of Stable Diffusion 1 have them to this day."""
    path, original = saved
    former = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = {}
    for name, tensor in load_file(path / WEIGHTS).items():
        for new, old in former.items():
            name = name.replace(f".{new}.", f".{old}.")
        weights[name] = tensor[:, :, None, None].contiguous() if name.endswith("query.weight") else tensor
    assert any(".attentions.0.query.weight" in name for name in weights)
    save_file(weights, path / WEIGHTS)
    assert_same(models.load(path), original, pictures(1, 3, 16, 16))


def test_half_precision_is_served_in_full(saved: tuple[Path, Any]) -> None:
    path, original = saved
    save_file({name: t.half() for name, t in load_file(path / WEIGHTS).items()}, path / HALF)
    (path / WEIGHTS).unlink()
    vae = models.load(path)
    assert {parameter.dtype for parameter in vae.parameters()} == {torch.float32}
    assert_same(vae, original.half().float(), pictures(1, 3, 16, 16))


@pytest.mark.parametrize("keys", ["config.json", "nothing", "_class_name"])
def test_what_is_no_checkpoint_of_diffusers(saved: tuple[Path, Any], keys: str) -> None:
    path, _ = saved
    if keys == "_class_name":
        config = json.loads((path / "config.json").read_text())
        del config["_class_name"]
        (path / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError, match=r"config.json: has no _class_name, which is AutoencoderKL for the weights"):
            read(path)
    elif keys == "nothing":
        (path / "config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"config.json: has no _class_name"):
            read(path)
    else:
        (path / "config.json").unlink()
        with pytest.raises(CheckpointError, match=r"config.json: no such file"):
            read(path)


def test_a_pipeline_is_not_read(saved: tuple[Path, Any], tmp_path: Path) -> None:
    path, _ = saved
    (tmp_path / "pipeline").mkdir()
    path.rename(tmp_path / "pipeline" / "vae")
    (tmp_path / "pipeline" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(
        CheckpointError, match=r"pipeline: is a whole pipeline .* put its folder .*pipeline/vae into the models"
    ):
        read(tmp_path / "pipeline")
    assert read(tmp_path / "pipeline" / "vae").manifest.model.shape == (3, 16, 16)


def test_what_to_install_is_said(saved: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers_layout, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match=r"pip install 'vae-service\[diffusers\]'"):
        read(saved[0])


def test_the_choice_of_a_metric_cannot_be_recorded(saved: tuple[Path, Any]) -> None:
    with pytest.raises(CheckpointError, match="is that of diffusers, in whose layout nothing more is recorded"):
        models.checkpoint.record_metric(saved[0], MetricChoice())


OPTIONS = {
    "block_out_channels": [8, 8], "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 4, "latent_channels": 2, "scaling_factor": 0.5,
}  # fmt: skip


def test_one_of_ours_is_written_for_diffusers(tmp_path: Path) -> None:
    config = VAEConfig((3, 8, 12), 2 * 4 * 6, "autoencoder_kl", OPTIONS, "gaussian", {"sigma": 0.05, "link": "identity"})
    vae = VAE(config).eval()
    models.save(tmp_path / "ours", vae)
    save_diffusers(tmp_path / "theirs", vae, {"name": "made-up"})
    original: Any = AutoencoderKL.from_pretrained(tmp_path / "theirs")
    x = pictures(2, 3, 8, 12)
    for path in (tmp_path / "ours", tmp_path / "theirs"):
        assert_same(models.load(path), original, x)
    manifest = read(tmp_path / "theirs").manifest
    assert manifest.data == {"name": "made-up", "layout": "diffusers"}
    assert manifest.model.likelihood_options == {"sigma": pytest.approx(0.05), "link": "identity"}
    assert manifest.preprocessing.fit == "exact"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (VAEConfig((3, 8, 8), 4), "for the net autoencoder_kl, not for conv"),
        (VAEConfig((3, 8, 8), 32, "autoencoder_kl", OPTIONS, "gaussian"), "with the link 'identity'"),
    ],
)
def test_what_is_not_written_for_diffusers(tmp_path: Path, config: VAEConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save_diffusers(tmp_path, VAE(config))


def test_wrong_sizes_of_a_net() -> None:
    for shape, dim, message in (
        ((3, 7, 8), 24, "each side must be a multiple of 2"),
        ((3, 8, 8), 31, "have 32 numbers, not 31"),
    ):
        with pytest.raises(ValueError, match=message):
            VAE(VAEConfig(shape, dim, "autoencoder_kl", OPTIONS))
    with pytest.raises(ValueError, match="leave out in_channels and out_channels"):
        VAE(VAEConfig((3, 8, 8), 32, "autoencoder_kl", {**OPTIONS, "in_channels": 3}))
    with pytest.raises(ValueError, match="link must be sigmoid or identity, not 'cubic'"):
        VAE(VAEConfig((3, 8, 8), 32, "autoencoder_kl", OPTIONS, "gaussian", {"link": "cubic"}))
