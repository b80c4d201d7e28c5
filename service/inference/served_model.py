"""A loaded VAE as lanes of the device: pictures in, posteriors out; latents in, pixels out.

What a lane computes is a pure deterministic function; noise is drawn outside of it. Knows nothing of HTTP or of files.
"""

import asyncio
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.calibration import Calibration
from models.checkpoint import Checkpoint, Manifest
from models.distributions import Gaussian, Likelihood
from models.golden import Golden
from models.kl_range import KlRange
from models.vae import VAE
from service.engine.device import Device, Precision
from service.engine.lane import Lane
from service.inference.decoded_length import Natural, natural_for
from service.inference.picture_warnings import KlCheck
from service.inference.pixel_draws import Draw, draw_for
from service.inference.reconstruction_error import Score, is_density, score_for
from service.inference.regret_lane import RegretLane
from service.latents import noise as seeds

Floats = NDArray[np.float32]

DRAWN_EXAMPLES = 8
# The tolerance of a golden answer is that of float32; other precisions multiply it.
SLACK: Mapping[Precision, float] = {"float32": 1, "tf32": 10, "bf16": 100}


class WrongAnswer(Exception):
    """A model that does not answer as its golden answer says."""


@dataclass(frozen=True)
class ServedModel:
    """One model, ready to serve. Rows of the lanes: see `encode` and `decode`."""

    name: str
    digest: str
    manifest: Manifest
    encode: Lane  # uint8 (C, H, W) -> float32 (3, D): mu, sigma, logvar
    encode_float: Lane  # float32 (C, H, W) in [0, 1] -> the same
    decode: Lane  # float32 (D,) -> float32 (H, W, C): the mean of the likelihood
    regret: RegretLane  # makes a lane when it is first needed
    draw: Draw  # pixels from p(x given z), from what `decode` answers and a seed
    natural: Natural  # the natural parameters of p(x given z), from what `decode` answers
    score: Score | None = None  # -log p(x given z) of pictures, from what `decode` answers
    is_density: bool = False  # then those nats may be negative
    kl_check: KlCheck | None = None  # None for a model whose card does not have the KL of its test pictures
    sigma: float | None = None  # that of a Gaussian likelihood
    calibration: Calibration | None = None  # what is usual for the model
    examples: NDArray[np.uint8] | None = None  # (N, C, H, W), pictures to try it with; None if none came with it

    @cached_property
    def label(self) -> str:
        """Name and digest, as every answer carries them."""
        return f"{self.name}@sha256:{self.digest}"

    @property
    def latent_dim(self) -> int:
        """D, the size of a latent."""
        return self.manifest.model.latent_dim

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C), as pictures travel."""
        channels, height, width = self.manifest.model.shape
        return height, width, channels

    @property
    def lanes(self) -> dict[str, Lane]:
        """The lanes by the names that `/info` shows."""
        made = {"encode": self.encode, "encode_float": self.encode_float, "decode": self.decode}
        return made if self.regret.lane is None else {**made, "regret": self.regret.lane}


async def start_model(
    name: str,
    checkpoint: Checkpoint,
    device: Device,
    kl_range: KlRange | None = None,
    calibration: Calibration | None = None,
    read: Callable[[], Checkpoint] | None = None,
    examples: NDArray[np.uint8] | None = None,
) -> ServedModel:
    """Move a model to the device, warm it up and check it there, beside whatever is served. Raises RuntimeError.

    `read` reads the checkpoint again if somebody asks for regret; without it, the checkpoint stays in memory.
    Its lanes end when nobody has the model any more: neither the catalog nor a request.
    """
    vae, latents, floats, likelihood = await device.aside(lambda: _with_examples(checkpoint, device))
    name_of = f"{name} encode", f"{name} decode"
    encode, encode_float = await device.lanes(encoder(vae), np.rint(floats * 255).astype(np.uint8), floats, name=name_of[0])
    try:
        (decode,) = await device.lanes(decoder(vae), latents, name=name_of[1])
    except BaseException:
        device.forget([encode, encode_float])
        raise
    draw, score, density = draw_for(likelihood), score_for(likelihood), is_density(likelihood)
    sigma = float(likelihood.sigma) if isinstance(likelihood, Gaussian) else None
    check = None if kl_range is None else KlCheck(kl_range, checkpoint.manifest.model.latent_dim, calibration)
    regret = RegretLane(name, checkpoint.digest, read or (lambda: checkpoint), device)
    model = ServedModel(
        name,
        checkpoint.digest,
        checkpoint.manifest,
        encode,
        encode_float,
        decode,
        regret,
        draw,
        natural_for(likelihood),
        score,
        density,
        check,
        sigma,
        calibration,
        examples,
    )
    loop = asyncio.get_running_loop()

    def forget() -> None:  # It may run on any thread and under any lock, so the loop does the work.
        with suppress(RuntimeError):  # The loop may be closed.
            loop.call_soon_threadsafe(device.forget, [encode, encode_float, decode])
            loop.call_soon_threadsafe(regret.end)

    weakref.finalize(model, forget).atexit = False
    return model


def _with_examples(checkpoint: Checkpoint, device: Device) -> tuple[VAE, Floats, Floats, Likelihood]:
    """Return the model on the device, warm-up rows (latents (B, D) and pictures (B, C, H, W)), and a p(x given z)."""
    vae = checkpoint.vae.to(device.torch_device).requires_grad_(False)
    rows, dim, shape = device.limits.max_batch, vae.config.latent_dim, vae.config.shape
    latents = seeds.standard_normal(0, rows, dim)
    # Some examples are drawn by the model itself; the others are uniform noise.
    floats = np.random.Generator(np.random.Philox(0)).random((rows, *shape), np.float32)
    with torch.inference_mode():
        likelihood = vae.decode(torch.from_numpy(latents[:DRAWN_EXAMPLES]).to(device.torch_device))
        drawn = likelihood.mean.float()
    floats[:DRAWN_EXAMPLES] = drawn.cpu().numpy().clip(0, 1)
    return vae, latents, floats, likelihood


async def check_golden(model: ServedModel, golden: Golden, precision: Precision) -> None:
    """Compare a model's answers with its golden answer. Raises WrongAnswer."""
    rows = [await model.encode.submit(golden.x[i : i + 1]) for i in range(len(golden.x))]  # One at a time: max_rows may be 1.
    means = [await model.decode.submit(golden.mu[i : i + 1]) for i in range(len(golden.mu))]
    posterior, mean = np.concatenate(rows), np.concatenate(means).transpose(0, 3, 1, 2)  # (N, 3, D), (N, C, H, W)
    found = golden.difference(posterior[:, 0], posterior[:, 1], mean, SLACK[precision])
    if found:
        raise WrongAnswer(f"its answers differ from those recorded beside its weights (golden.safetensors): {found}")


def encoder(vae: VAE) -> Callable[[Tensor], Tensor]:
    """Return the function of the encoding lanes: (B, C, H, W) -> (B, 3, D): mu, sigma, logvar."""

    def encode(x: Tensor) -> Tensor:
        posterior = vae.encode(x)
        return torch.stack([posterior.mu, posterior.sigma, posterior.logvar], dim=1)  # (B, 3, D)

    return encode


def decoder(vae: VAE) -> Callable[[Tensor], Tensor]:
    """Return the function of the decoding lane: (B, D) -> (B, H, W, C), the mean of the likelihood."""

    def decode(z: Tensor) -> Tensor:
        return vae.decode(z).mean.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)

    return decode
