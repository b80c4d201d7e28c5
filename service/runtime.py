"""A loaded VAE as lanes of the device: pictures in, posteriors out; latents in, pixels out.

What a lane computes is a pure deterministic function; noise is drawn outside of it. Knows nothing of HTTP or of files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import Checkpoint, Manifest
from models.vae import VAE
from service import seeds
from service.device import Device
from service.lane import Lane
from service.reconstruction import Score, is_density, score_for

Floats = NDArray[np.float32]

DRAWN_EXAMPLES = 8


@dataclass(frozen=True)
class Runtime:
    """One model, ready to serve. Rows of the lanes: see `encode` and `decode`."""

    name: str
    digest: str
    manifest: Manifest
    encode: Lane  # uint8 (C, H, W) -> float32 (3, D): mu, sigma, logvar
    encode_float: Lane  # float32 (C, H, W) in [0, 1] -> the same
    decode: Lane  # float32 (D,) -> float32 (H, W, C): the mean of the likelihood
    score: Score | None = None  # -log p(x given z) of pictures, from what `decode` answers
    is_density: bool = False  # then those nats may be negative

    @cached_property
    def label(self) -> str:
        """Name and digest, as every answer carries them."""
        return f"{self.name}@sha256:{self.digest}"

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C), as pictures travel."""
        channels, height, width = self.manifest.model.shape
        return height, width, channels

    @property
    def lanes(self) -> dict[str, Lane]:
        """The lanes by the names that `/info` shows."""
        return {"encode": self.encode, "encode_float": self.encode_float, "decode": self.decode}


async def start_runtime(name: str, checkpoint: Checkpoint, device: Device) -> Runtime:
    """Move a model to the device, warm it up and check it there. Raises RuntimeError."""
    vae = checkpoint.vae.to(device.torch_device).requires_grad_(False)
    rows, dim, shape = device.limits.max_batch, vae.config.latent_dim, vae.config.shape
    latents = seeds.standard_normal(0, rows, dim)
    # some of the examples are what the model itself draws, the others are noise of every grey
    floats = np.random.Generator(np.random.Philox(0)).random((rows, *shape), np.float32)
    with torch.inference_mode():
        likelihood = vae.decode(torch.from_numpy(latents[:DRAWN_EXAMPLES]).to(device.torch_device))
        drawn = likelihood.mean.float()
    floats[:DRAWN_EXAMPLES] = drawn.cpu().numpy().clip(0, 1)
    encode, encode_float = await device.lanes(
        encoder(vae), np.rint(floats * 255).astype(np.uint8), floats, name=f"{name} encode"
    )
    (decode,) = await device.lanes(decoder(vae), latents, name=f"{name} decode")
    score, density = score_for(likelihood), is_density(likelihood)
    runtime = Runtime(name, checkpoint.digest, checkpoint.manifest, encode, encode_float, decode, score, density)
    device.tell_of(runtime)
    return runtime


def encoder(vae: VAE) -> Callable[[Tensor], Tensor]:
    """What the lanes that encode compute: (B, C, H, W) -> (B, 3, D): mu, sigma, logvar."""

    def encode(x: Tensor) -> Tensor:
        posterior = vae.encode(x)
        return torch.stack([posterior.mu, posterior.sigma, posterior.logvar], dim=1)  # (B, 3, D)

    return encode


def decoder(vae: VAE) -> Callable[[Tensor], Tensor]:
    """What the lane that decodes computes: (B, D) -> (B, H, W, C), the mean of the likelihood."""

    def decode(z: Tensor) -> Tensor:
        return vae.decode(z).mean.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)

    return decode
