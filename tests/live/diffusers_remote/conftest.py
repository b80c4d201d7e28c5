"""A service of an untrained AutoencoderKL that diffusers has saved, and the same model in this process."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

import models
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


@pytest.fixture(scope="session")
def server(vae: Any) -> Iterator[Server]:
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
