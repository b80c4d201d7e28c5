"""Picture files -> pixels as the model takes them, each file for itself: one that cannot be read does not affect the others.

The answers are those of `picture_encoding`, which decodes the pictures of a request. Knows nothing of HTTP or of files' paths.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from models.depth import Note
from models.ink import in_ink
from models.preprocess import Pixels, Preprocessing
from service.formats import pictures as codecs
from service.formats import png
from service.formats.errors import BadInput
from service.formats.inline_decoding import quick_pixels
from service.inference.kinds.picture_encoding import INLINE_PICTURE_BYTES, INLINE_PIXELS
from service.inference.picture_warnings import perhaps_flat

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline


@dataclass(slots=True)
class DecodedFiles:
    """What became of N files: pixels (n, C, H, W) of those that could be read, their indices, and the others' reasons."""

    pixels: Pixels
    readable: list[int]
    reasons: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _One:
    """What became of one file: pixels with what decoding noticed, or the reason why it cannot be read, or nothing yet."""

    pixels: Pixels | None = None
    is_plain: bool = False
    notes: list[Note] = field(default_factory=list)
    reason: str | None = None


async def decode_each(pipeline: "Pipeline", contents: Sequence[bytes | str], inference: "Inference") -> DecodedFiles:
    """Decode files; a text instead of bytes is the reason why one could not be read. Raises DecoderUnavailable.

    Small pictures are decoded on a thread of this process, all others by the decoder processes, several at a time.
    `inference.warnings` receives what decoding noticed; its items are the numbers of the readable files.
    """
    spec = inference.preprocessing
    found = await asyncio.to_thread(_small, contents, spec, pipeline.max_pixels)
    others = [i for i, one in enumerate(found) if one.pixels is None and one.reason is None]
    await asyncio.gather(*(_beside(pipeline, contents[i], spec, found[i]) for i in others))
    readable = [i for i, one in enumerate(found) if one.pixels is not None]
    pixels = np.empty((len(readable), *spec.shape), np.uint8)
    for number, i in enumerate(readable):
        pixels[number] = found[i].pixels  # type: ignore[assignment]
    blank = perhaps_flat(pixels)
    for number, i in enumerate(readable):
        if found[i].is_plain and blank[number]:
            inference.warnings.add_blank(pixels[number], number)
        inference.warnings.add_notes(number, found[i].notes)
    return DecodedFiles(pixels, readable, {i: one.reason for i, one in enumerate(found) if one.reason is not None})


def _small(contents: Sequence[bytes | str], spec: Preprocessing, max_pixels: int) -> list[_One]:
    """Decode the pictures that take about a millisecond at most."""
    return [_One(reason=one) if isinstance(one, str) else _one(one, spec, max_pixels) for one in contents]


def _one(data: bytes, spec: Preprocessing, max_pixels: int) -> _One:
    if spec.height * spec.width <= max_pixels and (pixels := png.read_plain(data, *spec.shape)) is not None:
        return _One(pixels if spec.invert == "no" else in_ink(pixels, spec.ink, spec.invert), is_plain=True)
    size = quick_pixels(data) if len(data) <= INLINE_PICTURE_BYTES else None
    if size is None or size > INLINE_PIXELS:
        return _One()
    notes: list[Note] = []
    try:
        return _One(codecs.picture_pixels(codecs.open_picture(data, max_pixels), spec, None, notes), notes=notes)
    except BadInput as error:
        return _One(reason=error.reason)


async def _beside(pipeline: "Pipeline", data: bytes | str, spec: Preprocessing, one: _One) -> None:
    """Let a decoder process decode a picture."""
    assert isinstance(data, bytes)  # noqa: S101  Texts have a reason already.
    try:
        one.pixels, _ = await pipeline.decoders.decode(data, spec, notes=one.notes)
    except BadInput as error:
        one.reason = error.reason
