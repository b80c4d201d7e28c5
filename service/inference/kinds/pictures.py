"""Pictures: lanes from bytes and floats to posteriors, and from latents to pixels. Knows nothing of HTTP or of files."""

import math
from collections.abc import Callable, Collection, Coroutine
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import scores
from models.checkpoint import Checkpoint, Manifest
from models.condition import with_labels
from models.distributions import Gaussian, Likelihood
from models.scores import Array
from models.vae import VAE
from service.engine.device import Device
from service.engine.errors import NotFinite
from service.engine.lane import Lane
from service.formats.raw_items import RawItems
from service.inference.decoded_length import lengths, natural_for
from service.inference.kinds import picture_encoding
from service.inference.kinds.decoded_weighing import ServedAtOnce
from service.inference.kinds.served_kind import Floats, encoder
from service.inference.pixel_draws import draw_for
from service.inference.reconstruction_error import is_density, score_for
from service.inference.told import beside, decoding, in_turn
from service.latents import noise as seeds

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline

DRAWN_EXAMPLES = 8
# Pictures are compared in blocks of about so many pixels: larger arrays would be new memory, which takes longer than the sums.
BLOCK_PIXELS = 1 << 13


class ServedPictures(ServedAtOnce):
    """A model of pictures. Rows: uint8 (C, H, W), or floats in [0, 1]; decoded: float32 (H, W, C), means of the likelihood."""

    compares_decoded = True
    optimises = True
    default_scores: ClassVar[tuple[str, ...]] = ("reconstruction", "deviance")
    at_mu_scores = ("reconstruction", "unexplained", "deviance")

    def __init__(self, manifest: Manifest, lanes: dict[str, Lane], likelihood: Likelihood) -> None:
        """Take the lanes, and any p(x given z) of the model."""
        super().__init__(manifest, lanes, np.zeros((1, *manifest.model.shape), np.uint8))
        score = score_for(likelihood)
        if score is None:
            raise RuntimeError(f"no way to score pictures by {manifest.model.likelihood}")
        self._draw, self._score, self._natural = draw_for(likelihood), score, natural_for(likelihood)
        self.is_density = is_density(likelihood)
        self._likelihood = manifest.model.likelihood
        self._sigma = float(likelihood.sigma) if isinstance(likelihood, Gaussian) else None
        # Means that no sigmoid has made may be outside of [0, 1], where no picture is.
        self.decodes_data = manifest.model.likelihood_options.get("link", "sigmoid") == "sigmoid"

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.manifest.model.shape
        return height, width, channels

    @classmethod
    async def start(cls, name: str, checkpoint: Checkpoint, device: Device) -> "ServedPictures":
        vae, latents, floats, likelihood = await device.aside(
            lambda: with_examples(checkpoint, device.torch_device, device.limits.max_batch)
        )
        bytes_ = np.rint(floats * 255).astype(np.uint8)
        if (labels := in_turn(checkpoint.manifest.model.condition, len(floats))) is not None:
            bytes_, floats, latents = with_labels(bytes_, labels), with_labels(floats, labels), beside(latents, labels)
        encode, encode_float = await device.lanes(encoder(vae), bytes_, floats, name=f"{name} encode", finite=True)
        try:
            (decode,) = await device.lanes(decoder(vae), latents, name=f"{name} decode", finite=True)
        except BaseException:
            device.forget([encode, encode_float])
            raise
        return cls(checkpoint.manifest, {"encode": encode, "encode_float": encode_float, "decode": decode}, likelihood)

    def encode(
        self, pipeline: "Pipeline", items: RawItems, inference: "Inference", originals: list[NDArray[Any]] | None = None
    ) -> Coroutine[Any, Any, Floats]:
        return picture_encoding.encode(pipeline, items, inference, originals)

    def expected(self, decoded: Floats) -> Floats:
        return decoded.clip(0, 1)

    def draw(self, decoded: Floats, seed: int) -> Floats:
        return self._draw(decoded, seed)

    def nats(self, decoded: Floats, x: NDArray[Any]) -> Floats:
        return self._score(decoded, x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x)

    def at_mu(self, wanted: Collection[str], x: NDArray[Any], decoded: Floats) -> dict[str, Array]:
        means, some = decoded.transpose(0, 3, 1, 2), max(1, BLOCK_PIXELS // x[0].size)
        blocks = [(x[first : first + some], means[first : first + some]) for first in range(0, len(x), some)]
        found = {}
        if "reconstruction" in wanted:
            found["reconstruction"] = np.concatenate([scores.squared_error(*block) for block in blocks])
        if "unexplained" in wanted:
            found["unexplained"] = np.concatenate([scores.unexplained(*block) for block in blocks])
        if "deviance" in wanted:
            own = self._likelihood, self._sigma
            found["deviance"] = np.concatenate([scores.deviance(own[0], *block, own[1]) for block in blocks])
        return found

    def log_likelihood(self, x: NDArray[Any], decoded: Floats) -> Array:
        repeated = np.broadcast_to(x, (len(decoded), *x.shape))
        return scores.log_likelihood(self._likelihood, repeated, decoded.transpose(0, 3, 1, 2), self._sigma)

    @property
    def compared_numbers(self) -> int:
        return math.prod(self.manifest.model.shape)

    def compared(self, z: Floats, decoded: Floats | None) -> Floats:
        return z if decoded is None else decoded.reshape(len(decoded), -1)

    def lengths(self, first: Floats, second: Floats) -> Array:
        return lengths(self._natural, first, second)

    def golden_mean(self, decoded: Floats) -> Floats:
        return decoded.transpose(0, 3, 1, 2)


def with_examples(checkpoint: Checkpoint, device: torch.device, rows: int) -> tuple[VAE, Floats, Floats, Likelihood]:
    """Return the model on the device, warm-up rows (latents (B, D) and pictures (B, C, H, W)), and a p(x given z).

    Raises NotFinite.
    """
    vae = checkpoint.vae.to(device).requires_grad_(False)
    dim, shape = vae.config.latent_dim, vae.config.shape
    latents = seeds.standard_normal(0, rows, dim)
    # Some examples are drawn by the model itself; the others are uniform noise.
    floats = np.random.Generator(np.random.Philox(0)).random((rows, *shape), np.float32)
    with torch.inference_mode():
        drawn_from = latents[:DRAWN_EXAMPLES]
        labels = in_turn(vae.config.condition, len(drawn_from))
        told = vae.given(None if labels is None else torch.from_numpy(labels).to(device))
        likelihood = told.decode(torch.from_numpy(drawn_from).to(device))
        drawn = likelihood.mean.float()
    made = drawn.cpu().numpy()
    if bad := made.size - int(np.isfinite(made).sum()):
        raise NotFinite("the model decodes from draws of its prior", bad, made.size)
    floats[:DRAWN_EXAMPLES] = made.clip(0, 1)
    return vae, latents, floats, likelihood


def decoder(vae: VAE) -> Callable[[Tensor], Tensor]:
    """Return the function of the decoding lane: (B, D) -> (B, H, W, C), the mean of the likelihood."""

    def decode(z: Tensor) -> Tensor:
        told, own = decoding(vae, z)
        return told.decode(own).mean.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)

    return decode
