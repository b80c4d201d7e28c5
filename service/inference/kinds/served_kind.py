"""The interface of a served kind: what its lanes are, and how data become rows and answers of the decoder become data.

There is one object for each loaded model. Knows nothing of HTTP, or of the formats in which data travel.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import Checkpoint, Manifest
from models.kinds import kind_of
from models.kinds.beside import Beside, Metadata
from models.readers.download import DataError
from models.readers.found import Found
from models.scores import Array
from models.spatial_latents import SpatialLatents
from models.vae import VAE
from service.engine.device import Device
from service.engine.lane import Lane
from service.formats.raw_items import RawItems
from service.inference.told import encoding, told_latents, told_rows

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline

Floats = NDArray[np.float32]
# Latents (n, D) -> what the decoder makes of them, (n, ...).
Decode = Callable[[Floats], Awaitable[Floats]]


# The name of a score -> what each part of an item adds to it, such as each column of a row: (N, parts).
Parts = Mapping[str, Array]


class Weighing(Protocol):
    """How likely rows are at latents that were admitted."""

    async def at_mu(self, wanted: Collection[str], x: NDArray[Any], mu: Floats) -> dict[str, Array]:
        """Return those of the wanted scores that need p(x given mu), of rows x (N, ...): name -> (N,)."""

    async def log_likelihood(self, x: NDArray[Any], z: Floats) -> Array:
        """Return log p(x given z) in nats of rows x (n, ...) for each of their latents z (n, k, D): (n, k)."""


class ServedKind(ABC):
    """One loaded model as its kind sees it; `start` makes it. What its decoder answers is called decoded, (N, ...).

    Data are what answers show: rows of the preprocessing, and for pictures means of pixels, (N, H, W, C).
    """

    at_mu_scores: ClassVar[tuple[str, ...]]  # the scores that need p(x given mu)
    own_scores: ClassVar[tuple[str, ...]] = ()  # the scores that only this kind has, see `score`
    optimises: ClassVar[bool] = False  # whether there is likelihood regret
    default_scores: ClassVar[tuple[str, ...]]  # of a model without a calibration, unless others are asked for
    compares_decoded: ClassVar[bool] = False  # whether lengths of paths are those of decoded distributions
    steps: ClassVar[bool] = False  # whether data are made step by step, see `Inference.stepping`
    begun: NDArray[Any]  # only with `steps`: the beginning of an example, (1, T, ...)
    decodes_data: bool = True  # whether what is decoded are data already
    is_density: bool = False  # whether nats may be negative
    spatial: SpatialLatents | None = None  # how latents are made up that have a shape, (C, h, w)

    def __init__(self, manifest: Manifest, lanes: Mapping[str, Lane], example: NDArray[Any]) -> None:
        """Take the lanes by the names that `/info` shows, and data of one item, (1, ...)."""
        self.manifest, self.lanes, self.example = manifest, lanes, example
        # called with the name and the lane of each that is made when it is first needed
        self.tell_of: Callable[[str, Lane], None] = lambda *_: None

    @property
    def all_lanes(self) -> Mapping[str, Lane]:
        """The lanes, and those that were made since it serves."""
        return self.lanes

    def end(self, device: Device) -> None:
        """Forget all lanes, when nobody has the model any more."""
        device.forget(list(self.all_lanes.values()))

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the pictures that show items."""
        spec = self.manifest.preprocessing
        height, width, channels = kind_of(self.manifest.model.kind).pictures(self.example, spec).shape[1:]
        return height, width, channels

    @classmethod
    @abstractmethod
    async def start(cls, name: str, checkpoint: Checkpoint, device: Device) -> "ServedKind":
        """Move a model to the device, warm it up and check it there, beside whatever is served. Raises RuntimeError."""

    @abstractmethod
    def encode(
        self, pipeline: "Pipeline", items: RawItems, inference: "Inference", originals: list[NDArray[Any]] | None = None
    ) -> Coroutine[Any, Any, Floats]:
        """Return the posteriors of items, see `Pipeline.encode`."""

    async def posteriors(self, rows: NDArray[Any], inference: "Inference") -> Floats:
        """Return the posteriors of rows (N, ...), float32 (N, 3, D). Raises BatcherError."""
        with self.lanes["encode"].reserve(len(rows)) as reservation:
            answer: Floats = await reservation.submit(told_rows(inference, rows, len(rows)), inference.deadline)
        inference.timings.add(reservation)
        return answer

    @contextmanager
    def decoding(self, inference: "Inference", count: int) -> Iterator[Decode]:
        """Admit so many latents, and give a function that decodes them, all at once or in parts. Raises BatcherError."""
        with self.lanes["decode"].reserve(count) as reservation:
            decode: Decode = partial(reservation.submit, deadline=inference.deadline)
            told = inference.model.condition is not None or inference.label is not None
            yield (lambda z: decode(told_latents(inference, z))) if told else decode
        inference.timings.add(reservation)

    async def decode(self, pipeline: "Pipeline", z: Floats, inference: "Inference") -> Floats:
        """Return what the decoder makes of latents, (N, D) -> (N, ...). Raises BatcherError."""
        with self.decoding(inference, len(z)) as decode:
            return await decode(z)

    def read(self, path: Path) -> Found:
        """Read a file or folder of data as rows of the model. Raises DataError."""
        raise DataError(f"{path}: pictures are read as files")

    def beside(self, path: Path, beside: Beside) -> tuple[list[str] | None, list[Metadata]]:
        """Return the ids of the rows of a file, and their metadata, which columns of it have. Raises DataError, ValueError."""
        raise DataError(f"--id-column and --metadata-columns are for tables; {path} is none")

    def expected(self, decoded: Floats) -> NDArray[Any]:
        """Return the data that the decoder expects, (N, ...)."""
        return decoded

    @abstractmethod
    def draw(self, decoded: Floats, seed: int) -> NDArray[Any]:
        """Return data drawn from p(x given z) with the noise of a seed, (N, ...)."""

    @abstractmethod
    def nats(self, decoded: Floats, x: NDArray[Any]) -> Floats:
        """Return -log p(x given z) of rows x, (N,)."""

    @abstractmethod
    def weighing(self, pipeline: "Pipeline", inference: "Inference", count: int) -> AbstractContextManager[Weighing]:
        """Admit so many latents, and give what says how likely rows are at them. Raises BatcherError."""

    async def score(self, pipeline: "Pipeline", inference: "Inference", x: NDArray[Any]) -> Parts:
        """Return by how much each part of rows x (N, ...) adds to each of the own scores. Raises BatcherError."""
        return {}

    def step_counts(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """Return how many steps each of some rows (N, T, ...) has, (N,), if the model `steps`."""
        raise NotImplementedError("these data are not made step by step")

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
