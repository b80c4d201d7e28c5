"""The command `python -m service.store load`: from files to posteriors, in a collection or in Parquet files."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from models.files.atomic_file import check_writable
from models.kinds import kind_of
from models.kinds.beside import Beside
from models.readers.formats import SUFFIXES
from models.readers.left_out import listed, plural
from models.readers.path_names import expanded, shown
from models.readers.ranges import pixel_lines
from service.bulk.collection_output import CollectionOutput
from service.bulk.encoded import Counts, Unreadable
from service.bulk.load import BATCH, Encoders, Output, load
from service.bulk.processes import in_order, in_processes
from service.bulk.unreadable_file import UNREADABLE, write_unreadable
from service.bulk.worker import Worker
from service.inference.catalog import CatalogError
from service.inference.inference import Inference
from service.inference.served_model import ServedModel
from service.load_model import check_model, new_of, work_of
from service.operations.load_sources import Interrupted, LoadError, Source, sources_of
from service.operations.parquet_pictures import PARQUET, ParquetColumns
from service.operations.row_sources import row_sources
from service.settings import Settings
from service.store import POSTGRES, LatentStore, opened_store
from service.store.interface import BadItem, Collection, StoreError
from service.store.names import check_name
from service.store_addresses import shown_address

# From so many items on, several processes encode them unless a flag says how many: each takes seconds to start.
MANY = 20_000
MOST_PROCESSES, GPU_PROCESSES = 16, 4
# If a file has the unreadable items, so many of them are printed, too.
SHOWN = 10
# Seconds between two lines of progress, on a terminal and in a log.
TERMINAL_SECONDS, LOG_SECONDS = 0.1, 10.0


async def load_items(settings: Settings, options: argparse.Namespace) -> None:
    """Do what the command line says. Raises StoreError, OSError."""
    _check_files(options)
    async with AsyncExitStack() as stack:
        store, there = None, None
        if options.out is None:
            check_name(options.collection, "collection")
            store = await stack.enter_async_context(opened_store(settings.store, settings.store_max_bytes))
            print(f"store: {shown_address(settings.store)}", flush=True)
            there = {one.name: one for one in await store.collections()}.get(options.collection)
        try:
            threads = settings.threads or os.cpu_count() or 1
            worker = Worker(await asyncio.to_thread(work_of, settings, options, there, threads))
            stack.push_async_callback(worker.close)
            await worker.start()
            check_model(options, there, worker.model)
            await _load(settings, options, store, there, worker)
        except (LoadError, CatalogError) as error:
            raise StoreError(str(error)) from error


async def _load(
    settings: Settings, options: argparse.Namespace, store: LatentStore | None, there: Collection | None, worker: Worker
) -> None:
    model = worker.model
    sources = _sources(options, model)
    word = kind_of(model.manifest.model.kind).noun
    counts, total = Counts(), sum(source.count for source in sources)
    unread = [Unreadable(*one) for source in sources for one in source.unread]
    counts.unreadable += unread
    total += len(unread)
    if not total:
        raise LoadError(f"there are no {word}s in {listed([shown(path) for path in options.paths])}; nothing was stored")
    print(*(line for source in sources for line in source.summary), sep="\n", flush=True)
    encoders = _encoders(settings, options, worker, sources)
    size = min(BATCH, worker.pipeline.max_items, max(1, settings.max_queue_rows // 2))
    seconds = TERMINAL_SECONDS if sys.stderr.isatty() else LOG_SECONDS
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=total - len(unread), unit="item", mininterval=seconds, smoothing=0.02))
        output: Output
        if store is None:
            output = stack.enter_context(_parquet(options, worker, sources, bar, counts))
        else:
            collection = there or new_of(options, model)
            if collection.keep == "picture":
                print("the originals of these pictures are not kept; add pictures over HTTP to keep them", flush=True)
            how = (options.replace, there is None)
            output = CollectionOutput(store, collection, worker.encode, bar.update, counts, *how)
        try:
            await load(encoders, output, sources, counts, size)
        except (StoreError, LoadError, OSError) as error:
            done = f"{error}; this load had stored {counts.added + counts.replaced:,} of {plural(total, word)}"
            if not isinstance(error, LoadError | BadItem) or isinstance(error, Interrupted):
                done += ", and a load with the same options goes on from there"
            raise StoreError(done) from error
    file = options.unreadable if options.out is None else options.out / UNREADABLE
    failed: OSError | None = None
    if options.out is None and file is not None:
        try:
            write_unreadable(file, counts.unreadable)
        except OSError as error:
            failed, file = error, None
    _report(counts, total, options, word, file)
    if store is not None and settings.store.startswith(POSTGRES) and counts.added:
        await advise(store, options.collection)
    if failed is not None:
        raise failed
    _check_share(counts, total, options, word, file)


async def advise(store: LatentStore, name: str) -> None:
    """Say how searches of a large collection become fast."""
    from service.store.postgres.key_plan import LEAST_EXPECTED  # an extra

    if (await store.collection(name)).count >= LEAST_EXPECTED:
        print(
            f"searches are fast, also with filters, after `python -m service.store index --collection {name}`, which makes "
            "indexes for the keys of the metadata",
            flush=True,
        )


def _parquet(
    options: argparse.Namespace, worker: Worker, sources: Sequence[Source], bar: "tqdm[Any]", counts: Counts
) -> AbstractContextManager[Output]:
    """Return the directory that is filled, which is entered. Raises LoadError."""
    from service.bulk.parquet_output import ParquetOutput  # an extra

    model, device = worker.model, worker.device
    about = {
        "model": model.name,
        "digest": model.digest,
        "dim": model.latent_dim,
        "device": device.torch_device.type,
        "engine": device.engine,
        "precision": device.precision,
        "max_batch": device.limits.max_batch,
        "background": options.background,
        "invert": options.invert,
        "metadata_columns": list(options.metadata_columns),
        "picture_columns": sorted({source.column for source in sources if source.column is not None}),
        "rows_per_file": options.rows_per_file,
    }
    ids = [id for source in sources for id in source.ids]
    return ParquetOutput(options.out, ids, about, bar.update, counts).opened()


def _sources(options: argparse.Namespace, model: ServedModel) -> list[Source]:
    """Look at what is to be loaded. Raises LoadError."""
    background, invert, beside = options.background, options.invert, Beside(options.id_column, options.metadata_columns)
    paths = _paths(options)
    if model.is_pictures:
        wanted = Inference(model, background=background, invert=invert).preprocessing
        return sources_of(paths, wanted, options.prefix, ParquetColumns(options.picture_column, beside))
    flags = {name: getattr(options, name) for name in ("background", "invert", "picture_column", "prefix")}
    if wrong := [f"--{name.replace('_', '-')}" for name, value in flags.items() if value]:
        raise LoadError(
            f"{', '.join(wrong)}: only for pictures, and {model.name!r} is no model of pictures; leave out what it does not "
            "take; nothing was stored"
        )
    if options.engine == "ray":
        raise LoadError(
            f"--engine ray is for pictures, and {model.name!r} is no model of pictures; leave --engine out; nothing was stored"
        )
    return row_sources(paths, model.kind, None if beside == Beside() else partial(model.kind.beside, beside=beside))


def _check_files(options: argparse.Namespace) -> None:
    """Raise StoreError or WriteError if a file that is named cannot be read or written so, before anything is read."""
    if options.unreadable is not None:
        check_writable(options.unreadable)
    if options.engine == "ray":
        _check_files_of_ray(options)
    if options.out is None:
        return
    import service.bulk.parquet_output  # noqa: F401 - an extra: if it is missing, that is told before all is looked at

    for path in map(expanded, options.paths):
        if path.is_dir() and options.out.resolve().is_relative_to(path.resolve()):
            raise StoreError(
                f"--out {shown(options.out)} is in {shown(path)}, which is read: the next load would read what this one "
                "writes; choose a directory outside of it; nothing was stored"
            )


def _check_files_of_ray(options: argparse.Namespace) -> None:
    """Raise StoreError if something is named that other machines cannot read: they get names of files, and no arrays."""
    for path in map(expanded, options.paths):
        if path.is_file() and path.suffix.lower() not in (*SUFFIXES, PARQUET):
            raise StoreError(
                f"--engine ray is for picture files, folders of them and Parquet files with pictures, and {shown(path)} is "
                "none of them; leave --engine out for this file; nothing was stored"
            )


def _paths(options: argparse.Namespace) -> list[Path]:
    """Return the paths of the command line, such that other machines understand them if they have to."""
    return [path.expanduser().absolute() for path in options.paths] if options.engine else options.paths


def _encoders(settings: Settings, options: argparse.Namespace, worker: Worker, sources: Sequence[Source]) -> Encoders:
    """Return what encodes, and say it. Raises LoadError."""
    count: int | None = options.workers
    work = replace(worker.work, digest=worker.model.digest, threads=settings.threads or 1)
    if options.engine == "ray":
        from service.bulk.ray_workers import connect, on_ray  # an extra

        print(connect(), flush=True)
        return partial(on_ray, work, count, _paths(options))
    if count is None:
        many = sum(source.count for source in sources) >= MANY
        most = GPU_PROCESSES if worker.device.torch_device.type == "cuda" else MOST_PROCESSES
        count = max(1, min((os.cpu_count() or 1) // work.threads, most)) if many else 1
    if count == 1:
        return partial(in_order, worker.encode, 1)
    print(f"encoding in {count} processes (--workers) with {plural(work.threads, 'thread')} each (VAE_THREADS)", flush=True)
    return partial(in_processes, work, count)


def _report(counts: Counts, total: int, options: argparse.Namespace, word: str, file: Path | None) -> None:
    """Print what became of the items, which are called by a word."""
    bad = len(counts.unreadable)
    shown = bad if file is None else SHOWN
    for one in counts.unreadable[:shown]:
        print(f"left out {one}")
    if bad > shown:
        print(f"left out {bad - shown:,} more; {file} has all of them")
    for code, (count, first) in counts.warnings.items():
        print(f"warning: {count:,} {word}s are {code.replace('_', ' ')}; the first one is {first}")
    if counts.least <= counts.most:  # Otherwise nothing was encoded.
        for line in pixel_lines(counts.least, counts.most):
            print(line)
    if counts.there and options.out is None and not options.replace:
        print(
            "what is already there is not encoded again; --replace does it, and takes the metadata of these files; --prefix "
            "tells pictures of other folders apart"
        )
    named = "named above, with the reasons" if file is None else f"named in {file}, with the reasons"
    print(
        f"found {plural(total, word)}: added {counts.added:,}, replaced {counts.replaced:,}, already there "
        f"{counts.there:,}, left out {bad:,}" + f" ({named})" * bool(bad),
        flush=True,
    )


def _check_share(counts: Counts, total: int, options: argparse.Namespace, word: str, file: Path | None) -> None:
    """Raise StoreError if more items could not be read than is allowed, or none could."""
    bad = len(counts.unreadable)
    if bad == total:
        raise StoreError(f"none of the {word}s could be read, so none was added; the first one is {counts.unreadable[0]}")
    if bad > max(1, options.max_corrupt * total):
        advice = (
            "mend or remove the files that are named above, and run the same command again"
            if options.out is None
            else f"mend the files, delete the parts that {file} names, and run the same command again; without the files, "
            "load into a new directory"
        )
        raise StoreError(
            f"{bad} of {total} {word}s could not be read, more than the allowed share of {options.max_corrupt:g} "
            f"(--max-corrupt); the other {total - bad} are stored; {advice}"
        )
