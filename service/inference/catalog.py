"""The loaded models by name. Knows nothing of HTTP."""

import asyncio
import difflib
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.checkpoint import CONFIG, Checkpoint, CheckpointError, read
from models.golden import Golden, StaleGolden, read_golden
from models.metrics_file import METRICS, read_metrics
from service.engine.device import Device
from service.inference.priors import Priors, priors_of
from service.inference.served_model import Runtime, WrongAnswer, check_golden, start_runtime

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class CatalogError(Exception):
    """Models that cannot be loaded; the message names the directory and the reason."""


class UnknownModel(Exception):
    """A name that no loaded model has."""

    def __init__(self, name: str, known: list[str]) -> None:
        name = name[:120]
        near = difflib.get_close_matches(name, known, n=1)
        super().__init__(
            f"no model {name!r} is loaded; loaded are {', '.join(known)}" + (f"; did you mean {near[0]}?" if near else "")
        )


class AlreadyLoaded(Exception):
    """A model that is there already."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the model {name!r} is loaded; reload takes what its directory holds now")


class StillNeeded(Exception):
    """A model that cannot be unloaded, because requests that name none are for it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is the default model, for which requests are that name none: it stays loaded")


class NoCheckpoint(Exception):
    """A name under which the models' directory holds nothing."""

    def __init__(self, name: str, directory: Path) -> None:
        there = ", ".join(_names(directory)) or "none"
        super().__init__(f"{directory} holds no checkpoint {name[:120]!r}; there are: {there}")


class SeveralWorkers(Exception):
    """A change of the models of one process, where the others would keep theirs."""

    def __init__(self, workers: int) -> None:
        super().__init__(
            f"{workers} workers share this port, each with its own models, and one cannot change them for all: change the "
            f"files, then send SIGHUP to the process that started them (kill -HUP {os.getppid()}); it replaces them one "
            "after another, without a failed request"
        )


@dataclass(frozen=True)
class Change:
    """What became of a model: its digest now and before, None where there is none, and how long that took."""

    name: str
    digest: str | None
    previous: str | None
    seconds: float


@dataclass(frozen=True)
class _Loaded:
    runtime: Runtime
    metrics: dict[str, Any]
    priors: Priors


class Catalog:
    """Models on one device. Filled by `load`, changed by `add`, `replace` and `remove`, one at a time.

    A request that has its runtime keeps it to the end, whatever becomes of the name meanwhile.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.directory = Path()
        self.runtimes: dict[str, Runtime] = {}
        self.metrics: dict[str, dict[str, Any]] = {}  # of each model's card, as its metrics.json has them
        self.priors: dict[str, Priors] = {}
        self.default = ""
        self.tell_of: Callable[[Runtime], None] = lambda _: None  # called with every model that is served from now on
        self.loads: Counter[tuple[str, str]] = Counter()  # by model and result: "ok", "failed"
        self._changing = asyncio.Lock()

    async def load(self, directory: Path, names: tuple[str, ...], default: str, default_is_required: bool = False) -> None:
        """Load and warm up checkpoints, all found when `names` is empty. Raises CatalogError."""
        self.directory = directory
        for name in names or find(directory):
            if not NAME.fullmatch(name):
                raise CatalogError(f"{name!r} is no name for a model: letters, digits, '.', '_' and '-' make one")
            self._put(name, await self._bring(name))
        if default_is_required and default not in self.runtimes:
            raise CatalogError(f"the default model {default!r} is not among the loaded: {', '.join(self.runtimes)}")
        self.default = default if default in self.runtimes else next(iter(self.runtimes))

    async def add(self, name: str) -> Change:
        """Load one more model from the directory. Raises AlreadyLoaded, NoCheckpoint, CatalogError, DeviceUnusable."""
        async with self._changing:
            if name in self.runtimes:
                raise AlreadyLoaded(name)
            return await self._change(name)

    async def replace(self, name: str) -> Change:
        """Take what the directory holds now in place of a loaded model; on an error that one stays.

        Raises UnknownModel, NoCheckpoint, CatalogError, DeviceUnusable.
        """
        async with self._changing:
            self.get(name)
            return await self._change(name)

    async def remove(self, name: str) -> Change:
        """Forget a model; requests that have it are finished. Raises UnknownModel, StillNeeded."""
        async with self._changing:
            started, previous = time.monotonic(), self.get(name).digest
            if name == self.default:
                raise StillNeeded(name)
            del self.runtimes[name], self.metrics[name], self.priors[name]
            log.info("unloaded %s (%s)", name, previous[:12])
            return Change(name, None, previous, time.monotonic() - started)

    async def _change(self, name: str) -> Change:
        started, old = time.monotonic(), self.runtimes.get(name)
        if not NAME.fullmatch(name) or not await asyncio.to_thread((self.directory / name).is_dir):
            raise NoCheckpoint(name, self.directory)
        new = await self._bring(name)
        self._put(name, new)
        previous = None if old is None else old.digest
        return Change(name, new.runtime.digest, previous, time.monotonic() - started)

    def _put(self, name: str, new: _Loaded) -> None:
        """All at once: nothing else runs in between."""
        self.runtimes[name], self.metrics[name], self.priors[name] = new.runtime, new.metrics, new.priors
        self.tell_of(new.runtime)
        manifest = new.runtime.manifest
        log.info("loaded %s (%s, D = %d)", name, new.runtime.digest[:12], manifest.model.latent_dim)

    async def _bring(self, name: str) -> _Loaded:
        """A model, warm and checked, that nobody knows yet. Raises CatalogError, DeviceUnusable."""
        directory = self.directory / name
        try:
            checkpoint = await asyncio.to_thread(read, directory)
            priors = await asyncio.to_thread(priors_of, name, directory, checkpoint)
            golden = await asyncio.to_thread(_golden, directory, checkpoint)
            metrics = await asyncio.to_thread(_metrics, directory)
            runtime = await start_runtime(name, checkpoint, self.device)
            if golden is not None:
                await check_golden(runtime, golden, self.device.precision)
        except (CheckpointError, RuntimeError, WrongAnswer) as error:
            self.loads[name, "failed"] += 1
            raise CatalogError(f"cannot load the model {name}: {error}") from error
        except BaseException:
            self.loads[name, "failed"] += 1
            raise
        self.loads[name, "ok"] += 1
        return _Loaded(runtime, metrics, priors)

    def get(self, name: str | None) -> Runtime:
        """The model of that name, the default one for None. Raises UnknownModel."""
        try:
            return self.runtimes[self.default if name is None else name]
        except KeyError:
            raise UnknownModel(str(name), list(self.runtimes)) from None


def find(directory: Path) -> tuple[str, ...]:
    """Names of the checkpoint directories in a directory, sorted. Raises CatalogError when there is none."""
    names = _names(directory)
    if not names:
        raise CatalogError(f"{directory} holds no checkpoint directories (each with a {CONFIG})")
    return names


def _names(directory: Path) -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in directory.glob(f"*/{CONFIG}")))


def _golden(directory: Path, checkpoint: Checkpoint) -> Golden | None:
    try:
        return read_golden(directory, checkpoint.digest, checkpoint.manifest.model)
    except StaleGolden as error:
        log.warning("%s", error)
        return None


def _metrics(checkpoint: Path) -> dict[str, Any]:
    """The card's numbers; a model without a card serves as well."""
    path = checkpoint / METRICS
    try:
        return read_metrics(checkpoint)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise CatalogError(f"{path}: not JSON: {error}") from None
