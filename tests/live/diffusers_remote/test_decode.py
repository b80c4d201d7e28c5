"""The unchanged `remote_decode` of diffusers against diffusers' own VAE in this process."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from tests.live.diffusers_remote.own_vae import DTYPES, SCALE, SHIFT, alike, close, latents, remote_decode, remote_encode


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sides", [(8, 8), (5, 12)])
def test_tensors_are_those_of_its_own_vae(vae: Any, decoder: str, dtype: torch.dtype, sides: tuple[int, int]) -> None:
    z = latents(2, 4, *sides, dtype=dtype)
    found = remote_decode(decoder, z, output_type="pt", return_type="pt", scaling_factor=SCALE, shift_factor=SHIFT)
    assert isinstance(found, Tensor)
    assert found.dtype == dtype
    assert close(found, vae.decode(z.float() / SCALE + SHIFT).sample)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
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


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_batch_has_the_bits_of_single_ones(decoder: str, encoder: str, dtype: torch.dtype) -> None:
    z = latents(5, 4, 8, 8, dtype=dtype)
    together, *alone = (
        remote_decode(decoder, some, output_type="pt", return_type="pt", scaling_factor=SCALE) for some in (z, *z.split(1))
    )
    assert torch.equal(together, torch.cat(alone))
    x = latents(5, 3, 64, 64, dtype=dtype).clamp(-1, 1)
    together, *alone = (remote_encode(encoder, some, SCALE, SHIFT) for some in (x, *x.split(1)))
    assert torch.equal(together, torch.cat(alone))


def test_company_changes_no_bit(decoder: str) -> None:
    several = [latents(1 + i % 3, 4, 8, (8, 12)[i % 2]) * i for i in range(12)]

    def decoded(z: Tensor) -> Tensor:
        found: Tensor = remote_decode(decoder, z, output_type="pt", return_type="pt", do_scaling=False)
        return found

    alone = [decoded(z) for z in several]
    with ThreadPoolExecutor(len(several)) as pool:
        together = list(pool.map(decoded, several))
    assert all(map(torch.equal, together, alone))
