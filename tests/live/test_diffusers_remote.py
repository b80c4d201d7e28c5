"""The unchanged client of diffusers, `remote_decode` and `remote_encode`, against diffusers' own VAE in this process."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils import remote_utils
from diffusers.video_processor import VideoProcessor
from PIL import Image
from torch import Tensor

import models
from service.latents.noise import standard_normal

from .server import serving

# What it returns depends on its arguments in ways that its types do not say.
remote_decode: Any = remote_utils.remote_decode
remote_encode: Any = remote_utils.remote_encode
KEY = "a-key-for-the-url-0123456789"
SCALE, SHIFT, FACTOR = 0.3611, 0.1159, 8
# Half the distance of two neighbouring numbers, relative to them, and a little for the last bits of float32.
PRECISION = {torch.float32: 0.0, torch.float16: 2**-11, torch.bfloat16: 2**-8}
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def url(vae: Any) -> Iterator[str]:
    """The address of a service of it, which needs a key, with the key in it."""
    arguments = ("--models-dir", str(vae.directory), "--default-model", "grey", "--max-rows", "8", "--max-batch", "8")
    with serving(*arguments, variables={"VAE_API_KEYS": f"app infer {KEY}"}) as server:
        yield server.url.replace("http://", f"http://app:{KEY}@")


@pytest.fixture(scope="module")
def decoder(url: str) -> str:
    return f"{url}/diffusers/tiny-kl/decode"


@pytest.fixture(scope="module")
def encoder(url: str) -> str:
    return f"{url}/diffusers/tiny-kl/encode"


def latents(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(13)).to(dtype)


def picture(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def close(found: Tensor, expected: Tensor) -> bool:
    """Whether numbers are the expected ones, rounded to the type of the former."""
    error, size = (found.float() - expected).abs(), expected.abs()
    return found.shape == expected.shape and bool((error <= TOLERANCE + 1.01 * PRECISION[found.dtype] * size).all())


def alike(found: Image.Image, expected: Image.Image, levels: int = 1) -> bool:
    """Whether two pictures differ by at most so many levels of brightness, which rounding may make."""
    assert found.size == expected.size
    difference = np.abs(np.asarray(found).astype(int) - np.asarray(expected).astype(int))
    return int(difference.max()) <= levels


@pytest.mark.parametrize("dtype", list(PRECISION), ids=str)
@pytest.mark.parametrize("sides", [(8, 8), (5, 12)])
def test_tensors_are_those_of_its_own_vae(vae: Any, decoder: str, dtype: torch.dtype, sides: tuple[int, int]) -> None:
    z = latents(2, 4, *sides, dtype=dtype)
    found = remote_decode(decoder, z, output_type="pt", return_type="pt", scaling_factor=SCALE, shift_factor=SHIFT)
    assert isinstance(found, Tensor)
    assert found.dtype == dtype
    assert close(found, vae.decode(z.float() / SCALE + SHIFT).sample)


@pytest.mark.parametrize("dtype", list(PRECISION), ids=str)
def test_pictures_are_those_of_its_own_processor(vae: Any, decoder: str, dtype: torch.dtype) -> None:
    z = latents(1, 4, 8, 12, dtype=dtype)
    processor = VaeImageProcessor()
    (expected,) = processor.postprocess(vae.decode(z.float() / SCALE).sample, output_type="pil")
    levels = {torch.float32: 1, torch.float16: 1, torch.bfloat16: 2}[dtype]
    shared: dict[str, Any] = {"endpoint": decoder, "tensor": z, "scaling_factor": SCALE}
    by_tensor = remote_decode(output_type="pt", processor=processor, **shared)
    assert alike(by_tensor, expected, levels)
    by_bytes = remote_decode(output_type="pt", partial_postprocess=True, **shared)
    assert alike(by_bytes, expected)
    bytes_alone = remote_decode(output_type="pt", return_type="pt", partial_postprocess=True, **shared)
    assert bytes_alone.dtype == torch.uint8
    assert np.array_equal(bytes_alone[0].numpy(), np.asarray(by_bytes))
    png = remote_decode(output_type="pil", image_format="png", **shared)
    assert png.format == "png"
    assert np.array_equal(np.asarray(png), np.asarray(by_bytes))
    jpg = remote_decode(output_type="pil", **shared)
    assert jpg.format == "jpeg"
    assert jpg.size == expected.size
    grey, expected_grey = (np.asarray(one.convert("L")).astype(int) for one in (jpg, expected))
    assert np.abs(grey - expected_grey).mean() < 4
    (by_processor,) = remote_decode(output_type="pil", processor=processor, **shared)
    assert alike(by_processor, expected, levels)


def test_several_pictures_come_as_tensors(vae: Any, decoder: str) -> None:
    z = latents(3, 4, 8, 8)
    expected = VaeImageProcessor().postprocess(vae.decode(z / SCALE).sample, output_type="pil")
    shared: dict[str, Any] = {"endpoint": decoder, "tensor": z, "scaling_factor": SCALE}
    for found in (
        remote_decode(output_type="pt", partial_postprocess=True, **shared),
        remote_decode(output_type="pil", processor=VaeImageProcessor(), **shared),
    ):
        assert all(map(alike, found, expected))
    with pytest.raises(RuntimeError, match="a picture file has one picture, but the tensor has 3 latents"):
        remote_decode(output_type="pil", **shared)


def test_scaling_is_done_as_it_is_asked_for(vae: Any, decoder: str) -> None:
    z = latents(1, 4, 8, 8)

    def decoded(**scaling: Any) -> Any:
        return remote_decode(decoder, z, output_type="pt", return_type="pt", **scaling)

    assert close(decoded(do_scaling=False), vae.decode(z).sample)
    assert close(decoded(scaling_factor=0.5), vae.decode(z / 0.5).sample)
    assert close(decoded(scaling_factor=0.5, shift_factor=-1), vae.decode(z / 0.5 - 1).sample)
    assert close(decoded(do_scaling=False, scaling_factor=0.5), vae.decode(z).sample)  # the client sends neither
    with pytest.warns(FutureWarning, match="`do_scaling` is deprecated"):
        assert close(decoded(), vae.decode(z / SCALE + SHIFT).sample)
    with pytest.warns(FutureWarning, match="`do_scaling` is deprecated"):
        assert close(decoded(shift_factor=1), vae.decode(z / SCALE + 1).sample)


def test_packed_latents_are_unpacked(vae: Any, decoder: str) -> None:
    z = latents(2, 4, 8, 12)
    packed = z.reshape(2, 4, 4, 2, 6, 2).permute(0, 2, 4, 1, 3, 5).reshape(2, 24, 16)
    found = remote_decode(
        decoder, packed, output_type="pt", return_type="pt", scaling_factor=SCALE, height=64, width=100
    )  # 4 pixels are left over
    assert close(found, vae.decode(z / SCALE).sample)


@pytest.mark.parametrize("dtype", list(PRECISION), ids=str)
def test_a_batch_has_the_bits_of_single_ones(decoder: str, encoder: str, dtype: torch.dtype) -> None:
    z = latents(5, 4, 8, 8, dtype=dtype)
    together, *alone = (
        remote_decode(decoder, some, output_type="pt", return_type="pt", scaling_factor=SCALE) for some in (z, *z.split(1))
    )
    assert torch.equal(together, torch.cat(alone))
    x = latents(5, 3, 64, 64, dtype=dtype).clamp(-1, 1)
    together, *alone = (remote_encode(encoder, some, SCALE, SHIFT) for some in (x, *x.split(1)))
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("dtype", list(PRECISION), ids=str)
@pytest.mark.parametrize("sides", [(64, 64), (40, 96)])
def test_latents_are_those_of_its_own_vae(vae: Any, encoder: str, dtype: torch.dtype, sides: tuple[int, int]) -> None:
    x = latents(2, 3, *sides, dtype=dtype)
    mean = vae.encode(x.float()).latent_dist.mean
    for found, expected in (
        (remote_encode(encoder, x), mean),
        (remote_encode(encoder, x, SCALE), mean * SCALE),
        (remote_encode(encoder, x, SCALE, SHIFT), (mean - SHIFT) * SCALE),
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


def refused(call: Any, *arguments: Any, **named: Any) -> str:
    """Return the error that the client raises, which is JSON with a text in `error`."""
    with pytest.raises(RuntimeError) as caught:
        call(*arguments, **named)
    (body,) = caught.value.args
    assert isinstance(body["error"], str)
    return str(body["error"])


def test_what_is_not_served_is_refused_in_words(url: str, decoder: str, encoder: str) -> None:
    z, x = latents(1, 4, 8, 8), latents(1, 3, 64, 64)
    scaled: dict[str, Any] = {"scaling_factor": SCALE}
    video = {"output_type": "pt", "processor": VideoProcessor(), **scaled}
    assert "are those of a video" in refused(remote_decode, decoder, latents(1, 4, 3, 8, 8), **video)
    assert "decode pictures, not videos" in refused(remote_decode, decoder, z, output_type="mp4", return_type="mp4", **scaled)
    assert "(N, 4, h, w), not [1, 16, 8, 8]" in refused(remote_decode, decoder, latents(1, 16, 8, 8), **scaled)
    assert "(N, 3, H, W), not [1, 4, 64, 64]" in refused(remote_encode, encoder, latents(1, 4, 64, 64))
    assert "a video has to be sent as its pictures" in refused(remote_encode, encoder, latents(1, 3, 2, 64, 64))
    assert "unsqueeze(0)" in refused(remote_encode, encoder, latents(3, 64, 64))
    assert "not 'float64'; " in refused(remote_decode, decoder, z.double(), **scaled)
    assert "not 'uint8'; " in refused(remote_encode, encoder, x.to(torch.uint8))
    assert "1 of the 256 numbers of the tensor are NaN" in refused(
        remote_decode, decoder, z.put(torch.tensor(3), torch.tensor(torch.nan)), **scaled
    )
    assert "image_format must be jpg or png, not 'webp'" in refused(remote_decode, decoder, z, image_format="webp", **scaled)
    assert "unknown_model: " in refused(remote_decode, f"{url}/diffusers/none/decode", z, **scaled)
    assert "the latents of 'grey' have no shape" in refused(remote_decode, f"{url}/diffusers/grey/decode", z, **scaled)
    assert "too_many_items: " in refused(
        remote_decode, decoder, latents(9, 4, 8, 8), output_type="pt", return_type="pt", **scaled
    )
    assert "not_found: " in refused(remote_decode, f"{url}/diffusers/tiny-kl/decod", z, **scaled)
    no_key = decoder.replace(f"app:{KEY}@", "")
    assert "unauthorized: " in refused(remote_decode, no_key, z, **scaled)
    assert "the API key is not valid" in refused(remote_encode, encoder.replace(KEY, "wrong"), x)


def test_statuses(decoder: str, encoder: str) -> None:
    def status(endpoint: str, query: str, body: bytes = bytes(1024), method: str = "POST") -> int:
        answer = requests.request(method, f"{endpoint}?{query}", data=body, timeout=60)
        assert answer.ok or isinstance(answer.json()["error"], str)
        return answer.status_code

    whole = "shape=1&shape=4&shape=8&shape=8&dtype=float32"
    assert status(decoder, whole) == 200
    assert status(decoder, whole, bytes(1023)) == 400
    assert status(decoder, f"{whole}&shape=0") == 422
    assert status(decoder, whole, method="GET") == 405
    assert status(encoder, "", b"no picture") == 415
    assert status(encoder, "", b"") == 400
