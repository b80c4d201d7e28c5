"""Keeps the loaded models by name; loads, replaces and removes them. Knows nothing of HTTP."""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from models import kl_range
from models.calibration import StaleCalibration, read_calibration
from models.checkpoint import CONFIG, CheckpointError, read
from models.diffusers_layout import ExtraMissing as MissingPackages
from models.diffusers_layout import pipelines_in
from models.golden import StaleGolden, read_golden
from models.metrics_file import METRICS, read_metrics
from models.model_name import RULE, is_name
from service.engine.device import Device
from service.engine.errors import DeviceUnusable
from service.inference.broken_folders import broken_folders
from service.inference.failure_reason import printable, reason_in_one_line
from service.inference.golden_check import WrongAnswer, check_golden
from service.inference.priors import Priors, priors_of
from service.inference.served_model import ServedModel, start_model
from service.suggestion import suggestion

log = logging.getLogger(__name__)
T = TypeVar("T")


class CatalogError(Exception):
    """A model cannot be loaded; the message names it and the reason."""


class ExtraMissing(CatalogError):
    """A model needs packages that are not installed."""


class UnknownModel(Exception):
    """No loaded model has this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        name = name[:120]
        hint = suggestion(name, known)
        super().__init__(f"no model {name!r} is loaded; loaded models: {', '.join(known)}" + (f"; {hint}" if hint else ""))


class AlreadyLoaded(Exception):
    """The model is already loaded."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the model {name!r} is already loaded; use reload to read its directory again")


class StillNeeded(Exception):
    """The default model cannot be unloaded, because requests that do not name a model need it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is the default model and cannot be unloaded")


class NoCheckpoint(Exception):
    """The models' directory has no checkpoint of this name."""

    def __init__(self, name: str, directory: Path) -> None:
        there = ", ".join(_names(directory)) or "none"
        super().__init__(f"{directory} has no checkpoint {name[:120]!r}; available: {there}")


class SeveralWorkers(Exception):
    """Models cannot be changed at run time if there are several workers, since the others would keep theirs."""

    def __init__(self, workers: int) -> None:
        super().__init__(
            f"{workers} workers share this port, each with its own models, and one of them cannot change the models of the "
            f"others. Change the files, then send SIGHUP to the process that started the workers (kill -HUP {os.getppid()}); "
            "it replaces them one after another, without a failed request"
        )


@dataclass(frozen=True)
class Change:
    """The result of a change: the model's digest now and before, None if it is not loaded, and how long the change took."""

    name: str
    digest: str | None
    previous: str | None
    seconds: float


@dataclass(frozen=True)
class _Loaded:
    model: ServedModel
    metrics: dict[str, Any]
    priors: Priors


class Catalog:
    """The models on one device. `load` fills it; `add`, `replace` and `remove` change it, one change at a time.

    A request that has taken a model keeps it to the end, even if the model is replaced or removed meanwhile.
    """

    def __init__(self, device: Device, shipped: Path | None = None) -> None:
        """Begin without models. `shipped`: the directory of the models that ship with the service."""
        self.device, self.shipped = device, shipped
        self.directory = Path()
        self.models: dict[str, ServedModel] = {}
        self.metrics: dict[str, dict[str, Any]] = {}  # the numbers of each model's card, from its metrics.json
        self.priors: dict[str, Priors] = {}
        self.default = ""
        self.reasons: dict[str, str] = {}  # of the directories that could not be loaded and are left out, by name
        self.tell_of: Callable[[ServedModel], None] = lambda _: None  # called with every model that begins to serve
        self.loads: Counter[tuple[str, str]] = Counter()  # by model and result ("ok" or "failed")
        self._changing = asyncio.Lock()

    async def load(self, directory: Path, names: tuple[str, ...], default: str, default_is_required: bool = False) -> None:
        """Load and warm up the named checkpoints, or all of the directory if `names` is empty. Raise CatalogError.

        Those that are named must load, and so must the default model if it is required. Others that cannot be loaded are
        logged, counted and left out, as long as one model is left.
        """
        self.directory = directory
        reason: CatalogError | None = None
        found = find(directory)
        for name in names or found:
            try:
                self._put(name, await self._bring(name))
            except ExtraMissing as error:
                if names or (default_is_required and name == default):
                    raise
                level = logging.INFO if directory == self.shipped else logging.WARNING  # nobody asked for models that ship
                log.log(level, "%s. The service starts without it", error)
                reason = reason or error
            except CatalogError as error:
                if names or (default_is_required and name == default):
                    raise
                log.error("%s; it is left out, because VAE_MODELS does not name it", error)
                self._leave_out(name, str(error))
                reason = reason or error
        for name, broken in ({} if names else await asyncio.to_thread(broken_folders, directory)).items():
            log.error("cannot load the model %s: %s; it is left out, because VAE_MODELS does not name it", name, broken)
            self._leave_out(name, broken)
            self.loads[printable(name), "failed"] += 1
        for pipeline in await asyncio.to_thread(pipelines_in, directory):
            log.warning("%s", pipeline)
        if not self.models:
            raise CatalogError(f"none of the checkpoints in {directory} can be loaded; the first: {reason}") from reason
        if default_is_required and default not in self.models:
            raise CatalogError(f"the default model {default!r} is not loaded; loaded models: {', '.join(self.models)}")
        self.default = default if default in self.models else next(iter(self.models))
        if default in self.failed:
            log.error("requests that do not name a model get %s, because %s could not be loaded", self.default, default)

    @property
    def failed(self) -> set[str]:
        """The directories that could not be loaded and are left out."""
        return set(self.reasons)

    def _leave_out(self, name: str, reason: str) -> None:
        self.reasons[printable(name)] = reason_in_one_line(reason, name, self.directory)

    async def add(self, name: str) -> Change:
        """Load one more model. Raise AlreadyLoaded, NoCheckpoint, CatalogError or DeviceUnusable."""
        async with self._changing:
            if name in self.models:
                raise AlreadyLoaded(name)
            return await self._change(name)

    async def replace(self, name: str) -> Change:
        """Load a model again from its directory; if that fails, the loaded one stays.

        Raise UnknownModel, NoCheckpoint, CatalogError or DeviceUnusable.
        """
        async with self._changing:
            self.get(name)
            return await self._change(name)

    async def remove(self, name: str) -> Change:
        """Unload a model; requests that use it are finished. Raise UnknownModel or StillNeeded."""
        async with self._changing:
            started, previous = time.monotonic(), self.get(name).digest
            if name == self.default:
                raise StillNeeded(name)
            del self.models[name], self.metrics[name], self.priors[name]
            log.info("unloaded %s (%s)", name, previous[:12])
            return Change(name, None, previous, time.monotonic() - started)

    async def _change(self, name: str) -> Change:
        started, old = time.monotonic(), self.models.get(name)
        if not is_name(name) or not await asyncio.to_thread((self.directory / name).is_dir):
            self.reasons.pop(name, None)
            raise NoCheckpoint(name, self.directory)
        try:
            new = await self._bring(name)
        except (CatalogError, DeviceUnusable) as error:
            log.error("%s", str(error))  # A record with the error would keep the model that it is about.
            if old is None:
                self._leave_out(name, str(error))
            raise
        self._put(name, new)
        previous = None if old is None else old.digest
        return Change(name, new.model.digest, previous, time.monotonic() - started)

    def _put(self, name: str, new: _Loaded) -> None:
        """Make a model available. There is no await in here, so that no request sees a half-made change."""
        self.models[name], self.metrics[name], self.priors[name] = new.model, new.metrics, new.priors
        self.reasons.pop(name, None)
        self.tell_of(new.model)
        manifest = new.model.manifest
        log.info("loaded %s (%s, D = %d)", name, new.model.digest[:12], manifest.model.latent_dim)

    async def _bring(self, name: str) -> _Loaded:
        """Load, warm up and check a model, without making it available. Raise CatalogError or DeviceUnusable."""
        directory, result = self.directory / name, "failed"
        try:
            if not is_name(name):
                raise CatalogError(f"{name!r} is not a valid name of a model: {RULE}")
            checkpoint = await asyncio.to_thread(read, directory)
            priors = await asyncio.to_thread(priors_of, name, directory, checkpoint)
            digest, config = checkpoint.digest, checkpoint.manifest.model
            golden = await asyncio.to_thread(_unless_stale, read_golden, directory, digest, config)
            calibration = await asyncio.to_thread(_unless_stale, read_calibration, directory, digest, config.latent_dim)
            metrics = await asyncio.to_thread(_metrics, directory)
            usual, again = kl_range.recorded(metrics), partial(read, directory)
            examples = None if golden is None else golden.x
            model = await start_model(name, checkpoint, self.device, usual, calibration, again, examples)
            if golden is not None:
                await check_golden(model, golden, self.device.precision)
                for lane in model.lanes.values():
                    lane.sizes.clear()  # They count what callers ask for.
            result = "ok"
            return _Loaded(model, metrics, priors)
        except MissingPackages as error:
            result = "left out"
            raise ExtraMissing(f"cannot load the model {name}: {error}") from error
        except (CheckpointError, RuntimeError, WrongAnswer) as error:
            raise CatalogError(f"cannot load the model {name}: {error}") from error
        finally:
            self.loads[printable(name), result] += 1

    def get(self, name: str | None) -> ServedModel:
        """Return the model of that name, or the default one for None. Raise UnknownModel."""
        try:
            return self.models[self.default if name is None else name]
        except KeyError:
            raise UnknownModel(str(name), list(self.models)) from None


def find(directory: Path) -> tuple[str, ...]:
    """Return the sorted names of the checkpoint directories in a directory. Raise CatalogError if there is none."""
    if names := _names(directory):
        return names
    if not directory.exists():
        raise CatalogError(f"the models' directory {directory} does not exist")
    if (directory / CONFIG).exists():
        raise CatalogError(f"{directory} is a checkpoint; give the directory above it, {directory.absolute().parent}")
    others = "".join(f"; {one}" for one in [*broken_folders(directory).values(), *pipelines_in(directory)][:1])
    raise CatalogError(f"{directory} has no checkpoint directories (each must have a {CONFIG}){others}")


def name_of(directory: Path, digest: str, first: str) -> str | None:
    """Return the name of the checkpoint with this digest: `first` if it has it, else any other; None if there is none."""
    for name in sorted(_names(directory), key=lambda name: name != first):
        with suppress(CheckpointError):
            if read(directory / name).digest == digest:
                return name
    return None


def _names(directory: Path) -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in directory.glob(f"*/{CONFIG}")))


def _unless_stale(read: Callable[..., T], *arguments: Any) -> T | None:
    """Return what was read, or None if it is of other weights."""
    try:
        return read(*arguments)
    except (StaleGolden, StaleCalibration) as error:
        log.warning("%s", error)
        return None


def _metrics(checkpoint: Path) -> dict[str, Any]:
    """Read the numbers of a model's card, or return none if there is no card. Raise CatalogError."""
    path = checkpoint / METRICS
    try:
        return read_metrics(checkpoint)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise CatalogError(f"{path}: not JSON: {error}") from None
