"""Loads many items from files into an output, at the encoders' speed. Knows nothing of HTTP, nor of where the encoders run.

A file that cannot be read is left out and named, and does not stop the others.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Protocol

from models.readers.download import DataError
from service.bulk.encoded import Counts, Encoded
from service.operations.load_sources import LoadError, PictureBatch, Source

# Items that an encoder gets at a time.
BATCH = 1024

# Encodes batches, and yields the results in their order.
Encoders = Callable[[AsyncIterator[PictureBatch]], AsyncGenerator[Encoded]]


class Output(Protocol):
    """Where posteriors go: it knows what is done already, so that nothing is done twice."""

    async def wanted(self, batch: PictureBatch) -> list[PictureBatch]:
        """Return what has to be encoded of a batch, in its order. Raises LoadError, StoreError."""

    async def write(self, encoded: Encoded) -> None:
        """Store a batch; batches come in the order in which they were wanted. Raises StoreError."""

    async def finish(self) -> None:
        """Finish after the last batch. Raises StoreError."""


async def load(encoders: Encoders, output: Output, sources: Sequence[Source], counts: Counts, size: int = BATCH) -> None:
    """Encode and store what is not there yet, `size` items at a time. Raises LoadError, StoreError."""
    async with aclosing(encoders(_wanted(output, sources, size))) as results:
        async for encoded in results:
            counts.add(encoded.noticed)
            await output.write(encoded)
    await output.finish()


async def _wanted(output: Output, sources: Sequence[Source], size: int) -> AsyncIterator[PictureBatch]:
    for source in sources:
        batches = source.batches(size)
        while (batch := await asyncio.to_thread(_next, batches)) is not None:
            for part in await output.wanted(batch):
                yield part


def _next(batches: Iterator[PictureBatch]) -> PictureBatch | None:
    """Return the next batch, or None at the end. Raises LoadError."""
    try:
        return next(batches, None)
    except DataError as error:
        raise LoadError(str(error)) from None
