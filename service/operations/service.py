"""Holds what operations work with once the models are loaded. Knows nothing of HTTP."""

from dataclasses import dataclass

from service.inference.pipeline import Pipeline
from service.operations.admission import Admission
from service.operations.store_access import StoreAccess


@dataclass(frozen=True, slots=True)
class Service:
    """The loaded models and the latent store.

    `regrets` bounds the pictures whose posteriors are being optimised, of all requests and models.
    `workers`: how many processes serve behind the same port, each with models of its own; this one counts.
    """

    pipeline: Pipeline
    store: StoreAccess
    regrets: Admission
    workers: int = 1

    async def close(self) -> None:
        """End the pipeline and close the store."""
        await self.pipeline.close()
        await self.store.store.close()
