"""The command `python -m service.store`: load pictures into a collection, dump a collection, back up a sqlite file.

Its settings are the VAE_* variables of the service; `--store` overrides VAE_STORE. The exit status is 1 after an error.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from tqdm import tqdm

from models.program import add_version_flag, program
from service.latents.distances import METRICS
from service.server.tuning import open_standard_descriptors
from service.settings import Settings, SettingsError, refuse_unknown, require_packages
from service.store import POSTGRES, LatentStore, make_store
from service.store.export import backup, dump, store_files
from service.store.interface import Collection, StoreError, StoreUnusable, check_collection_name

if TYPE_CHECKING:
    from service.inference.catalog import Catalog
    from service.operations.ingest import Counts


REPLACES = (
    "An existing OUT is replaced only if it is empty or an earlier output of this command. Any other file, a directory, a "
    "device, a store in use and the store itself are refused. Links are followed."
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(program("service.store"), description="Load, dump and back up the latent store.")
    add_version_flag(parser)
    parser.add_argument("--store", help="path of a sqlite file, or postgresql://... (default: VAE_STORE)")
    commands = parser.add_subparsers(dest="command", required=True)
    loading = commands.add_parser(
        "load",
        help="encode pictures into a collection, which is created if needed",
        description="Encode pictures and add them to a collection, which is created if needed.",
    )
    loading.add_argument("--collection", required=True, help="name of the collection")
    loading.add_argument("--model", help="model that encodes the pictures (default: VAE_DEFAULT_MODEL)")
    loading.add_argument(
        "--metric", choices=list(METRICS), default="l2", help="distance by which a new collection is searched (default: l2)"
    )
    loading.add_argument(
        "--prefix",
        action="store_true",
        help="begin each id with the name of the picture's folder, for paths that have the same ids",
    )
    loading.add_argument(
        "--replace", action="store_true", help="encode again what is already there, and store it if it has changed"
    )
    loading.add_argument(
        "--max-corrupt",
        type=_share,
        default=0.01,
        metavar="SHARE",
        help="share of unreadable files above which the exit status is 1; one file is always allowed (default: 0.01)",
    )
    loading.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="picture, folder of pictures, npz or npy file, or IDX file (the format of MNIST)",
    )
    dumping = commands.add_parser(
        "dump",
        help="write a collection to OUT.npz and OUT.jsonl",
        description=f"Write a collection to OUT.npz and OUT.jsonl. {REPLACES}",
    )
    dumping.add_argument("--collection", required=True, help="name of the collection")
    dumping.add_argument("out", type=Path, metavar="OUT", help="path without .npz and .jsonl, which are added")
    backing = commands.add_parser(
        "backup",
        help="copy the sqlite file, which may be in use, to OUT",
        description=f"Copy the sqlite file, which may be in use, to OUT. {REPLACES}",
    )
    backing.add_argument("out", type=Path, metavar="OUT", help="path of the copy")
    return parser.parse_args(arguments)


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 1, not {text}")
    return share


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    open_standard_descriptors()
    options = parse(arguments)
    try:
        refuse_unknown()
        settings = Settings(**({"store": options.store} if options.store else {}))
        require_packages(settings)
        if options.command == "backup":
            if settings.store.startswith(POSTGRES):
                raise StoreUnusable("backup copies sqlite files only; use pg_dump for a PostgreSQL database")
            backup(Path(settings.store), options.out)
        elif options.command == "dump":
            asyncio.run(_dump(settings, options))
        else:
            asyncio.run(_load(settings, options))
    except (StoreError, SettingsError, ValidationError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[LatentStore]:
    store = make_store(settings.store, settings.store_max_bytes)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def _dump(settings: Settings, options: argparse.Namespace) -> None:
    async with _opened(settings) as store:
        collection = await store.collection(options.collection)
        if collection.keep == "picture":
            print("the dump has no originals of pictures; a backup has them", flush=True)
        with tqdm(total=collection.count, unit="item") as bar:
            own = [] if settings.store.startswith(POSTGRES) else store_files(Path(settings.store))
            await dump(store, options.collection, options.out, bar.update, own)


async def _load(settings: Settings, options: argparse.Namespace) -> None:
    from service.engine.device import Device, QueueLimits
    from service.engine.errors import BatcherError, DeviceUnusable
    from service.formats.decoder_processes.dispatch import Decoders
    from service.formats.errors import BadInput
    from service.inference.catalog import Catalog, CatalogError  # importing torch takes a second
    from service.inference.pipeline import Pipeline
    from service.operations.ingest import Counts, load
    from service.operations.load_sources import LoadError, sources_of

    async with _opened(settings) as store:
        limits = QueueLimits(settings.max_batch, settings.max_queue_rows, settings.max_rows)
        threads = settings.threads or os.cpu_count() or 1
        device = Device(settings.device, threads, limits, settings.engine, settings.precision)
        decoders = Decoders(settings.max_pixels, settings.max_decoded_bytes, settings.decode_seconds)
        pipeline = Pipeline(Catalog(device), decoders)
        try:
            device.start()
            name = options.model or settings.default_model
            await pipeline.catalog.load(settings.models_dir, (name,), name)
            spec = pipeline.catalog.get(None).manifest.preprocessing
            sources = sources_of(options.paths, spec, options.prefix)
            print(*(line for source in sources for line in source.summary), sep="\n", flush=True)
            collection = await _collection(pipeline.catalog, store, options)
            if collection.keep == "picture":
                print("the originals of these pictures are not kept; add pictures over HTTP to keep them", flush=True)
            counts, total = Counts(), sum(source.count for source in sources)
            with tqdm(total=total, unit="item") as bar:
                for source in sources:
                    await load(pipeline, store, collection, source, bar.update, options.replace, counts)
            _report(counts, total, options)
        except (LoadError, CatalogError, DeviceUnusable, BadInput, BatcherError) as error:
            raise StoreError(str(error)) from error
        finally:
            await device.close()
            await pipeline.close()


def _report(counts: "Counts", total: int, options: argparse.Namespace) -> None:
    """Print what became of the pictures. Raises StoreError if more were corrupt than allowed, or all."""
    for line in counts.skipped:
        print(f"skipped {line}")
    for code, (count, first) in counts.warnings.items():
        print(f"warning: {count:,} pictures are {code.replace('_', ' ')}; the first one is {first}")
    done = [f"added {counts.added:,}", f"replaced {counts.replaced:,}"]
    if options.replace:
        done.append(f"unchanged {counts.unchanged:,}")
    there = f"already there {counts.there:,}"
    if counts.there:
        there += " (not encoded again; --replace does it, --prefix tells pictures of other folders apart)"
    print(", ".join([*done, *([] if options.replace else [there]), f"skipped {len(counts.skipped):,}"]), flush=True)
    if len(counts.skipped) > max(1, options.max_corrupt * total) or not counts.read:
        raise StoreError(
            f"{len(counts.skipped)} of {total} pictures could not be read, more than the allowed share of "
            f"{options.max_corrupt:g} (--max-corrupt); the other {counts.read} are in the collection; the first one is "
            f"{counts.skipped[0]}"
        )


async def _collection(catalog: "Catalog", store: LatentStore, options: argparse.Namespace) -> Collection:
    """Return the collection of that name, which is created if needed. Raises StoreError."""
    check_collection_name(options.collection)
    model = catalog.get(None)
    wanted = Collection(options.collection, model.name, model.digest, model.latent_dim, options.metric)
    there = {collection.name: collection for collection in await store.collections()}
    if options.collection in there:  # keep its metric and description
        own = there[options.collection]
        wanted = replace(wanted, metric=own.metric, description=own.description)
    return await store.create(wanted)
