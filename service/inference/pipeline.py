"""From data to posteriors and from latents to data: rows go through a lane with their deadline and timings.

Knows nothing of stores, operations or HTTP.
"""

import zlib
from collections.abc import Callable, Coroutine
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

from isal import ISAL_VERSION
from numpy.typing import NDArray

from service.engine.lane import Lane
from service.formats.decoder_processes.dispatch import Decoders
from service.formats.raw_items import RawItems
from service.inference.catalog import Catalog
from service.inference.inference import Inference
from service.inference.served_model import Floats, ServedModel
from service.thread_pool import Offload


class Pipeline:
    """The loaded models, and the processes and threads that decode pictures and long texts for them."""

    def __init__(self, catalog: Catalog, decoders: Decoders) -> None:
        """Take over models and decoder processes. `close` ends the latter, but not the device."""
        self.catalog, self.decoders, self.max_pixels = catalog, decoders, decoders.max_pixels
        self.max_items = catalog.device.limits.max_rows
        # Called with (model, means (N, H, W, C), blocks of originals (n, C, H, W)) after each reconstruction.
        self.tell_of_reconstructions: Callable[[ServedModel, Floats, list[NDArray[Any]]], None] = lambda *_: None
        self.offload = Offload()

    @cached_property
    def version(self) -> str:
        """The software that computes answers: the same version and the same model give equal requests equal bytes."""
        compression = f"zlib {zlib.ZLIB_RUNTIME_VERSION}, ISA-L {ISAL_VERSION}"
        return f"{version('vae-service')}, {compression}, {self.catalog.device.fingerprint}"

    async def close(self) -> None:
        """End the decoders and the threads."""
        await self.decoders.close()
        self.offload.close()

    async def through(self, lane: Lane, rows: NDArray[Any], inference: Inference) -> Floats:
        """Send rows through a lane and return its answers. Raises BatcherError."""
        with lane.reserve(len(rows)) as reservation:
            answer: Floats = await reservation.submit(rows, inference.deadline)
        inference.timings.add(reservation)
        return answer

    def encode(
        self, items: RawItems, inference: Inference, originals: list[NDArray[Any]] | None = None
    ) -> Coroutine[Any, Any, Floats]:
        """Return the posteriors of items, float32 (N, 3, D): mu, sigma, logvar. Raises BadInput, BatcherError.

        `originals` receives the items as the model saw them, blocks of rows. `inference.warnings` are replaced.
        """
        inference.warnings.clear()
        return inference.model.kind.encode(self, items, inference, originals)

    def decode(self, z: Floats, inference: Inference) -> Coroutine[Any, Any, Floats]:
        """Return what the decoder makes of latents (N, D), as the kind of the model has it. Raises BatcherError."""
        return inference.model.kind.decode(self, z, inference)

    async def data(self, decoded: Floats, inference: Inference, seed: int | None = None) -> NDArray[Any]:
        """Return the data of what is decoded, (N, ...): those that are expected, or with a seed draws from p(x given z)."""
        kind = inference.model.kind
        if seed is not None:
            words_and_noise = 16 * decoded.size  # bytes
            return await self.offload(words_and_noise, partial(kind.draw, decoded, seed))
        return decoded if kind.decodes_data else await self.offload(decoded.nbytes, partial(kind.expected, decoded))
