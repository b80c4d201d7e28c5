"""A program in a few batch sizes (buckets), each proven to give the same answers, bit for bit.

Fixed sizes make an answer independent of its batch-mates. The bucket `max_batch` is the reference; a smaller one is used
only if its rows equal the reference's on the model's own weights, which is checked before it serves. Knows nothing of
models or requests.
"""

import logging
import time
from collections.abc import Generator
from typing import TypeVar

import numpy as np
import torch

from service.gate import DeviceLost
from service.program import Program, Rows

log = logging.getLogger(__name__)

TIMED_RUNS = 3
# from how many places of the examples a bucket is checked
CHECKED_WINDOWS = 4

T = TypeVar("T")
Steps = Generator[None, None, T]  # a batch or a few from one yield to the next: beside live traffic, each is a turn of its own


class NotInvariant(Exception):
    """An operation whose rows depend on their place in the batch: it cannot keep the promise of equal answers."""


class Operation:
    """The batch function of one lane."""

    def __init__(self, program: Program, examples: Rows) -> None:
        """`examples`: (max_batch, *row_shape), rows like those that will come, for warm-up and checks."""
        self._program, self._examples = program, examples
        self.reference = len(examples)
        self.bucket_seconds: dict[int, float] = {self.reference: 0.0}  # how long a batch takes, by its size, ascending

    def __call__(self, blocks: list[Rows]) -> list[Rows]:
        """One block of answers for each block of rows."""
        rows = sum(len(block) for block in blocks)
        try:
            try:
                output = self._program(blocks, self.bucket(rows))
            except torch.OutOfMemoryError:
                output = self._run_in_halves(np.concatenate(blocks))
        except RuntimeError as error:
            if "CUDA error" in str(error):  # sticky: every later call fails too
                raise DeviceLost(f"the device is lost: {str(error).splitlines()[0]}") from error
            raise
        answers, start = [], 0
        for block in blocks:
            answers.append(output[start : start + len(block)])
            start += len(block)
        return answers

    def bucket(self, rows: int) -> int:
        """The size of the batch that so many rows are computed in."""
        return next(bucket for bucket in self.bucket_seconds if bucket >= rows)

    def seconds(self, rows: int) -> float:
        """About how long so many rows take."""
        return self.bucket_seconds[self.bucket(rows)]

    def padding(self, rows: int) -> int:
        """How many rows are computed for nothing beside so many."""
        return self.bucket(rows) - rows

    def _run_in_halves(self, rows: Rows) -> Rows:
        """Once more after the device ran out of memory: its cache freed, in the largest bucket of half the size."""
        torch.cuda.empty_cache()
        smallest = next(iter(self.bucket_seconds))
        size = max(b for b in self.bucket_seconds if b <= max(self.bucket(len(rows)) // 2, smallest))
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return np.concatenate([self._program([part], size) for part in parts])

    # What follows runs before the operation serves, a step a turn.

    def check_reference(self) -> Steps[Rows]:
        """The reference's rows for the examples. Raises NotInvariant if they depend on their place in the batch."""
        reference = self._program([self._examples], self.reference)
        for shift in (1, self.reference // 2, self.reference - 1):
            yield
            answers = self._program([np.roll(self._examples, shift, axis=0)], self.reference)
            if not np.array_equal(np.roll(answers, -shift, axis=0), reference, equal_nan=True):
                raise NotInvariant(f"in batches of {self.reference} a row's answer depends on its place")
        self.bucket_seconds[self.reference] = yield from self._time(self.reference)
        return reference

    def try_bucket(self, bucket: int, reference: Rows) -> Steps[None]:
        """Use a smaller bucket if its rows equal the reference's and it is faster than the next one."""
        for start in range(0, self.reference - bucket + 1, self.reference // CHECKED_WINDOWS + 1):
            answers = self._program([self._examples[start : start + bucket]], bucket)
            if not np.array_equal(answers, reference[start : start + bucket], equal_nan=True):
                log.debug("batches of %d differ from those of %d: not used", bucket, self.reference)
                return
            yield
        seconds = yield from self._time(bucket)
        if seconds < next(iter(self.bucket_seconds.values())):
            self.bucket_seconds = {bucket: seconds, **self.bucket_seconds}

    def _time(self, bucket: int) -> Steps[float]:
        times = []
        for _ in range(TIMED_RUNS):
            yield
            started = time.perf_counter()
            self._program([self._examples[:bucket]], bucket)
            times.append(time.perf_counter() - started)
        return min(times)


def smaller_buckets(reference: int) -> list[int]:
    """Sizes worth a try beside the reference, the largest first: powers of two, from 16 on the middles between them too."""
    powers = [2**i for i in range(reference.bit_length())]
    return sorted((b for b in [*powers, *(3 * p // 2 for p in powers if p >= 16)] if b < reference), reverse=True)
