"""What kinds share whose rows are made by their preprocessing at once: rows are admitted, made, and encoded as one block.

Knows nothing of HTTP.
"""

from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from service.formats.errors import Unusable
from service.formats.raw_items import RawItems
from service.inference.deadline import in_time
from service.inference.kinds.served_kind import Floats, ServedKind

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline

# Making a row takes about as long as parsing so many bytes of JSON for each of its numbers.
BYTES_PER_NUMBER = 64


class ServedRows(ServedKind):
    """A model whose preprocessing has `rows(items)`, which raises ValueErrors with `reason` and `item`."""

    def encode(
        self, pipeline: "Pipeline", items: RawItems, inference: "Inference", originals: list[NDArray[Any]] | None = None
    ) -> Coroutine[Any, Any, Floats]:
        return self._encode(pipeline, items, inference, originals)

    async def _encode(
        self, pipeline: "Pipeline", items: RawItems, inference: "Inference", originals: list[NDArray[Any]] | None
    ) -> Floats:
        rows = items.rows
        if rows is None:
            rows = await self.made(pipeline, items, inference)
        if originals is not None:
            originals.append(rows)
        self.look_at(rows, items, inference)
        posteriors = await self.posteriors(rows, inference)
        self.warn(posteriors, inference)
        return posteriors

    async def made(self, pipeline: "Pipeline", items: RawItems, inference: "Inference") -> NDArray[Any]:
        """Return the rows of raw items, (N, ...), made on a thread if that takes long. Raises BadInput, DeadlineExceeded."""
        numbers = len(items) * int(np.prod(self.manifest.model.shape)) + sum(map(len, items.raw))
        work = pipeline.offload(BYTES_PER_NUMBER * numbers, partial(self.rows_of, items))
        return await in_time(work, inference.deadline, "the deadline passed while the items were read")

    def warn(self, posteriors: Floats, inference: "Inference") -> None:
        """Warn of posteriors (N, 3, D) that are unusual."""
        check = inference.model.kl_check
        if check is not None:
            for i in check.suspects(posteriors):
                check.warn(posteriors[i], None, i, None, inference.warnings)

    def look_at(self, rows: NDArray[Any], items: RawItems, inference: "Inference") -> None:
        """Warn of rows that cannot be right."""

    def rows_of(self, items: RawItems) -> NDArray[Any]:
        """Return the rows of raw items, (N, ...). Raises BadInput."""
        try:
            rows: NDArray[Any] = self.manifest.preprocessing.rows(items.raw)
        except ValueError as error:
            item = None if items.alone else getattr(error, "item", None)
            raise Unusable(getattr(error, "reason", str(error)), item) from None
        return rows
