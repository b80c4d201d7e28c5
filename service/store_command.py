"""The command `python -m service.store`: load items into a collection, dump or index a collection, back up a sqlite file.

Its settings are the VAE_* variables of the service; `--store` overrides VAE_STORE, and `--models-dir` VAE_MODELS_DIR. The exit
status is 1 after an error, 2 for a wrong command line, and 130 after Ctrl-C.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import ValidationError
from tqdm import tqdm

from models.readers.left_out import listed, plural
from service.flags import explain
from service.operations.parquet_pictures import SHORT
from service.server.tuning import open_standard_descriptors
from service.settings import Settings, SettingsError, refuse_unknown, require_packages
from service.store import POSTGRES, opened_store
from service.store.export import backup, check_file, dump, store_files
from service.store.interface import StoreError, StoreUnusable, UnknownCollection
from service.store_addresses import check_store_addresses, shown_address
from service.store_flags import parse

# Packages that only some commands need, and the extras that have them.
EXTRAS = {"pyarrow": "parquet", "ray": "ray"}


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
        check_store_addresses(settings)
        if options.command == "backup":
            if settings.store.startswith(POSTGRES):
                raise StoreUnusable("backup copies sqlite files only; use pg_dump for a PostgreSQL database")
            backup(Path(settings.store), options.out)
        elif options.command == "index":
            _index(settings, options)
        elif options.command == "dump":
            asyncio.run(_dump(settings, options))
        else:
            from service.load_command import load_items  # importing torch takes a second

            asyncio.run(load_items(settings, options))
    except KeyboardInterrupt:
        # Python needs a moment to end, in which another Ctrl-C would kill it: it would not have this exit status.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("interrupted; run the same command again", file=sys.stderr)
        return 130
    except (StoreError, SettingsError) as error:
        reasons = [str(error)]
    except OSError as error:
        reasons = [f"{error.filename}: {error.strerror}" if error.filename else str(error)]
    except ValidationError as error:
        reasons = explain(error)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        reasons = [f"this needs the package {error.name}: pip install 'vae-service[{EXTRAS[error.name]}]'"]
    except ImportError as error:
        reasons = [f"the package {error.name} cannot be loaded: {error}; {SHORT}"]
    except MemoryError:
        reasons = ["the memory is full: free some, or allow more if it is limited (ulimit -v)"]
    else:
        return 0
    for reason in reasons:
        print(f"error: {reason}", file=sys.stderr)
    return 1


def _index(settings: Settings, options: argparse.Namespace) -> None:
    if not settings.store.startswith(POSTGRES):
        raise StoreUnusable(
            f"index is for PostgreSQL, and the store is {shown_address(settings.store)}, a sqlite file, which needs no "
            "indexes; name a database with --store postgresql://... or VAE_STORE"
        )
    from service.store.postgres.build_indexes import Wanted, build_indexes  # an extra

    half = None if options.numbers is None else options.numbers == "float16"
    wanted = Wanted(
        half, options.filter_key, options.range_key, options.memory, options.workers, options.drop, options.no_keys
    )
    try:
        build_indexes(settings.store, options.collection, wanted, partial(print, flush=True))
    except UnknownCollection as error:
        raise _no_collection(options.collection, list(error.known)) from None


def _no_collection(name: str, names: list[str]) -> StoreError:
    """Return the error of a command for a collection that is not there, with the names of those that are."""
    there = (
        f"its collections are {listed(names, most=10)}; choose one of them"
        if names
        else "it has none; check --store or VAE_STORE"
    )
    return StoreError(f"the store has no collection {name!r}: {there}")


async def _dump(settings: Settings, options: argparse.Namespace) -> None:
    own = [] if settings.store.startswith(POSTGRES) else store_files(Path(settings.store))
    for file in own[:1]:
        check_file(file)
    async with opened_store(settings.store, settings.store_max_bytes) as store:
        try:
            collection = await store.collection(options.collection)
        except UnknownCollection:
            raise _no_collection(options.collection, [one.name for one in await store.collections()]) from None
        if collection.keep == "picture":
            print("the dump has no originals of pictures; a backup has them", flush=True)
        if directions := await store.directions(options.collection):
            print(f"the dump leaves out {plural(len(directions), 'direction')}, which a backup has", flush=True)
        with tqdm(total=collection.count, unit="item") as bar:
            await dump(store, options.collection, options.out, bar.update, own)
