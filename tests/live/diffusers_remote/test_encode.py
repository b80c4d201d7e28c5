"""The unchanged `remote_encode` of diffusers against diffusers' own VAE in this process."""

from io import BytesIO
from typing import Any

import pytest
import requests
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from service.latents.noise import standard_normal
from tests.live.diffusers_remote.own_vae import (
    DTYPES,
    FACTOR,
    SCALE,
    SHIFT,
    close,
    latents,
    picture,
    remote_decode,
    remote_encode,
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sides", [(64, 64), (40, 96)])
def test_latents_are_those_of_its_own_vae(vae: Any, encoder: str, dtype: torch.dtype, sides: tuple[int, int]) -> None:
    x = latents(2, 3, *sides, dtype=dtype)
    mean = vae.encode(x.float()).latent_dist.mean
    for found, expected in (
        (remote_encode(encoder, x), mean),
        (remote_encode(encoder, x, SCALE), mean * SCALE),
        (remote_encode(encoder, x, SCALE, SHIFT), (mean - SHIFT) * SCALE),
        (remote_encode(f"{encoder}?do_scaling=true", x), (mean - SHIFT) * SCALE),
    ):
        assert found.dtype == dtype
        assert close(found, expected)


@pytest.mark.parametrize("sides", [(64, 64), (40, 96), (71, 45)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "1"])
def test_a_picture_is_prepared_as_its_own_processor_does(vae: Any, encoder: str, sides: tuple[int, int], mode: str) -> None:
    shown = picture(*sides).convert(mode)
    x = VaeImageProcessor(vae_scale_factor=FACTOR).preprocess(shown.convert("RGB"))
    found = remote_encode(encoder, shown, SCALE, SHIFT)
    assert found.dtype == torch.float32
    assert close(found, (vae.encode(x).latent_dist.mean - SHIFT) * SCALE)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparency_is_dropped_as_convert_does(vae: Any, encoder: str, mode: str) -> None:
    """Colours of transparent pixels are those that are stored; other doors blend them with a background."""
    shown = picture(64, 96).convert(mode)
    file = BytesIO()
    if mode in ("RGBA", "LA"):
        shown.putalpha(Image.linear_gradient("L").resize(shown.size))
        shown.save(file, "PNG")
    else:
        shown.save(file, "PNG", transparency=bytes(range(256)) if mode == "P" else 128)
    read = Image.open(file)
    assert read.has_transparency_data
    x = VaeImageProcessor(vae_scale_factor=FACTOR).preprocess(read.convert("RGB"))
    assert close(remote_encode(encoder, read, SCALE), vae.encode(x).latent_dist.mean * SCALE)


def test_a_picture_comes_back(encoder: str, decoder: str) -> None:
    shown = picture(72, 96)
    z = remote_encode(encoder, shown, SCALE, SHIFT)
    assert z.shape == (1, 4, 9, 12)
    back = remote_decode(decoder, z, scaling_factor=SCALE, shift_factor=SHIFT, image_format="png")
    assert back.size == shown.size


def test_a_draw_from_the_posterior_has_a_seed(vae: Any, encoder: str) -> None:
    x = latents(2, 3, 64, 64).clamp(-1, 1)
    posterior = vae.encode(x).latent_dist
    eps = torch.from_numpy(standard_normal(7, 2, 256)).reshape(2, 4, 8, 8)
    found = remote_encode(f"{encoder}?mode=sample&seed=7", x, SCALE)
    assert close(found, (posterior.mean + posterior.std * eps) * SCALE)
    assert not torch.equal(remote_encode(f"{encoder}?mode=sample", x), remote_encode(f"{encoder}?mode=sample", x))


def test_a_picture_that_was_resized_is_reported(encoder: str) -> None:
    def warnings(shown: Image.Image) -> str | None:
        file = BytesIO()
        shown.save(file, "PNG")
        answer = requests.post(encoder, data=file.getvalue(), timeout=60)
        assert answer.ok
        return answer.headers.get("x-warnings")

    assert warnings(picture(64, 96)) is None
    assert warnings(picture(64, 97)) == "1"
