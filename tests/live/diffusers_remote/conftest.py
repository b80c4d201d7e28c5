"""A service of an untrained AutoencoderKL that diffusers has saved, and the same model in this process."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

import models
from tests.autoencoders import save_autoencoder
from tests.live.diffusers_remote.own_vae import KEY, SCALE, SHIFT
from tests.live.server import Server, serving


@pytest.fixture(scope="session")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An untrained AutoencoderKL of four levels, saved where `endpoint` serves it, beside a VAE of another kind."""
    directory = tmp_path_factory.mktemp("kl")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind: Any = AutoencoderKL
        made = kind(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 16, 16),
            layers_per_block=1,
            norm_num_groups=4,
            sample_size=64,
            scaling_factor=SCALE,
            shift_factor=SHIFT,
        ).eval()
        made.save_pretrained(directory / "tiny-kl")
        models.save(directory / "grey", models.VAE(models.VAEConfig((1, 8, 8), 3, "mlp", {"hidden": [16]})))
    made.directory = directory
    return made.requires_grad_(False)


# Configurations as people have them, from one level to three, with latents of 4, 8 and 16 channels.
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "one-level": {"block_out_channels": (16,), "latent_channels": 16, "sample_size": 16},
    "no-quant": {
        **{"block_out_channels": (8, 16), "latent_channels": 8, "sample_size": 16, "force_upcast": False},
        **{"use_quant_conv": False, "use_post_quant_conv": False, "scaling_factor": 1.5305, "shift_factor": 0.0609},
    },
    "channel-scales": {
        **{"norm_num_groups": 8, "layers_per_block": 2, "sample_size": [16, 24], "mid_block_add_attention": False},
        **{"latents_mean": [0.1, 0.2, 0.3, 0.4], "latents_std": [1.0, 2.0, 3.0, 4.0]},
    },
}


@pytest.fixture(scope="session")
def configured(vae: Any) -> dict[str, Any]:
    """Untrained ones of other configurations, which the same service serves under their names."""
    with torch.random.fork_rng():
        return {
            name: save_autoencoder(vae.directory / name, **options).requires_grad_(False)
            for name, options in CONFIGURATIONS.items()
        }


@pytest.fixture(scope="session")
def server(vae: Any, configured: dict[str, Any]) -> Iterator[Server]:
    """A service of it, which needs a key. It must end with status 0, and log no traceback."""
    arguments = ("--models-dir", str(vae.directory), "--default-model", "grey", "--max-rows", "8", "--max-batch", "8")
    with serving(*arguments, variables={"VAE_API_KEYS": f"app infer {KEY}"}) as server:
        yield server


@pytest.fixture(scope="session")
def url(server: Server) -> str:
    """The address of the service with the key in it."""
    return server.url.replace("http://", f"http://app:{KEY}@")


@pytest.fixture(scope="session")
def decoder(url: str) -> str:
    return f"{url}/diffusers/tiny-kl/decode"


@pytest.fixture(scope="session")
def encoder(url: str) -> str:
    return f"{url}/diffusers/tiny-kl/encode"
