"""One encoder: a model on a device, with the decoders of its pictures. Knows nothing of other workers, or of stores."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from models.preprocess import Background, Invert
from models.readers.download import DataError
from service.bulk.batch_encoding import encode_batch
from service.bulk.encoded import Encoded
from service.engine.device import Device, EngineName, Precision, QueueLimits
from service.engine.errors import BatcherError, DeviceUnusable
from service.formats.decoder_processes.dispatch import Decoders
from service.formats.decoder_processes.fork_server import DecoderUnavailable
from service.formats.errors import BadInput
from service.inference.catalog import Catalog, CatalogError
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.inference.served_model import ServedModel
from service.operations.load_sources import Interrupted, LoadError, PictureBatch


@dataclass(frozen=True)
class Work:
    """What all workers of a load have in common: the model, how it computes, and how pictures are prepared.

    `digest`: that which the model must have; "" for any.
    """

    models_dir: Path
    model: str
    digest: str
    device: str
    threads: int
    limits: QueueLimits
    engine: EngineName
    precision: Precision
    max_pixels: int
    max_decoded_bytes: int
    decode_seconds: float
    background: Background | None = None
    invert: Invert | None = None


class Worker:
    """Encodes one batch after another. Call `start` before use and `close` after it."""

    def __init__(self, work: Work) -> None:
        """Start nothing yet."""
        self.work = work
        self.device = Device(work.device, work.threads, work.limits, work.engine, work.precision)
        decoders = Decoders(work.max_pixels, work.max_decoded_bytes, work.decode_seconds)
        self.pipeline = Pipeline(Catalog(self.device), decoders)
        self.turn = asyncio.Lock()  # held while a batch is in the model

    async def start(self) -> None:
        """Load the model. Raises LoadError if that fails, or if it is not the one with the digest."""
        work, catalog = self.work, self.pipeline.catalog
        try:
            self.device.start()
            await catalog.load(work.models_dir, (work.model,), work.model)
        except (CatalogError, DeviceUnusable) as error:
            raise LoadError(str(error)) from None
        found = self.model.digest
        if work.digest not in ("", found):
            raise LoadError(
                f"{work.models_dir} has another {work.model!r} now, sha256:{found} instead of sha256:{work.digest}; "
                "it must not change while it is used, and be the same on all machines"
            )

    @property
    def model(self) -> ServedModel:
        """The model, which is loaded."""
        return self.pipeline.catalog.get(self.work.model)

    async def encode(self, batch: PictureBatch) -> Encoded:
        """Encode a batch. Raises LoadError, Interrupted."""
        inference = Inference(self.model, background=self.work.background, invert=self.work.invert)
        try:
            return await encode_batch(self.pipeline, batch, inference, self.turn)
        except (BadInput, DataError) as error:
            raise LoadError(str(error)) from None
        except (BatcherError, DecoderUnavailable) as error:
            raise Interrupted(str(error)) from None

    async def close(self) -> None:
        """End the threads and processes."""
        await self.device.close()
        await self.pipeline.close()
