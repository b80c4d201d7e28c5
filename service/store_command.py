"""The command `python -m service.store`: load items into a collection, dump or index a collection, back up a sqlite file.

Its settings are the VAE_* variables of the service; `--store` overrides VAE_STORE, and `--models-dir` VAE_MODELS_DIR. The exit
status is 1 after an error, 2 for a wrong command line, and 130 after Ctrl-C.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from tqdm import tqdm

from models.kinds import kind_of
from models.kinds.beside import Beside
from models.readers.left_out import listed, plural
from models.readers.ranges import pixel_lines
from service.flags import explain
from service.server.tuning import open_standard_descriptors
from service.settings import Settings, SettingsError, refuse_unknown, require_packages
from service.store import POSTGRES, LatentStore, make_store
from service.store.export import backup, check_file, dump, store_files
from service.store.interface import Collection, StoreError, StoreUnusable, UnknownCollection
from service.store.names import check_name
from service.store_flags import parse

if TYPE_CHECKING:
    from service.inference.catalog import Catalog
    from service.inference.served_model import ServedModel
    from service.operations.ingest import Counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    open_standard_descriptors()
    options = parse(arguments)
    try:
        refuse_unknown()
        flags = {name: value for name in ("store", "models_dir") if (value := getattr(options, name, None))}
        if "store" in flags:
            flags["store_file"] = None  # A flag wins over variables.
        settings = Settings(**flags)
        require_packages(settings)
        if options.command == "backup":
            if settings.store.startswith(POSTGRES):
                raise StoreUnusable("backup copies sqlite files only; use pg_dump for a PostgreSQL database")
            backup(Path(settings.store), options.out)
        elif options.command == "index":
            _index(settings, options)
        elif options.command == "dump":
            asyncio.run(_dump(settings, options))
        else:
            asyncio.run(_load(settings, options))
    except KeyboardInterrupt:
        print("interrupted; run the same command again", file=sys.stderr)
        return 130
    except (StoreError, SettingsError) as error:
        reasons = [str(error)]
    except OSError as error:
        reasons = [f"{error.filename}: {error.strerror}" if error.filename else str(error)]
    except ValidationError as error:
        reasons = explain(error)
    else:
        return 0
    for reason in reasons:
        print(f"error: {reason}", file=sys.stderr)
    return 1


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[LatentStore]:
    store = make_store(settings.store, settings.store_max_bytes)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def _index(settings: Settings, options: argparse.Namespace) -> None:
    if not settings.store.startswith(POSTGRES):
        raise StoreUnusable("index is for PostgreSQL; a sqlite store has no approximate indexes, its searches are exact")
    from service.store.postgres.build_indexes import Wanted, build_indexes  # an extra

    half = None if options.numbers is None else options.numbers == "float16"
    wanted = Wanted(half, options.filter_key, options.range_key, options.memory, options.workers, options.drop)
    build_indexes(settings.store, options.collection, wanted, partial(print, flush=True))


async def _dump(settings: Settings, options: argparse.Namespace) -> None:
    own = [] if settings.store.startswith(POSTGRES) else store_files(Path(settings.store))
    for file in own[:1]:
        check_file(file)
    async with _opened(settings) as store:
        try:
            collection = await store.collection(options.collection)
        except UnknownCollection:
            names = listed([one.name for one in await store.collections()], most=10)
            there = f"its collections are {names}; choose one of them" if names else "it has none; check --store or VAE_STORE"
            raise StoreError(f"the store has no collection {options.collection!r}: {there}") from None
        if collection.keep == "picture":
            print("the dump has no originals of pictures; a backup has them", flush=True)
        if directions := await store.directions(options.collection):
            print(f"the dump leaves out {plural(len(directions), 'direction')}, which a backup has", flush=True)
        with tqdm(total=collection.count, unit="item") as bar:
            await dump(store, options.collection, options.out, bar.update, own)


async def _load(settings: Settings, options: argparse.Namespace) -> None:
    from service.engine.device import Device, QueueLimits
    from service.engine.errors import BatcherError, DeviceUnusable
    from service.formats.decoder_processes.dispatch import Decoders
    from service.formats.errors import BadInput
    from service.inference.catalog import Catalog, CatalogError  # importing torch takes a second
    from service.inference.inference import Inference
    from service.inference.pipeline import Pipeline
    from service.operations.ingest import Counts, load
    from service.operations.load_sources import LoadError, sources_of
    from service.operations.row_sources import row_sources

    check_name(options.collection, "collection")
    async with _opened(settings) as store:
        print(f"store: {_shown(settings.store)}", flush=True)
        there = {collection.name: collection for collection in await store.collections()}.get(options.collection)
        limits = QueueLimits(settings.max_batch, settings.max_queue_rows, settings.max_rows)
        threads = settings.threads or os.cpu_count() or 1
        device = Device(settings.device, threads, limits, settings.engine, settings.precision)
        decoders = Decoders(settings.max_pixels, settings.max_decoded_bytes, settings.decode_seconds)
        pipeline = Pipeline(Catalog(device), decoders)
        try:
            device.start()
            model = await _load_model(pipeline.catalog, settings, options, there)
            background, invert = options.background, options.invert
            word = kind_of(model.manifest.model.kind).noun
            beside = Beside(options.id_column, options.metadata_columns)
            named = None if beside == Beside() else partial(model.kind.beside, beside=beside)
            if model.is_pictures and named is not None:
                raise LoadError(
                    f"--id-column and --metadata-columns are for tables, and {model.name!r} is a model of pictures"
                )
            if model.is_pictures:
                wanted = Inference(model, background=background, invert=invert).preprocessing
                sources = sources_of(options.paths, wanted, options.prefix)
            elif background or invert:
                raise LoadError(f"--background and --invert are for pictures, and {model.name!r} is no model of pictures")
            else:
                sources = row_sources(options.paths, model.kind, named)
            print(*(line for source in sources for line in source.summary), sep="\n", flush=True)
            collection = there or _new(options, model)
            if collection.keep == "picture":
                print("the originals of these pictures are not kept; add pictures over HTTP to keep them", flush=True)
            counts, total = Counts(), sum(source.count for source in sources)
            with tqdm(total=total, unit="item") as bar:
                try:
                    for source in sources:
                        how = (options.replace, counts, there is None, background, invert)
                        await load(pipeline, store, collection, source, bar.update, *how)
                except (StoreError, LoadError, BatcherError) as error:
                    done = f"{counts.added + counts.replaced:,} of {plural(total, word)} were stored before"
                    raise StoreError(f"{error}; {done}; run the same command again to go on") from error
            _report(counts, total, options, word)
        except (LoadError, CatalogError, DeviceUnusable, BadInput, BatcherError) as error:
            raise StoreError(str(error)) from error
        finally:
            await device.close()
            await pipeline.close()


def _shown(address: str) -> str:
    """Return the address of a store without the user and password of a database."""
    if not address.startswith(POSTGRES):
        return str(Path(address).resolve())
    scheme, _, rest = address.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


async def _load_model(
    catalog: "Catalog", settings: Settings, options: argparse.Namespace, there: Collection | None
) -> "ServedModel":
    """Load the model of the collection `there`, or of a new one, and say which. Raises StoreError, CatalogError."""
    from service.inference.catalog import find, name_of

    directory, name = settings.models_dir, options.model or settings.default_model
    if there is not None and not options.model:
        found = await asyncio.to_thread(name_of, directory, there.digest, there.model)
        if found is None:
            raise StoreError(
                f"the collection {there.name!r} was made with {there.label}, and {directory} has no checkpoint with that "
                "digest; give the directory that has it with --models-dir, or load into a new collection"
            )
        name = found
    if name not in (names := find(directory)):
        raise StoreError(
            f"{directory} has no checkpoint {name!r}, only {listed(list(names), most=10)}; choose one with --model, or "
            "another directory with --models-dir"
        )
    await catalog.load(directory, (name,), name)
    model = catalog.get(name)
    said = f"model: {name}@sha256:{model.digest[:12]}..."
    if there is None:
        print(f"{said}, for the new collection {options.collection!r}, which is searched by {_distance(_new(options, model))}")
        return model
    if model.digest != there.digest:
        raise StoreError(
            f"the collection {there.name!r} was made with {there.label}, not with {name}@sha256:{model.digest}; leave out "
            "--model, or load into a new collection"
        )
    if options.metric not in (None, there.metric) or options.sigma_weight not in (None, there.sigma_weight):
        raise StoreError(
            f"the collection {there.name!r} is searched by {_distance(there)}, and --metric and --sigma-weight are for new "
            "collections only; leave them out, or change the metric with PUT over HTTP"
        )
    print(f"{said}, with which the collection {there.name!r} was made" + f" as {there.model}" * (there.model != name))
    return model


def _new(options: argparse.Namespace, model: "ServedModel") -> Collection:
    """Return the new collection that the command line asks for. Raises StoreError."""
    from service.operations.collection_model import NoSigmaWeight, distance_of, new_collection

    new = new_collection(options.collection, model)
    try:
        metric, sigma_weight = distance_of(new, options.metric, options.sigma_weight)
    except NoSigmaWeight as error:
        raise StoreError(
            f"--sigma-weight is for the metric w2, but the metric is {error.metric}: leave it out, or add --metric w2"
        ) from None
    return replace(new, metric=metric, sigma_weight=sigma_weight)


def _distance(collection: Collection) -> str:
    weight = f" with a sigma_weight of {collection.sigma_weight:g}" if collection.metric == "w2" else ""
    return collection.metric + weight


def _report(counts: "Counts", total: int, options: argparse.Namespace, word: str) -> None:
    """Print what became of the items, called by a word. Raises StoreError if more were corrupt than allowed, or all."""
    for line in counts.skipped:
        print(f"left out {line}")
    for code, (count, first) in counts.warnings.items():
        print(f"warning: {count:,} {word}s are {code.replace('_', ' ')}; the first one is {first}")
    if counts.least <= counts.most:  # Otherwise nothing was encoded.
        for line in pixel_lines(counts.least, counts.most):
            print(line)
    if counts.there and not options.replace:
        print("what is already there is not encoded again; --replace does it, --prefix tells pictures of other folders apart")
    bad = len(counts.skipped)
    print(
        f"found {plural(total, word)}: added {counts.added:,}, replaced {counts.replaced:,}, already there "
        f"{counts.there:,}, left out {bad:,}" + " (named above, with the reasons)" * bool(bad),
        flush=True,
    )
    if bad == total:
        raise StoreError(f"none of the {word}s could be read, so none was added; the first one is {counts.skipped[0]}")
    if bad > max(1, options.max_corrupt * total):
        raise StoreError(
            f"{bad} of {total} {word}s could not be read, more than the allowed share of {options.max_corrupt:g} "
            f"(--max-corrupt); the other {total - bad} are in the collection; mend or remove the files that are named above"
        )
