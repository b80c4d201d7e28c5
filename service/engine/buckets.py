"""Runs a program in a few fixed batch sizes (buckets), each checked to give the same answers bit for bit.

Fixed sizes make an answer independent of the other rows in its batch. The bucket `max_batch` is the reference; a smaller one
is used only if its rows equal the reference's on the model's own weights, which is checked before it serves. Knows nothing
of models or requests.
"""

import logging
import math
import time
from collections.abc import Generator, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from service.engine.errors import DeviceLost
from service.engine.programs.torch_program import Program, Rows

log = logging.getLogger(__name__)

# A bucket is checked on at least so many slices of rows; the fastest of these runs counts as its time.
CHECKED_WINDOWS = 4
# And on so many rows; on fewer if the answer to a row has more than FEW_NUMBERS. Small batches may use other kernels, which
# round otherwise, and where the answers are few numbers this may show in one row of ten only.
CHECKED_ROWS, FEW_NUMBERS = 64, 128
# The first run of a program warms it up, so it is timed again, unless the first run took longer.
LONG_SECONDS = 1.0
# If the examples are fewer than these rows, so many times as many are made of them at most.
MOST_CROSSINGS = 8

T = TypeVar("T")
Steps = Generator[None, None, T]  # runs a few batches between two yields, so that live traffic can be served at each yield


class NotInvariant(Exception):
    """A program's answers depend on a row's place in the batch, so that equal requests would get unequal answers."""


class Reference(NamedTuple):
    """What the reference answers to rows: those that smaller buckets are compared with."""

    rows: Rows
    answers: Rows


class BucketedProgram:
    """The batch function of one lane: a program and the buckets in which it runs."""

    def __init__(self, program: Program, examples: Rows, bucket_seconds: Mapping[int, float] | None = None) -> None:
        """Wrap a program.

        `examples`: typical rows (max_batch, *row_shape) for warm-up and checks. `bucket_seconds`: buckets that were already
        checked with the same program, and the seconds that a batch of each takes.
        """
        self._program, self._examples = program, examples
        self.engine = program.engine
        self.reference = len(examples)
        # seconds that a batch takes, by bucket in ascending order
        self.bucket_seconds = dict(bucket_seconds or {self.reference: 0.0})

    def __call__(self, blocks: list[Rows]) -> list[Rows]:
        """Return one block of answers for each block of rows."""
        rows = sum(len(block) for block in blocks)
        try:
            try:
                output = self._program(blocks, self.bucket(rows))
            except torch.OutOfMemoryError:
                output = self._run_in_halves(np.concatenate(blocks))
        except RuntimeError as error:
            if "CUDA error" in str(error):  # after such an error every later call fails too
                raise DeviceLost(f"the device is lost: {str(error).splitlines()[0]}") from error
            raise
        answers, start = [], 0
        for block in blocks:
            answers.append(output[start : start + len(block)])
            start += len(block)
        return answers

    def bucket(self, rows: int) -> int:
        """Return the smallest bucket that holds so many rows."""
        return next(bucket for bucket in self.bucket_seconds if bucket >= rows)

    def seconds(self, rows: int) -> float:
        """Estimate how long a batch of so many rows takes."""
        return self.bucket_seconds[self.bucket(rows)]

    def padding(self, rows: int) -> int:
        """Return how many rows of padding a batch of so many rows needs."""
        return self.bucket(rows) - rows

    def _run_in_halves(self, rows: Rows) -> Rows:
        """Try once more after the device ran out of memory: free its cache and use buckets of at most half the size."""
        torch.cuda.empty_cache()
        smallest = next(iter(self.bucket_seconds))
        size = max(b for b in self.bucket_seconds if b <= max(self.bucket(len(rows)) // 2, smallest))
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return np.concatenate([self._program([part], size) for part in parts])

    # The generators below run before the program serves; other batches may run at each yield.

    def check_reference(self, most_rows: int = CHECKED_ROWS) -> Steps[Reference]:
        """Return the reference's answers to the examples, and to more rows if these are fewer than what is to be checked.

        Raise NotInvariant if the answers depend on a row's place in the batch.
        """
        times: list[float] = []
        answers = self._run(self._examples, times)
        # A lone row has no other place; running it again only tells how long that takes, which a long run tells at once.
        lone = (0,) if times[0] < LONG_SECONDS else ()
        for shift in (1, self.reference // 2, self.reference - 1) if self.reference > 1 else lone:
            yield
            shifted = self._run(np.roll(self._examples, shift, axis=0), times)
            if not np.array_equal(np.roll(shifted, -shift, axis=0), answers, equal_nan=True):
                raise NotInvariant(f"in batches of {self.reference} a row's answer depends on its place in the batch")
        found = [Reference(self._examples, answers)]
        draws = math.ceil(rows_to_check(answers, most_rows) / self.reference)
        for draw in range(1, min(draws, MOST_CROSSINGS, self.reference)):  # The next one would be the examples again.
            yield
            rows = crossed(self._examples, draw)
            found.append(Reference(rows, self._run(rows, times)))
        self.bucket_seconds[self.reference] = min(times)
        return Reference(*map(np.concatenate, zip(*found, strict=True)))

    def try_bucket(self, bucket: int, reference: Reference, most_rows: int = CHECKED_ROWS) -> Steps[None]:
        """Use a smaller bucket if its rows equal the reference's and it is faster than the next one."""
        times: list[float] = []
        rows = min(rows_to_check(reference.answers, most_rows), len(reference.rows))
        windows = max(CHECKED_WINDOWS, math.ceil(rows / bucket))
        # The slices are spread over all rows.
        for place, start in enumerate(np.linspace(0, len(reference.rows) - bucket, windows, dtype=int)):
            if place % (windows // CHECKED_WINDOWS) == 0:
                yield
            own = slice(start, start + bucket)
            if not np.array_equal(self._run(reference.rows[own], times), reference.answers[own], equal_nan=True):
                log.debug("batches of %d give other bits than batches of %d and are not used", bucket, self.reference)
                return
        if min(times) < next(iter(self.bucket_seconds.values())):
            self.bucket_seconds = {bucket: min(times), **self.bucket_seconds}

    def _run(self, rows: Rows, times: list[float]) -> Rows:
        """Run one batch and append its duration to `times`."""
        started = time.perf_counter()
        answers = self._program([rows], len(rows))
        times.append(time.perf_counter() - started)
        return answers


def rows_to_check(answers: Rows, most: int) -> int:
    """Return on how many rows a bucket is checked: fewer than `most` if the answer to a row has many numbers."""
    return min(max(CHECKED_WINDOWS, math.ceil(most * FEW_NUMBERS / max(1, answers[:1].size))), most)


def crossed(rows: Rows, draw: int) -> Rows:
    """Return rows of which each has its second half from another one, so that there are more examples than were given."""
    found = rows.copy()
    flat = found.reshape(len(rows), -1)
    half = flat.shape[1] // 2
    flat[:, half:] = np.roll(flat[:, half:], draw, axis=0)
    return found


def smaller_buckets(reference: int) -> list[int]:
    """Return the sizes to try below the reference, largest first: powers of two, and 1.5 times those from 16 on."""
    powers = [2**i for i in range(reference.bit_length())]
    return sorted((b for b in [*powers, *(3 * p // 2 for p in powers if p >= 16)] if b < reference), reverse=True)
