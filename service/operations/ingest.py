"""Loads many pictures from files into a collection, at the encoder's speed. Knows nothing of HTTP.

Items that are already there are not encoded again, so that an interrupted load continues where it stopped. A file that cannot
be read is skipped and named, and does not stop the others.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.files.regular_file import read_regular
from models.preprocess import Background, Invert
from models.readers.download import DataError
from models.readers.path_names import shown
from service.formats.errors import BadInput
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.inference.pipeline import Pipeline
from service.operations.collection_model import model_of
from service.operations.item_labels import label_in
from service.operations.load_sources import LoadError, PictureBatch, Source
from service.store.interface import Collection, Items, LatentStore

BATCH = 1024
NOTHING = Items([], np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), np.empty(0, np.bool_), [])


@dataclass(slots=True)
class Counts:
    """What became of the pictures of a load."""

    added: int = 0
    replaced: int = 0
    there: int = 0  # already stored, with the same posterior and label if that was looked at
    skipped: list[str] = field(default_factory=list)  # files that cannot be read, each with the reason
    # Code of a warning -> the pictures that have it, and the first of them with the details.
    warnings: dict[str, tuple[int, str]] = field(default_factory=dict)
    least: int = 255  # the smallest and the largest byte of all pictures that were encoded
    most: int = 0

    def look(self, inference: Inference, ids: Sequence[str], blocks: Sequence[NDArray[Any]]) -> None:
        """Count the warnings about the pictures that were encoded last, which have these ids, and look at their bytes."""
        for block in blocks if inference.model.is_pictures else ():
            self.least, self.most = min(self.least, int(block.min())), max(self.most, int(block.max()))
        for warning in inference.warnings.found:
            count, first = self.warnings.get(warning.code, (0, f"{ids[warning.item]}: {warning.detail}"))
            self.warnings[warning.code] = count + 1, first


async def load(
    pipeline: Pipeline,
    store: LatentStore,
    collection: Collection,
    source: Source,
    progress: Callable[[int], object],
    replace: bool = False,
    counts: Counts | None = None,
    new: bool = False,
    background: Background | None = None,
    invert: Invert | None = None,
) -> Counts:
    """Encode and add what is not there yet; one batch is stored while the next is encoded. Return `counts`, with these added.

    `replace` also encodes pictures that are there already, and stores those whose posterior or label has changed. A `new`
    collection is made when the first of its pictures is stored, and not if none can be read. `background` and `invert`
    override the preprocessing of the model, in `source` as well.
    Raises LoadError, BatcherError, StoreError, ModelNotLoaded.
    """
    inference = Inference(model_of(pipeline.catalog, collection), background=background, invert=invert)
    counts = Counts() if counts is None else counts
    storing: asyncio.Task[int] | None = None
    batches = source.batches(min(BATCH, pipeline.max_items))
    try:
        while (batch := await asyncio.to_thread(_next, batches)) is not None:
            known = NOTHING if new and not counts.added else await store.get(collection.name, batch.ids)
            old = {id: i for i, id in enumerate(known.ids)}
            if not replace and old:
                counts.there += len(old)
                progress(len(old))
                batch = batch.only([i for i, id in enumerate(batch.ids) if id not in old])
            if not batch.ids:
                continue
            skipped = len(counts.skipped)
            items = await _encode(pipeline, batch, inference, counts)
            progress(len(counts.skipped) - skipped)
            items = _changed(items, known, old, counts, progress)
            if storing is not None:
                progress(await storing)
                storing = None
            if len(items):
                storing = asyncio.create_task(_store(store, collection, items, counts, new and not counts.added))
    finally:
        if storing is not None:
            progress(await storing)
    return counts


def _next(batches: Any) -> PictureBatch | None:
    """Return the next batch, or None at the end. Raises LoadError."""
    try:
        batch: PictureBatch | None = next(batches, None)
        return batch
    except DataError as error:
        raise LoadError(str(error)) from None


async def _store(store: LatentStore, collection: Collection, items: Items, counts: Counts, new: bool) -> int:
    if new:
        await store.create(collection)
    result = await store.upsert(collection.name, collection.digest, items)
    counts.added += len(result.added)
    counts.replaced += len(result.replaced)
    return len(items)


def _changed(items: Items, known: Items, old: dict[str, int], counts: Counts, progress: Callable[[int], object]) -> Items:
    """Return the items that are new or differ from the stored ones; metadata that others added is kept."""
    kept, keys = [], set(items.keys)
    for i, id in enumerate(items.ids):
        if id not in old:
            kept.append(i)
            continue
        j = old[id]
        before = orjson.loads(known.metadata[j])
        after = {**before, **orjson.loads(items.metadata[i])}
        same = np.array_equal(items.mu[i], known.mu[j]) and np.array_equal(items.sigma[i], known.sigma[j])
        if same and known.has_sigma[j] and before == after:
            counts.there += 1
            continue
        items.metadata[i] = orjson.dumps(after)
        keys |= after.keys()
        kept.append(i)
    progress(len(items) - len(kept))
    return Items(
        [items.ids[i] for i in kept], items.mu[kept], items.sigma[kept], items.has_sigma[kept],
        [items.metadata[i] for i in kept], frozenset(keys),
    )  # fmt: skip


async def _encode(pipeline: Pipeline, batch: PictureBatch, inference: Inference, counts: Counts) -> Items:
    """Encode a batch; files that cannot be read are left out and counted."""
    files, labels = batch.pictures, _labels(inference, batch)
    if not isinstance(files, list):
        prepared = replace_fields(inference, label=labels)
        if inference.model.is_pictures:
            prepared.invert = "no"  # They are inverted already, before they were padded.
        rows = await pipeline.encode(RawItems(rows=files), prepared)
        counts.look(prepared, batch.ids, [files])
    else:
        contents = await asyncio.to_thread(list, map(_content, files))
        rows, reasons = await _encode_files(pipeline, contents, batch.ids, inference, counts, labels)
        counts.skipped += [f"{shown(files[i])}: {reason}" for i, reason in sorted(reasons.items())]
        good = [i for i in range(len(batch.ids)) if i not in reasons]
        batch, rows = batch.only(good), rows[good]
    metadata = [orjson.dumps(own) for own in batch.metadata]
    keys = frozenset(key for own in batch.metadata for key in own)
    mu, sigma = (np.ascontiguousarray(rows[:, i]) for i in (0, 1))
    return Items(batch.ids, mu, sigma, np.ones(len(rows), np.bool_), metadata, keys)


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


def _content(path: Path) -> bytes | str:
    """Return the bytes of a file, or the reason why it cannot be read."""
    try:
        return read_regular(path) or "the file is empty"
    except OSError as error:
        return str(error.strerror)


async def _encode_files(
    pipeline: Pipeline,
    contents: Sequence[bytes | str],
    ids: Sequence[str],
    inference: Inference,
    counts: Counts,
    labels: tuple[str, ...] | None = None,
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Return the posteriors (N, 3, D) of the files that are pictures, and for each other file the reason.

    A picture is at fault only if it fails as the first of its block, because bounds also apply to the sum of a block.
    """
    rows = np.zeros((len(contents), 3, inference.model.latent_dim), np.float32)
    reasons = {i: content for i, content in enumerate(contents) if isinstance(content, str)}
    files = [(i, content) for i, content in enumerate(contents) if isinstance(content, bytes)]
    blocks = [files] if files else []
    while blocks:
        block = blocks.pop()
        try:
            seen: list[NDArray[Any]] = []
            own = inference if labels is None else replace_fields(inference, label=tuple(labels[i] for i, _ in block))
            rows[[i for i, _ in block]] = await pipeline.encode(RawItems([content for _, content in block]), own, seen)
            counts.look(inference, [ids[i] for i, _ in block], seen)
        except BadInput as error:
            fault = error.item if error.item is not None and len(block) > 1 else len(block) // 2
            if fault == 0:
                reasons[block[0][0]] = error.reason
            blocks += [part for part in (block[max(1, fault) :], block[:fault]) if part]
    return rows, reasons
