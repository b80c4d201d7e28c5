"""The interface of a served kind: what its lanes are, and how data become rows and answers of the decoder become data.

There is one object for each loaded model. Knows nothing of HTTP, or of the formats in which data travel.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import Checkpoint, Manifest
from models.scores import Array
from models.vae import VAE
from service.engine.device import Device
from service.engine.lane import Lane
from service.formats.raw_items import RawItems
from service.inference.told import encoding, told_latents

if TYPE_CHECKING:
    from service.inference.pipeline import Inference, Pipeline

Floats = NDArray[np.float32]
# Latents (n, D) -> what the decoder makes of them, (n, ...).
Decode = Callable[[Floats], Awaitable[Floats]]
# (decoded (N, ...), seed) -> x (N, ...), of the same shape.
Draw = Callable[[Floats, int], Floats]
# (decoded (N, ...), x (N, ...)) -> nats (N,)
Nats = Callable[[Floats, Floats], Floats]


class ServedKind(ABC):
    """One loaded model as its kind sees it; `start` makes it. What its decoder answers is called decoded, (N, ...)."""

    at_mu_scores: ClassVar[tuple[str, ...]]  # the scores that need what is decoded at mu
    draw: Draw  # draws x from p(x given z), from what is decoded and a seed
    compares_decoded: ClassVar[bool] = False  # whether lengths of paths are those of decoded distributions
    nats: Nats | None = None  # -log p(x given z), from what is decoded
    is_density: bool = False  # then those nats may be negative

    def __init__(self, manifest: Manifest, lanes: Mapping[str, Lane], shape: tuple[int, int, int]) -> None:
        """Take the lanes by the names that `/info` shows. `shape`: (H, W, C) of the pictures that show items."""
        self.manifest, self.lanes, self.shape = manifest, lanes, shape

    @classmethod
    @abstractmethod
    async def start(cls, name: str, checkpoint: Checkpoint, device: Device) -> "ServedKind":
        """Move a model to the device, warm it up and check it there, beside whatever is served. Raises RuntimeError."""

    @abstractmethod
    def encode(
        self, pipeline: "Pipeline", items: RawItems, inference: "Inference", originals: list[NDArray[Any]] | None = None
    ) -> Coroutine[Any, Any, Floats]:
        """Return the posteriors of items, see `Pipeline.encode`."""

    @contextmanager
    def decoding(self, inference: "Inference", count: int) -> Iterator[Decode]:
        """Admit so many latents, and give a function that decodes them, all at once or in parts. Raises BatcherError."""
        with self.lanes["decode"].reserve(count) as reservation:
            decode: Decode = partial(reservation.submit, deadline=inference.deadline)
            told = inference.model.condition is not None or inference.label is not None
            yield (lambda z: decode(told_latents(inference, z))) if told else decode
        inference.timings.add(reservation)

    @abstractmethod
    def at_mu(self, wanted: Collection[str], x: NDArray[Any], decoded: Floats) -> dict[str, Array]:
        """Return those of the wanted scores that compare rows x (N, ...) with what is decoded at mu: name -> (N,)."""

    @abstractmethod
    def log_likelihood(self, x: NDArray[Any], decoded: Floats) -> Array:
        """Return log p(x given z) in nats of one row x, for each of some decoded latents: (K,)."""

    @property
    def compared_numbers(self) -> int:
        """Return P, how many numbers `compared` has of each latent."""
        return self.manifest.model.latent_dim

    def compared(self, z: Floats, decoded: Floats | None) -> Floats:
        """Return what lengths are measured by, (N, P), of latents and what is decoded: here the latents themselves."""
        return z

    def lengths(self, first: Floats, second: Floats) -> Array:
        """Return the lengths of short steps, of two `compared` (N, P) each: (N,). Here they are Euclidean distances."""
        return np.asarray(np.sqrt(np.square(first.astype(np.float64) - second).sum(1)))

    @abstractmethod
    def golden_mean(self, decoded: Floats) -> Floats:
        """Return what is decoded as the golden answers of a checkpoint have it."""


def encoder(vae: VAE) -> Callable[[Tensor], Tensor]:
    """Return the function of encoding lanes: rows (B, ...) -> (B, 3, D): mu, sigma, logvar."""

    def encode(rows: Tensor) -> Tensor:
        told, own = encoding(vae, rows)
        posterior = told.encode(own)
        return torch.stack([posterior.mu, posterior.sigma, posterior.logvar], dim=1)  # (B, 3, D)

    return encode
