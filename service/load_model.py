"""The model that `python -m service.store load` encodes with: that of the collection, or the one that is asked for."""

import argparse
from dataclasses import replace

from models.readers.left_out import listed
from service.bulk.worker import Work
from service.engine.device import QueueLimits
from service.inference.catalog import find, name_of
from service.inference.served_model import ServedModel
from service.operations.collection_model import NoSigmaWeight, distance_of, new_collection
from service.settings import Settings
from service.store.interface import Collection, StoreError


def work_of(settings: Settings, options: argparse.Namespace, there: Collection | None, threads: int) -> Work:
    """Return what an encoder needs for the collection `there`, or for what is new. Raises StoreError, CatalogError."""
    directory, name = settings.models_dir.absolute(), options.model or settings.default_model
    if there is not None and not options.model:
        found = name_of(directory, there.digest, there.model)
        if found is None:
            raise StoreError(
                f"the collection {there.name!r} was made with {there.label}, and {settings.models_dir} has no checkpoint with "
                "that digest; give the directory that has it with --models-dir, or load into a new collection"
            )
        name = found
    if name not in (names := find(directory)):
        raise StoreError(
            f"{settings.models_dir} has no checkpoint {name!r}, only {listed(list(names), most=10)}; choose one with --model, "
            "or another directory with --models-dir"
        )
    return Work(
        directory,
        name,
        "",
        settings.device,
        threads,
        QueueLimits(settings.max_batch, settings.max_queue_rows, settings.max_rows),
        settings.engine,
        settings.precision,
        settings.max_pixels,
        settings.max_decoded_bytes,
        settings.decode_seconds,
        options.background,
        options.invert,
    )


def check_model(options: argparse.Namespace, there: Collection | None, model: ServedModel) -> None:
    """Say which model encodes. Raises StoreError if the collection, or what is asked of it, is of another one."""
    name, said = model.name, f"model: {model.name}@sha256:{model.digest[:12]}..."
    if options.out is not None:
        print(said)
    elif there is None:
        print(
            f"{said}, for the new collection {options.collection!r}, which is searched by {_distance(new_of(options, model))}"
        )
    else:
        if model.digest != there.digest:
            raise StoreError(
                f"the collection {there.name!r} was made with {there.label}, not with {name}@sha256:{model.digest}; leave out "
                "--model, or load into a new collection"
            )
        if options.metric not in (None, there.metric) or options.sigma_weight not in (None, there.sigma_weight):
            raise StoreError(
                f"the collection {there.name!r} is searched by {_distance(there)}, and --metric and --sigma-weight are for "
                "new collections only; leave them out, or change the metric with PUT over HTTP"
            )
        print(f"{said}, with which the collection {there.name!r} was made" + f" as {there.model}" * (there.model != name))


def new_of(options: argparse.Namespace, model: ServedModel) -> Collection:
    """Return the new collection that the command line asks for. Raises StoreError."""
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
