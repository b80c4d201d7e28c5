"""What a request needs of the engine, in one place: rows through a lane with their deadline and timings; pictures decoded
slice by slice while their rows are admitted already. Knows nothing of HTTP.
"""

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.preprocess import Pixels, Preprocessing
from service.engine.errors import DeadlineExceeded
from service.engine.lane import Lane
from service.formats import base64_text, png
from service.formats import pictures as codecs
from service.formats.decoding.cheap_pictures import quick_pixels
from service.formats.decoding.decoders import Decoders
from service.formats.pictures import EncodedPicture, Pictures
from service.http.access.refusal_pace import RefusalPace
from service.inference.catalog import Catalog
from service.inference.served_model import Floats, ServedModel
from service.operations.admission import Admission
from service.store import LatentStore
from service.thread_pool import thread_pool
from service.timings import Timings

# pictures that are decoded between two looks at the event loop; bytes and pixels of them above which they leave it
SLICE = 16
INLINE_PICTURE_BYTES = 1 << 16
INLINE_PIXELS = 128 * 128
# bytes that are parsed or written in about a millisecond
INLINE_BYTES = 1 << 18

# for texts that are parsed or written beside the event loop
THREADS = 2

T = TypeVar("T")


@dataclass(slots=True)
class Request:
    """One request on its way through the engine."""

    model: ServedModel
    deadline: float | None = None
    timings: Timings = field(default_factory=Timings)


class Engine:
    """The loaded models, the processes that decode pictures for them, and the store of latents."""

    def __init__(
        self,
        catalog: Catalog,
        max_pixels: int,
        store: LatentStore,
        decoders: int = 2,
        workers: int = 1,
        max_decoded_bytes: int = 256 << 20,
        decode_seconds: float = 10.0,
    ) -> None:
        """`decoders`: large pictures that are decoded at a time, with bounds on memory for all and on time for each.

        `workers`: processes that serve behind the same port, each with an engine of its own; this one counts.
        """
        self.catalog, self.max_pixels, self.store, self.workers = catalog, max_pixels, store, workers
        self.max_items = catalog.device.limits.max_rows
        self.refusals = RefusalPace()
        # what waits for the store, each kind with a bound as the lanes have one
        self.reads, self.searches, self.writes = (Admission(catalog.device.limits.max_queue_rows) for _ in range(3))
        # (model, means (N, H, W, C), blocks of pictures (n, C, H, W)): told of what was reconstructed
        self.tell_of_reconstructions: Callable[[ServedModel, Floats, list[NDArray[Any]]], None] = lambda *_: None
        self.decoders = Decoders(decoders, max_pixels, max_decoded_bytes, decode_seconds)
        self._pool = thread_pool(THREADS, "offload")

    @cached_property
    def version(self) -> str:
        """Of all software that answers go through: with the same one, and the same model, equal requests get equal bytes."""
        return f"{version('vae-service')}, zlib {zlib.ZLIB_RUNTIME_VERSION}, {self.catalog.device.fingerprint}"

    async def close(self) -> None:
        """End the decoders and the threads."""
        await self.decoders.close()
        self._pool.shutdown(wait=False, cancel_futures=True)  # nobody waits for what a thread is still at

    async def offload(self, size: int, work: Callable[[], T]) -> T:
        """Do work on a thread when its `size`, in bytes that go in or out, would hold the event loop up."""
        if size <= INLINE_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def in_time(self, work: Awaitable[T], deadline: float | None, changes: bool = False) -> T:
        """Work of the store, within a deadline; then it is cancelled. Raises DeadlineExceeded.

        `changes`: the work changes what is stored, so that a caller who does not wait for its end cannot know what it did.
        """
        doubt = "; what was to be changed may or may not have been changed" if changes else ""
        return await _in_time(work, deadline, f"the deadline passed before the store had answered{doubt}")

    async def through(self, lane: Lane, rows: NDArray[Any], request: Request) -> Floats:
        """Rows through a lane. Raises BatcherError."""
        with lane.reserve(len(rows)) as reservation:
            answer: Floats = await reservation.submit(rows, request.deadline)
        request.timings.add(reservation)
        return answer

    async def encode(self, pictures: Pictures, request: Request, originals: list[NDArray[Any]] | None = None) -> Floats:
        """Posteriors, float32 (N, 3, D): mu, sigma, logvar. Raises BadInput, BatcherError.

        `originals` receives the pictures as the model saw them, blocks of (n, C, H, W).
        """
        model = request.model
        if pictures.rows is not None:
            if originals is not None:
                originals.append(pictures.rows)
            floats = pictures.rows.dtype == np.float32
            return await self.through(model.encode_float if floats else model.encode, pictures.rows, request)
        waiting, spent = [], 0
        with model.encode.reserve(len(pictures)) as reservation:
            try:
                for first in range(0, len(pictures), SLICE):
                    block, spent = await self._decode(pictures.encoded[first : first + SLICE], first, request, spent)
                    if originals is not None:
                        originals.append(block)
                    if len(block) == len(pictures):
                        answer: Floats = await reservation.submit(block, request.deadline)
                        request.timings.add(reservation)
                        return answer
                    waiting.append(asyncio.ensure_future(reservation.submit(block, request.deadline)))
                parts = await asyncio.gather(*waiting)
            except BaseException:  # one bad picture, or the caller left: the rest is not needed
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
                raise
        request.timings.add(reservation)
        return np.concatenate(parts)

    async def _decode(self, encoded: Sequence[EncodedPicture], first: int, request: Request, spent: int) -> tuple[Pixels, int]:
        """A slice of pictures -> uint8 (n, C, H, W); plain ones and few small ones here, any others by the decoders.

        `spent` counts the pixels of the request before this slice, and with it after.
        """
        spec = request.model.manifest.preprocessing
        if sum(len(one) for one in encoded if isinstance(one, (bytes, str))) <= INLINE_PICTURE_BYTES:
            if first:
                await asyncio.sleep(0)  # between two slices it is the turn of others
            files = [_bytes(one, item) for item, one in enumerate(encoded, first)]
            block = self._plain(files, spec)
            if block is not None:
                return block, spent + len(block) * spec.height * spec.width
            if _are_quick(files):
                return _decode_all(files, first, spec, self.max_pixels, spent)
            encoded = files
        return await _in_time(self._decode_beside(encoded, first, spec, spent), request.deadline, LATE)

    async def _decode_beside(
        self, encoded: Sequence[EncodedPicture], first: int, spec: Preprocessing, spent: int
    ) -> tuple[Pixels, int]:
        block = []
        for item, one in enumerate(encoded, first):
            size = len(one) if isinstance(one, str) else 0
            data = await self.offload(size, partial(_bytes, one, item))
            pixels, own = await self.decoders.decode(data, spec, spent, item)
            block.append(pixels)
            spent += own
        return np.stack(block), spent

    def _plain(self, files: Sequence[bytes], spec: Preprocessing) -> Pixels | None:
        """Pictures that are the model's to the pixel, as most are, in a tenth of the time; None if one is not."""
        if spec.height * spec.width > self.max_pixels:
            return None
        block = []
        for file in files:
            pixels = png.read_plain(file, *spec.shape)
            if pixels is None:
                return None
            block.append(pixels)
        return np.stack(block) if len(block) > 1 else block[0][None]


LATE = "the deadline passed before the pictures were decoded"


async def _in_time(work: Awaitable[T], deadline: float | None, late: str) -> T:
    if deadline is None:
        return await work
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await work
    except TimeoutError:
        raise DeadlineExceeded(late) from None


def _are_quick(files: Sequence[bytes]) -> bool:
    """Whether all of them are decoded in about a millisecond."""
    pixels = 0
    for file in files:
        own = quick_pixels(file)
        if own is None or (pixels := pixels + own) > INLINE_PIXELS:
            return False
    return True


def _bytes(encoded: EncodedPicture, item: int) -> bytes:
    return encoded if isinstance(encoded, bytes) else base64_text.base64_bytes(encoded, item)


def _decode_all(files: Sequence[bytes], first: int, spec: Preprocessing, max_pixels: int, spent: int) -> tuple[Pixels, int]:
    block = []
    for item, file in enumerate(files, first):
        image = codecs.open_picture(file, max_pixels, item)
        spent += image.width * image.height
        codecs.check_sum(spent, max_pixels, item)
        block.append(codecs.picture_pixels(image, spec, item))
    return np.stack(block), spent
