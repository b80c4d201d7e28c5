"""Encoders on the machines of a Ray cluster: Ray Data divides the work among a pool of actors, each of which has the model.

Ray restarts actors that are lost, and encodes their batches again. They store nothing. Knows nothing of files or stores.
"""

import asyncio
import logging
import pickle
import platform
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
from ray.exceptions import RayError, RayTaskError

from models.readers.left_out import plural
from models.readers.path_names import shown
from service.bulk.encoded import Encoded
from service.bulk.worker import Work, Worker
from service.operations.load_sources import Interrupted, LoadError, PictureBatch

# Batches of a task: so many that a task takes some tenths of a second or longer.
TASK_BATCHES = 8
# Actors that share a GPU: decoding pictures takes several CPUs for each.
PER_GPU = 4


class RayWorker:
    """An actor of the pool."""

    def __init__(self, work: Work, paths: Sequence[Path]) -> None:
        """Take the paths below which all pictures are. Nothing is loaded yet: Ray hides the reason of an error in here."""
        self._runner, self._worker, self._paths, self._is_ready = asyncio.Runner(), Worker(work), paths, False

    def __call__(self, tasks: dict[str, Any]) -> dict[str, Any]:
        """Encode the batches of tasks. A LoadError is among the results, since Ray would wrap one that is raised."""
        return {"encoded": np.array([_packed(self._results(task)) for task in tasks["task"]], object)}

    def _results(self, task: bytes) -> list[Encoded | LoadError]:
        try:
            if not self._is_ready:
                self._start()
            return [self._runner.run(self._worker.encode(batch)) for batch in _unpacked(task)]
        except LoadError as error:
            return [error]

    def _start(self) -> None:
        """Load the model. Raises LoadError, also if this machine lacks one of the paths."""
        if missing := [path for path in self._paths if not path.exists()]:
            raise LoadError(
                f"the machine {platform.node()} has no {shown(missing[0])}: all machines of the cluster need the pictures "
                "under the same paths"
            )
        self._runner.run(self._worker.start())
        self._is_ready = True


async def on_ray(
    work: Work, count: int | None, paths: Sequence[Path], batches: AsyncIterator[PictureBatch]
) -> AsyncGenerator[Encoded]:
    """Yield the results of batches in their order, from so many actors; None: as many as there is room for. Raises LoadError.

    Batches are small: they name files, below `paths` on all machines. So all are collected first.
    """
    tasks = [task async for task in _tasks(batches)]
    if not tasks:
        return
    try:
        results = iter(await asyncio.to_thread(_started, work, count, paths, tasks))
        while (row := await asyncio.to_thread(next, results, None)) is not None:
            for encoded in _unpacked(row["encoded"]):
                if isinstance(encoded, LoadError):
                    raise encoded
                yield encoded
    except RayError as error:
        raise Interrupted(f"Ray cannot go on: {_reason(error)}") from error


def connect() -> str:
    """Connect to the cluster of RAY_ADDRESS, or of this machine, or start one here; say what it has. Raises LoadError."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise LoadError(f"no Ray cluster can be used (RAY_ADDRESS says which one): {error}") from None
    there = ray.cluster_resources()
    machines = len([node for node in ray.nodes() if node["Alive"]])
    return f"Ray {ray.__version__}: {plural(machines, 'machine')}, {there.get('CPU', 0):g} CPUs, {there.get('GPU', 0):g} GPUs"


def _started(work: Work, count: int | None, paths: Sequence[Path], tasks: list[bytes]) -> Iterator[dict[str, Any]]:
    """Start the actors, and return what they will have encoded, in order."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    there = ray.cluster_resources()
    on_gpu = work.device.startswith("cuda") or (work.device == "auto" and there.get("GPU", 0) > 0)
    room = int(there["GPU"] * PER_GPU if on_gpu else there["CPU"] // work.threads)
    data = ray.data.from_items([{"task": task} for task in tasks], override_num_blocks=len(tasks))
    encoded = data.map_batches(
        RayWorker,
        fn_constructor_args=(work, paths),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(count or room, len(tasks)))),
        num_cpus=0 if on_gpu else work.threads,
        num_gpus=1 / PER_GPU if on_gpu else 0,
    )
    return iter(encoded.iter_rows())


async def _tasks(batches: AsyncIterator[PictureBatch]) -> AsyncIterator[bytes]:
    """Pack batches, several together; those of a Parquet file lie one after the other."""
    waiting: list[PictureBatch] = []
    async for batch in batches:
        waiting.append(batch)
        if len(waiting) == TASK_BATCHES:
            yield _packed(waiting)
            waiting = []
    if waiting:
        yield _packed(waiting)


def _reason(error: RayError) -> str:
    """Return the line of an error of Ray that says what happened: the last one of an error in a task, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if isinstance(error, RayTaskError) else 0].rstrip(".")


def _packed(value: list[Any]) -> bytes:
    return zlib.compress(pickle.dumps(value), 1)


def _unpacked(data: bytes) -> list[Any]:
    found: list[Any] = pickle.loads(zlib.decompress(data))  # noqa: S301  It comes from our own processes.
    return found
