"""Encodes one batch of items, whether they are files, rows of Parquet files or rows of arrays. Knows nothing of stores."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.files.regular_file import TooLarge, read_regular
from models.readers.path_names import shown
from service.bulk.encoded import Encoded, Noticed, Unreadable
from service.bulk.item_metadata import Usable, usable
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.kinds.picture_encoding import encode_pixels
from service.inference.kinds.picture_files import decode_each
from service.inference.picture_warnings import Warnings
from service.inference.pipeline import Pipeline
from service.operations.item_labels import label_in
from service.operations.load_sources import LoadError, PictureBatch
from service.operations.parquet_pictures import ParquetRows
from service.store.interface import Items
from service.store.metadata import usable_keys
from service.timings import Timings

# Code of the warning about an item that has a number which is not finite in its metadata.
NOT_FINITE = "without_a_number_in_their_metadata"


async def encode_batch(pipeline: Pipeline, batch: PictureBatch, inference: Inference, turn: asyncio.Lock) -> Encoded:
    """Encode a batch; items that cannot be read or stored are left out and named.

    `turn`: batches that are worked on at the same time are read beside each other, but encoded one after the other, so that
    there is always one to be read while another one is encoded.

    Raises LoadError, BatcherError, DecoderUnavailable.
    """
    count = len(batch.ids)
    batch, found_metadata, refused = _storable(batch)
    if not batch.ids:
        nothing = np.empty((0, inference.model.latent_dim), np.float32)
        return Encoded(Items([], nothing, nothing, np.empty(0, np.bool_), []), count, Noticed(refused))
    own = replace(inference, label=_labels(inference, batch), warnings=Warnings(), timings=Timings())
    pictures, unreadable = batch.pictures, list[Unreadable]()
    if isinstance(pictures, np.ndarray):
        if own.model.is_pictures:
            own.invert = "no"  # They are inverted already, before they were padded.
        async with turn:
            rows = await pipeline.encode(RawItems(rows=pictures), own)
        pixels, ids = pictures, batch.ids
    else:
        found = await decode_each(pipeline, _contents(pictures, pipeline.decoders.max_bytes), len(batch.ids), own)
        unreadable = [Unreadable(batch.ids[i], _place(batch, i), reason) for i, reason in found.reasons.items()]
        pixels, ids = found.pixels, [batch.ids[i] for i in found.readable]
        found_metadata = [found_metadata[i] for i in found.readable]
        if own.label is not None:
            own.label = tuple(own.label[i] for i in found.readable)
        nothing = np.empty((0, 3, own.model.latent_dim), np.float32)
        async with turn:
            rows = await encode_pixels(pipeline, pixels, own) if len(pixels) else nothing
    mu, sigma = (np.ascontiguousarray(rows[:, i]) for i in (0, 1))
    distinct = {id(one): one for one in found_metadata}  # Most items share an object with others.
    keys = frozenset().union(*(usable_keys(one.metadata) for one in distinct.values()))
    items = Items(ids, mu, sigma, np.ones(len(rows), np.bool_), [one.text for one in found_metadata], keys)
    noticed = Noticed(refused + unreadable)
    if own.model.is_pictures and len(pixels):
        noticed.least, noticed.most = int(pixels.min()), int(pixels.max())
    for warning in own.warnings.found:
        noticed.warn(warning.code, ids[warning.item], warning.detail)
    for item, one in zip(ids, found_metadata, strict=True):
        if one.missing:
            noticed.warn(NOT_FINITE, item, one.missing)
    return Encoded(items, count, noticed)


def _storable(batch: PictureBatch) -> tuple[PictureBatch, list[Usable], list[Unreadable]]:
    """Return the items whose metadata can be stored, with the metadata; and those of which it cannot."""
    distinct = {id(own): own for own in batch.metadata}
    known = {key: usable(own) for key, own in distinct.items()}
    found = [known[id(own)] for own in batch.metadata]
    if not any(one.reason for one in found):
        return batch, found, []
    refused = [Unreadable(batch.ids[i], _place(batch, i), one.reason) for i, one in enumerate(found) if one.reason]
    kept = [i for i, one in enumerate(found) if not one.reason]
    return batch.only(kept), [found[i] for i in kept], refused


def _contents(pictures: list[str] | ParquetRows, limit: int) -> Iterator[bytes | str]:
    """Read the files as they are wanted, up to so many bytes each. Raises DataError."""
    yield from pictures.contents() if isinstance(pictures, ParquetRows) else (_content(path, limit) for path in pictures)


def _place(batch: PictureBatch, i: int) -> str:
    """Return where an item is, for people: its file or its row. A row of an array is its id."""
    if isinstance(batch.pictures, np.ndarray):
        return batch.ids[i]
    return batch.pictures.place(i) if isinstance(batch.pictures, ParquetRows) else shown(batch.pictures[i])


def _content(path: str, limit: int) -> bytes | str:
    """Return the bytes of a file, or the reason why it cannot be read."""
    try:
        return read_regular(path, limit) or "the file is empty"
    except TooLarge:
        return f"the file has more than {limit} bytes, the memory for decoding pictures (VAE_MAX_DECODED_BYTES)"
    except OSError as error:
        return str(error.strerror)


def _labels(inference: Inference, batch: PictureBatch) -> tuple[str, ...] | None:
    """Return what a conditional model is told about each picture: its metadata says it. Raises LoadError."""
    condition = inference.model.condition
    if condition is None:
        return None
    found = [label_in(own, condition.key) for own in batch.metadata]
    missing = [id for id, label in zip(batch.ids, found, strict=True) if label not in condition.values]
    if missing:
        raise LoadError(
            f"{len(missing)} pictures, the first {missing[0]!r}, have no {condition.key} that the model "
            f"{inference.model.name!r} was trained with; it must be told one for each: {condition.listed}"
        )
    return tuple(str(label) for label in found)


def differing(items: Items, stored: Items) -> int:
    """Return how many stored posteriors are not those of `items`, which have the same ids in the same order.

    Another device or precision changes the last digits of a posterior, which do not count.
    """
    close = [_close(items.mu, stored.mu), _close(items.sigma, stored.sigma)]
    return int(np.count_nonzero(~(close[0] & close[1] & stored.has_sigma)))


def _close(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = np.isclose(one, other, rtol=0.02, atol=0.02).all(axis=1)
    return close
