"""Picture files -> pixels as the model takes them, each file for itself: one that cannot be read does not affect the others.

The answers are those of `picture_encoding`, which decodes the pictures of a request. Knows nothing of HTTP or of files' paths.
"""

import asyncio
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from models.depth import Note
from models.preprocess import Pixels
from service.formats import pictures as codecs
from service.formats import png
from service.formats.errors import BadInput
from service.formats.inline_decoding import quick_pixels
from service.inference.kinds.picture_encoding import INLINE_PICTURE_BYTES, INLINE_PIXELS, inked
from service.inference.picture_warnings import perhaps_flat

if TYPE_CHECKING:
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline

# Small pictures are decoded together until they have so many pixels in all channels.
TOGETHER = 1 << 20
# The files that are in memory at once have about so many bytes, or one more.
FILE_BYTES = 64 << 20


@dataclass(slots=True)
class DecodedFiles:
    """What became of N files: pixels (n, C, H, W) of those that could be read, their indices, and the others' reasons."""

    pixels: Pixels
    readable: list[int]
    reasons: dict[int, str] = field(default_factory=dict)


async def decode_each(
    pipeline: "Pipeline", contents: Iterable[bytes | str], count: int, inference: "Inference"
) -> DecodedFiles:
    """Decode so many files; a text instead of bytes is the reason why one could not be read. Raises DecoderUnavailable.

    Small pictures are decoded on a thread of this process, where `contents` is read, too, and all others by the decoder
    processes, several at a time. `inference.warnings` receives what decoding noticed; its items are the numbers of the
    readable files.
    """
    decoding = _Decoding(pipeline, inference, count)
    numbered = enumerate(contents)
    while await asyncio.to_thread(decoding.go_on, numbered):
        await asyncio.gather(*(decoding.beside(i, data) for i, data in decoding.waiting.items()))
    reasons = decoding.reasons
    readable = [i for i in range(count) if i not in reasons]
    pixels = decoding.pixels[readable] if reasons else decoding.pixels
    blank = set(np.flatnonzero(perhaps_flat(pixels)).tolist())
    for number in sorted(blank) if not decoding.notes else range(len(readable)):
        i = readable[number]
        if number in blank and i in decoding.plain:
            inference.warnings.add_blank(pixels[number], number)
        inference.warnings.add_notes(number, decoding.notes.get(i, ()))
    return DecodedFiles(pixels, readable, dict(sorted(reasons.items())))


class _Decoding:
    """Pixels (N, C, H, W) of N files, as they are decoded, with what was noticed, or the reasons why they cannot be read."""

    def __init__(self, pipeline: "Pipeline", inference: "Inference", count: int) -> None:
        self._pipeline, self._spec = pipeline, inference.preprocessing
        self.pixels = np.empty((count, *self._spec.shape), np.uint8)
        self.plain = set[int]()  # those that were not decoded by Pillow
        self.notes: dict[int, list[Note]] = {}
        self.reasons: dict[int, str] = {}
        self.waiting: dict[int, bytes] = {}  # large files, for the decoder processes

    def go_on(self, numbered: Iterator[tuple[int, bytes | str]]) -> bool:
        """Decode small pictures until as many bytes as may be in memory wait for decoders; return whether any do."""
        self.waiting.clear()
        size, together = 0, max(1, TOGETHER // math.prod(self._spec.shape))
        files: dict[int, bytes] = {}
        for i, content in numbered:
            if isinstance(content, str):
                self.reasons[i] = content
                continue
            files[i] = content
            size += len(content)
            if len(files) == together or size > FILE_BYTES:
                self._decode(files)
                files, size = {}, sum(map(len, self.waiting.values()))
                if size > FILE_BYTES:
                    return True
        self._decode(files)
        return bool(self.waiting)

    def _decode(self, files: dict[int, bytes]) -> None:
        """Decode those that take about a millisecond at most; the others wait."""
        spec, numbers = self._spec, list(files)
        if spec.height * spec.width <= self._pipeline.max_pixels:
            found, pixels = png.read_plain_each(list(files.values()), *spec.shape)
            if found:
                plain = [numbers[place] for place in found]
                self.pixels[plain] = inked(pixels, spec)
                self.plain.update(plain)
                if len(plain) == len(files):
                    return
        for i, data in files.items():
            if i not in self.plain:
                self._decode_one(i, data)

    def _decode_one(self, i: int, data: bytes) -> None:
        size = quick_pixels(data) if len(data) <= INLINE_PICTURE_BYTES else None
        if size is None or size > INLINE_PIXELS:
            self.waiting[i] = data
            return
        notes: list[Note] = []
        try:
            self.pixels[i] = codecs.picture_pixels(
                codecs.open_picture(data, self._pipeline.max_pixels), self._spec, None, notes
            )
        except BadInput as error:
            self.reasons[i] = error.reason
        self._note(i, notes)

    async def beside(self, i: int, data: bytes) -> None:
        """Let a decoder process decode a picture. Raises DecoderUnavailable."""
        notes: list[Note] = []
        try:
            self.pixels[i], _ = await self._pipeline.decoders.decode(data, self._spec, notes=notes)
        except BadInput as error:
            self.reasons[i] = error.reason
        self._note(i, notes)

    def _note(self, i: int, notes: list[Note]) -> None:
        if notes and i not in self.reasons:
            self.notes[i] = notes
