"""From pictures to posteriors: rows go through a lane with their deadline and timings; pictures are decoded slice by slice
while their rows are admitted already. Knows nothing of stores, operations or HTTP.
"""

import asyncio
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
from isal import ISAL_VERSION
from numpy.typing import NDArray

from models.depth import Depth, Note, Range, depth_of
from models.ink import Invert, in_ink
from models.preprocess import Pixels, Preprocessing
from models.transparency import Background
from service.engine.lane import Lane, Reservation
from service.formats import base64_text, png
from service.formats import pictures as codecs
from service.formats.decoder_processes.dispatch import Decoders
from service.formats.errors import BadInput, Unsupported
from service.formats.inline_decoding import quick_pixels
from service.formats.pictures import EncodedPicture, Pictures
from service.inference.catalog import Catalog
from service.inference.deadline import in_time
from service.inference.picture_warnings import Warnings
from service.inference.served_model import Floats, ServedModel
from service.thread_pool import Offload
from service.timings import Timings

# So many pictures are decoded before other requests get their turn; with more bytes or pixels they leave the event loop.
SLICE = 16
INLINE_PICTURE_BYTES = 1 << 16
INLINE_PIXELS = 128 * 128

LATE = "the deadline passed before the pictures were decoded"


@dataclass(slots=True)
class Inference:
    """One piece of work: the model that does it, its deadline in the time of `time.monotonic`, and how long its rows took.

    `background` and `invert` override the preprocessing of the model. `warnings` are about the pictures encoded last.
    """

    model: ServedModel
    deadline: float | None = None
    timings: Timings = field(default_factory=Timings)
    background: Background | None = None
    invert: Invert | None = None
    warnings: Warnings = field(default_factory=Warnings)

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the model, or that which the caller wants instead."""
        spec: Preprocessing = self.model.manifest.preprocessing
        if self.background is None and self.invert is None:
            return spec
        return _overridden(spec, self.background, self.invert)


@lru_cache(maxsize=1000)
def _overridden(spec: Preprocessing, background: Background | None, invert: Invert | None) -> Preprocessing:
    return replace(spec, background=background or spec.background, invert=invert or spec.invert)


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

    async def encode(self, pictures: Pictures, inference: Inference, originals: list[NDArray[Any]] | None = None) -> Floats:
        """Return the posteriors of pictures, float32 (N, 3, D): mu, sigma, logvar. Raises BadInput, BatcherError.

        `originals` receives the pictures as the model saw them, blocks of (n, C, H, W). `inference.warnings` are replaced.
        """
        model = inference.model
        inference.warnings.clear()
        if pictures.rows is not None:
            rows, spec = pictures.rows, inference.preprocessing
            if rows.dtype == np.float32 and spec.range is not None:
                rows = await self.offload(rows.nbytes, partial(_in_range, rows, spec.range, inference.warnings))
            rows = _inked(rows, spec)
            if originals is not None:
                originals.append(rows)
            for item, pixels in enumerate(rows):
                inference.warnings.add_blank(pixels, item)
            floats = rows.dtype == np.float32
            posteriors = await self.through(model.encode_float if floats else model.encode, rows, inference)
            await self._look_at(inference, rows, posteriors, 0)
            return posteriors
        waiting, spent, count = [], 0, len(pictures)
        with model.encode.reserve(count) as reservation:
            try:
                for first in range(0, count, SLICE):
                    block, spent = await self._decode(pictures.encoded[first : first + SLICE], first, inference, spent)
                    if originals is not None:
                        originals.append(block)
                    if len(block) == count:
                        answer: Floats = await reservation.submit(block, inference.deadline)
                        inference.timings.add(reservation)
                        await self._look_at(inference, block, answer, 0)
                        return answer
                    waiting.append(asyncio.ensure_future(self._submitted(reservation, block, inference, first)))
                parts = await asyncio.gather(*waiting)
            except BaseException as error:  # one bad picture, or the caller left: the rest is not needed
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
                if isinstance(error, BadInput):
                    _explain(error, pictures)
                raise
        inference.timings.add(reservation)
        return np.concatenate(parts)

    async def _submitted(self, reservation: Reservation, block: Pixels, inference: Inference, first: int) -> Floats:
        """Encode some of the pictures of a request; `first` is the index of the first of them."""
        rows: Floats = await reservation.submit(block, inference.deadline)
        await self._look_at(inference, block, rows, first)
        return rows

    async def _look_at(self, inference: Inference, block: NDArray[Any], rows: Floats, first: int) -> None:
        """Warn of unusual posteriors, on a thread if there are many; see `look_at`."""
        check = inference.model.kl_check
        if check is not None and (suspects := check.suspects(rows)):
            look = partial(look_at, inference, block, rows, first, suspects)
            await self.offload(len(suspects) * check.warning_bytes, look)

    async def _decode(
        self, encoded: Sequence[EncodedPicture], first: int, inference: Inference, spent: int
    ) -> tuple[Pixels, int]:
        """Decode a slice of pictures, uint8 (n, C, H, W): plain ones and few small ones here, any others by the decoders.

        `spent` counts the pixels of the request before this slice, and with it after.
        """
        spec, warnings = inference.preprocessing, inference.warnings
        if sum(len(one) for one in encoded if isinstance(one, (bytes, str))) <= INLINE_PICTURE_BYTES:
            if first:
                await asyncio.sleep(0)  # between two slices it is the turn of others
            files = [_bytes(one, item) for item, one in enumerate(encoded, first)]
            block = self._plain(files, spec)
            if block is not None:
                for item, pixels in enumerate(block, first):
                    warnings.add_blank(pixels, item)
                return block, spent + len(block) * spec.height * spec.width
            if _are_quick(files):
                return _decode_all(files, first, spec, self.max_pixels, spent, warnings)
            encoded = files
        return await in_time(self._decode_beside(encoded, first, spec, spent, warnings), inference.deadline, LATE)

    async def _decode_beside(
        self, encoded: Sequence[EncodedPicture], first: int, spec: Preprocessing, spent: int, warnings: Warnings
    ) -> tuple[Pixels, int]:
        block = []
        for item, one in enumerate(encoded, first):
            size = len(one) if isinstance(one, str) else 0
            data = await self.offload(size, partial(_bytes, one, item))
            notes: list[Note] = []
            pixels, own = await self.decoders.decode(data, spec, spent, item, notes)
            warnings.add_notes(item, notes)
            block.append(pixels)
            spent += own
        return np.stack(block), spent

    def _plain(self, files: Sequence[bytes], spec: Preprocessing) -> Pixels | None:
        """Decode pictures of exactly the model's size and mode, as most are, in a tenth of the time; None if one is not."""
        if spec.height * spec.width > self.max_pixels:
            return None
        block = []
        for file in files:
            pixels = png.read_plain(file, *spec.shape)
            if pixels is None:
                return None
            block.append(pixels)
        return _inked(np.stack(block) if len(block) > 1 else block[0][None], spec)


def look_at(inference: Inference, block: NDArray[Any], rows: Floats, first: int, suspects: Sequence[int]) -> None:
    """Warn of unusual posteriors among the suspects of rows (n, 3, D), those of the pictures of a block (n, C, H, W)."""
    check = inference.model.kl_check
    if check is not None:
        for i in suspects:
            check.warn(rows[i], block[i], first + i, inference.preprocessing, inference.warnings)


def _in_range(rows: NDArray[Any], range: Range, warnings: Warnings) -> Pixels:
    """Return floats (N, C, H, W) as bytes, by the range of the model's pictures, as training and picture files have them."""
    for item, picture in enumerate(rows):
        notes: list[Note] = []
        depth_of("F", partial(iter, (picture,)), range, notes)
        warnings.add_notes(item, notes)
    return np.stack([Depth(*range).to_bytes(picture) for picture in rows])


def _inked(block: NDArray[Any], spec: Preprocessing) -> NDArray[Any]:
    """Invert those pictures of a block (n, C, H, W) that the preprocessing inverts."""
    return block if spec.invert == "no" else np.stack([in_ink(pixels, spec.ink, spec.invert) for pixels in block])


def _are_quick(files: Sequence[bytes]) -> bool:
    """Return whether all of them are decoded in about a millisecond."""
    pixels = 0
    for file in files:
        own = quick_pixels(file)
        if own is None or (pixels := pixels + own) > INLINE_PIXELS:
            return False
    return True


def _explain(error: BadInput, pictures: Pictures) -> None:
    """Say of base64 text that it is at fault only in what it stands for; a picture that is `alone` needs no number."""
    text = b"" if error.item is None else pictures.encoded[error.item]
    if isinstance(error, Unsupported) and isinstance(text, str):
        found, _, _ = error.reason.partition(";")
        start = text[:300].rpartition(",")[2][:20]  # without the head of a data URL
        error.reason = f"{start!r} is valid base64, but what it decodes to is {found}"
    if pictures.alone:
        error.item = None


def _bytes(encoded: EncodedPicture, item: int) -> bytes:
    return encoded if isinstance(encoded, bytes) else base64_text.base64_bytes(encoded, item)


def _decode_all(
    files: Sequence[bytes], first: int, spec: Preprocessing, max_pixels: int, spent: int, warnings: Warnings
) -> tuple[Pixels, int]:
    block = []
    for item, file in enumerate(files, first):
        image = codecs.open_picture(file, max_pixels, item)
        spent += image.width * image.height
        codecs.check_sum(spent, max_pixels, item)
        notes: list[Note] = []
        block.append(codecs.picture_pixels(image, spec, item, notes))
        warnings.add_notes(item, notes)
    return np.stack(block), spent
