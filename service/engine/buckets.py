"""A program in a few batch sizes (buckets), each proven to give the same answers, bit for bit.

Fixed sizes make an answer independent of its batch-mates. The bucket `max_batch` is the reference; a smaller one is used
only if its rows equal the reference's on the model's own weights, which is checked before it serves. Knows nothing of
models or requests.
"""

import logging
import time
from collections.abc import Generator, Mapping
from typing import TypeVar

import numpy as np
import torch

from service.engine.errors import DeviceLost
from service.engine.programs.torch_program import Program, Rows

log = logging.getLogger(__name__)

# from how many places of the examples a bucket is checked; the fastest of these runs is its time
CHECKED_WINDOWS = 4

T = TypeVar("T")
Steps = Generator[None, None, T]  # a batch or a few from one yield to the next: beside live traffic, each is a turn of its own


class NotInvariant(Exception):
    """An operation whose rows depend on their place in the batch: it cannot keep the promise of equal answers."""


class Operation:
    """The batch function of one lane."""

    def __init__(self, program: Program, examples: Rows, bucket_seconds: Mapping[int, float] | None = None) -> None:
        """`examples`: (max_batch, *row_shape), rows like those that will come, for warm-up and checks.

        `bucket_seconds`: buckets that were proven elsewhere.
        """
        self._program, self._examples = program, examples
        self.reference = len(examples)
        # how long a batch takes, by its size, ascending
        self.bucket_seconds = dict(bucket_seconds or {self.reference: 0.0})

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
        times: list[float] = []
        reference = self._run(self._examples, times)
        for shift in (1, self.reference // 2, self.reference - 1):
            yield
            answers = self._run(np.roll(self._examples, shift, axis=0), times)
            if not np.array_equal(np.roll(answers, -shift, axis=0), reference, equal_nan=True):
                raise NotInvariant(f"in batches of {self.reference} a row's answer depends on its place")
        self.bucket_seconds[self.reference] = min(times)
        return reference

    def try_bucket(self, bucket: int, reference: Rows) -> Steps[None]:
        """Use a smaller bucket if its rows equal the reference's and it is faster than the next one."""
        times: list[float] = []
        for start in _windows(self.reference, bucket):
            yield
            answers = self._run(self._examples[start : start + bucket], times)
            if not np.array_equal(answers, reference[start : start + bucket], equal_nan=True):
                log.debug("batches of %d differ from those of %d: not used", bucket, self.reference)
                return
        if min(times) < next(iter(self.bucket_seconds.values())):
            self.bucket_seconds = {bucket: min(times), **self.bucket_seconds}

    def _run(self, rows: Rows, times: list[float]) -> Rows:
        """A batch of its own; how long it took is added to the times."""
        started = time.perf_counter()
        answers = self._program([rows], len(rows))
        times.append(time.perf_counter() - started)
        return answers


def _windows(reference: int, bucket: int) -> list[int]:
    """Where in the examples a bucket is checked: from the first rows to the last."""
    return [int(start) for start in np.linspace(0, reference - bucket, CHECKED_WINDOWS)]


def smaller_buckets(reference: int) -> list[int]:
    """Sizes worth a try beside the reference, the largest first: powers of two, from 16 on the middles between them too."""
    powers = [2**i for i in range(reference.bit_length())]
    return sorted((b for b in [*powers, *(3 * p // 2 for p in powers if p >= 16)] if b < reference), reverse=True)
