"""Blocks of plain numbers for tests of the batcher: joined, submitted, and waited for. Knows nothing of what is computed."""

import asyncio
import itertools
from typing import Any

from service.engine.lane import Lane

Blocks = list[list[int]]

# far more than any test takes; only a defect gets there
PATIENCE_SECONDS = 20


def join(parts: Blocks) -> list[int]:
    """One block of all."""
    return list(itertools.chain.from_iterable(parts))


def start(lane: Lane, *blocks: list[int], deadline: float | None = None) -> "list[asyncio.Task[Any]]":
    """A caller for each block."""
    return [asyncio.ensure_future(lane.submit(block, deadline)) for block in blocks]


async def outcomes(tasks: "list[asyncio.Task[Any]]") -> list[Any]:
    """Return the outcome of each caller: rows or an exception."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await asyncio.gather(*tasks, return_exceptions=True)
