"""The unchanged client against diffusers' own VAE, for configurations as people have them."""

from typing import Any

import pytest
import torch

from tests.live.diffusers_remote.conftest import CONFIGURATIONS
from tests.live.diffusers_remote.own_vae import DTYPES, close, latents, picture, remote_decode, remote_encode


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_answers_are_those_of_its_own_vae(configured: dict[str, Any], url: str, name: str, dtype: torch.dtype) -> None:
    vae = configured[name]
    config, endpoint = vae.config, f"{url}/diffusers/{name}"
    scale, shift, factor = config.scaling_factor, config.shift_factor or 0.0, 2 ** (len(config.block_out_channels) - 1)
    mean = torch.tensor(config.latents_mean or [shift] * config.latent_channels)[:, None, None]
    std = torch.tensor(config.latents_std or [1.0] * config.latent_channels)[:, None, None]
    z = latents(2, config.latent_channels, 5, 6, dtype=dtype)
    asked: dict[str, Any] = {"output_type": "pt", "return_type": "pt"}
    found = remote_decode(f"{endpoint}/decode", z, scaling_factor=scale, shift_factor=shift, **asked)
    assert close(found, vae.decode(z.float() / scale + shift).sample)
    with pytest.warns(FutureWarning, match="`do_scaling` is deprecated"):
        assert close(remote_decode(f"{endpoint}/decode", z, **asked), vae.decode(z.float() * std / scale + mean).sample)
    alone = [remote_decode(f"{endpoint}/decode", one, scaling_factor=scale, shift_factor=shift, **asked) for one in z.split(1)]
    assert torch.equal(found, torch.cat(alone))
    x = latents(2, 3, 5 * factor, 6 * factor, dtype=dtype)
    encoded = vae.encode(x.float()).latent_dist.mean
    assert close(remote_encode(f"{endpoint}/encode", x, scale, shift), (encoded - shift) * scale)
    assert close(remote_encode(f"{endpoint}/encode?do_scaling=true", x), (encoded - mean) / std * scale)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_picture_comes_back(configured: dict[str, Any], url: str, name: str) -> None:
    z = remote_encode(f"{url}/diffusers/{name}/encode", picture(24, 40), 0.5)
    back = remote_decode(f"{url}/diffusers/{name}/decode", z, scaling_factor=0.5, image_format="png")
    assert back.size == (40, 24)
