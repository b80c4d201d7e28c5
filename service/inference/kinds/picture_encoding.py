"""Pictures of a request -> posteriors: decoded slice by slice while their rows are admitted already. Knows nothing of HTTP."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.depth import Depth, Note, Range, depth_of
from models.ink import in_ink
from models.preprocess import Pixels, Preprocessing
from service.engine.reservation import Reservation
from service.formats import base64_text, png
from service.formats import pictures as codecs
from service.formats.errors import BadInput, Unsupported
from service.formats.inline_decoding import quick_pixels
from service.formats.pictures import EncodedPicture
from service.formats.raw_items import RawItems
from service.inference.deadline import in_time
from service.inference.picture_warnings import Warnings
from service.inference.told import told_rows

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline

Floats = NDArray[np.float32]

# So many pictures are decoded before other requests get their turn; with more bytes or pixels they leave the event loop.
SLICE = 16
INLINE_PICTURE_BYTES = 1 << 16
INLINE_PIXELS = 128 * 128

LATE = "the deadline passed before the pictures were decoded"


async def encode(
    pipeline: "Pipeline", pictures: RawItems, inference: "Inference", originals: list[NDArray[Any]] | None = None
) -> Floats:
    """Return the posteriors of pictures, float32 (N, 3, D): mu, sigma, logvar. Raises BadInput, BatcherError.

    `originals` receives the pictures as the model saw them, blocks of (n, C, H, W).
    """
    model = inference.model
    if pictures.rows is not None:
        rows, spec = pictures.rows, inference.preprocessing
        if rows.dtype == np.float32 and spec.range is not None:
            rows = await pipeline.offload(rows.nbytes, partial(_in_range, rows, spec.range, inference.warnings))
        rows = inked(rows, spec)
        if originals is not None:
            originals.append(rows)
        for item, pixels in enumerate(rows):
            inference.warnings.add_blank(pixels, item)
        floats = rows.dtype == np.float32
        lane = model.kind.lanes["encode_float"] if floats else model.encode
        posteriors = await pipeline.through(lane, told_rows(inference, rows, len(rows)), inference)
        await _look_at(pipeline, inference, rows, posteriors, 0)
        return posteriors
    waiting, spent, count = [], 0, len(pictures)
    with model.encode.reserve(count) as reservation:
        try:
            for first in range(0, count, SLICE):
                block, spent = await _decode(pipeline, pictures.raw[first : first + SLICE], first, inference, spent)
                if originals is not None:
                    originals.append(block)
                if len(block) == count:
                    answer: Floats = await reservation.submit(told_rows(inference, block, count), inference.deadline)
                    inference.timings.add(reservation)
                    await _look_at(pipeline, inference, block, answer, 0)
                    return answer
                waiting.append(asyncio.ensure_future(_submitted(pipeline, reservation, block, inference, count, first)))
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


async def encode_pixels(pipeline: "Pipeline", pixels: Pixels, inference: "Inference") -> Floats:
    """Return the posteriors of pictures (N, C, H, W) that are as the model takes them, float32 (N, 3, D). Raises BatcherError.

    `inference.warnings` has what was noticed when they were decoded, and receives what is noticed now.
    """
    rows = told_rows(inference, pixels, len(pixels))
    posteriors = await pipeline.through(inference.model.encode, rows, inference)
    await _look_at(pipeline, inference, pixels, posteriors, 0)
    return posteriors


async def _submitted(
    pipeline: "Pipeline", reservation: Reservation, block: Pixels, inference: "Inference", count: int, first: int
) -> Floats:
    """Encode some of the `count` pictures of a request; `first` is the index of the first of them."""
    rows: Floats = await reservation.submit(told_rows(inference, block, count, first), inference.deadline)
    await _look_at(pipeline, inference, block, rows, first)
    return rows


async def _look_at(pipeline: "Pipeline", inference: "Inference", block: NDArray[Any], rows: Floats, first: int) -> None:
    """Warn of unusual posteriors, on a thread if there are many; see `look_at`."""
    check = inference.model.kl_check
    if check is not None and (suspects := check.suspects(rows)):
        look = partial(look_at, inference, block, rows, first, suspects)
        await pipeline.offload(len(suspects) * check.warning_bytes, look)


async def _decode(
    pipeline: "Pipeline", encoded: Sequence[EncodedPicture], first: int, inference: "Inference", spent: int
) -> tuple[Pixels, int]:
    """Decode a slice of pictures, uint8 (n, C, H, W): plain ones and few small ones here, any others by the decoders.

    `spent` counts the pixels of the request before this slice, and with it after.
    """
    spec, warnings = inference.preprocessing, inference.warnings
    if sum(len(one) for one in encoded if isinstance(one, (bytes, str))) <= INLINE_PICTURE_BYTES:
        if first:
            await asyncio.sleep(0)  # between two slices it is the turn of others
        files = [_bytes(one, item) for item, one in enumerate(encoded, first)]
        block = _plain(files, spec, pipeline.max_pixels)
        if block is not None:
            for item, pixels in enumerate(block, first):
                warnings.add_blank(pixels, item)
            return block, spent + len(block) * spec.height * spec.width
        if _are_quick(files):
            return _decode_all(files, first, spec, pipeline.max_pixels, spent, warnings)
        encoded = files
    return await in_time(_decode_beside(pipeline, encoded, first, spec, spent, warnings), inference.deadline, LATE)


async def _decode_beside(
    pipeline: "Pipeline", encoded: Sequence[EncodedPicture], first: int, spec: Preprocessing, spent: int, warnings: Warnings
) -> tuple[Pixels, int]:
    block = []
    for item, one in enumerate(encoded, first):
        size = len(one) if isinstance(one, str) else 0
        data = await pipeline.offload(size, partial(_bytes, one, item))
        notes: list[Note] = []
        pixels, own = await pipeline.decoders.decode(data, spec, spent, item, notes)
        warnings.add_notes(item, notes)
        block.append(pixels)
        spent += own
    return np.stack(block), spent


def _plain(files: Sequence[bytes], spec: Preprocessing, max_pixels: int) -> Pixels | None:
    """Decode pictures of exactly the model's size and mode, as most are, in a tenth of the time; None if one is not."""
    if spec.height * spec.width > max_pixels:
        return None
    block = []
    for file in files:
        pixels = png.read_plain(file, *spec.shape)
        if pixels is None:
            return None
        block.append(pixels)
    return inked(np.stack(block) if len(block) > 1 else block[0][None], spec)


def look_at(inference: "Inference", block: NDArray[Any], rows: Floats, first: int, suspects: Sequence[int]) -> None:
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


def inked(block: NDArray[Any], spec: Preprocessing) -> NDArray[Any]:
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


def _explain(error: BadInput, pictures: RawItems) -> None:
    """Say of base64 text that it is at fault only in what it stands for; a picture that is `alone` needs no number."""
    text = b"" if error.item is None else pictures.raw[error.item]
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
