"""python -m service.store: load pictures into a collection, dump one, back a sqlite file up. Exit status 1: it failed.

Settings are those of the service: the environment's, or `--store`.
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

from service.latents.distances import METRICS
from service.server.tuning import open_standard_descriptors
from service.settings import Settings, SettingsError, refuse_unknown
from service.store import POSTGRES, LatentStore, make_store
from service.store.export import backup, dump, store_files
from service.store.interface import COLLECTION_NAME, Collection, StoreError, StoreUnusable

if TYPE_CHECKING:
    from service.inference.pipeline import Engine


REPLACES = (
    "What is at OUT is replaced only if it is empty or an earlier output of this command; any other file, a directory, a "
    "device, a store that is in use and the store itself are refused. Links are followed."
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m service.store", description="Latents to and from files.")
    parser.add_argument("--store", help="path of a sqlite file, or postgresql://...; VAE_STORE when missing")
    commands = parser.add_subparsers(dest="command", required=True)
    loading = commands.add_parser("load", help="pictures into a collection; it is made when it is not there")
    loading.add_argument("--collection", required=True)
    loading.add_argument("--model", help="the service's default model when missing")
    loading.add_argument("--metric", choices=list(METRICS), default="l2", help="of a new collection")
    loading.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="pictures, folders, npz, IDX")
    dumping = commands.add_parser(
        "dump", help="a collection into OUT.npz and OUT.jsonl", description=f"Write a collection into two files. {REPLACES}"
    )
    dumping.add_argument("--collection", required=True)
    dumping.add_argument("out", type=Path, metavar="OUT")
    backing = commands.add_parser(
        "backup",
        help="a sqlite file, which may be in use, into another",
        description=f"Copy a sqlite file that may be in use. {REPLACES}",
    )
    backing.add_argument("out", type=Path, metavar="OUT")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    open_standard_descriptors()
    options = parse(arguments)
    try:
        refuse_unknown()
        settings = Settings(**({"store": options.store} if options.store else {}))
        if options.command == "backup":
            if settings.store.startswith(POSTGRES):
                raise StoreUnusable("backup copies sqlite files; of a PostgreSQL database, pg_dump makes a backup")
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
        count = (await store.collection(options.collection)).count
        with tqdm(total=count, unit="item") as bar:
            own = [] if settings.store.startswith(POSTGRES) else store_files(Path(settings.store))
            await dump(store, options.collection, options.out, bar.update, own)


async def _load(settings: Settings, options: argparse.Namespace) -> None:
    from service.engine.device import Device, QueueLimits
    from service.engine.errors import BatcherError, DeviceUnusable
    from service.formats.errors import BadInput
    from service.inference.catalog import Catalog, CatalogError  # torch takes a second, which a bad path need not wait for
    from service.inference.pipeline import Engine
    from service.operations.ingest import LoadError, load, source_of

    async with _opened(settings) as store:
        limits = QueueLimits(settings.max_batch, settings.max_queue_rows, settings.max_rows)
        threads = settings.threads or os.cpu_count() or 1
        device = Device(settings.device, threads, limits, settings.engine, settings.precision)
        engine = Engine(
            Catalog(device),
            settings.max_pixels,
            store,
            max_decoded_bytes=settings.max_decoded_bytes,
            decode_seconds=settings.decode_seconds,
        )
        try:
            sources = [source_of(path) for path in options.paths]
            device.start()
            name = options.model or settings.default_model
            await engine.catalog.load(settings.models_dir, (name,), name)
            collection = await _collection(engine, options)
            with tqdm(total=sum(source.count for source in sources), unit="item") as bar:
                for source in sources:
                    await load(engine, collection, source, bar.update)
        except (LoadError, CatalogError, DeviceUnusable, BadInput, BatcherError) as error:
            raise StoreError(str(error)) from error
        finally:
            await device.close()
            await engine.close()


async def _collection(engine: "Engine", options: argparse.Namespace) -> Collection:
    """The one that is there, or a new one. Raises StoreError."""
    if not COLLECTION_NAME.fullmatch(options.collection):
        raise StoreError(
            f"{options.collection[:120]!r} is no name for a collection: up to 100 letters, digits, '.', '_' and '-' make one"
        )
    runtime = engine.catalog.get(None)
    wanted = Collection(options.collection, runtime.name, runtime.digest, runtime.manifest.model.latent_dim, options.metric)
    there = {collection.name: collection for collection in await engine.store.collections()}
    if options.collection in there:  # its metric and description stay
        own = there[options.collection]
        wanted = replace(wanted, metric=own.metric, description=own.description)
    return await engine.store.create(wanted)
