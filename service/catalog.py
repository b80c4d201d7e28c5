"""The loaded models by name. Knows nothing of HTTP."""

import asyncio
import difflib
import json
import logging
import re
from pathlib import Path
from typing import Any

from models.checkpoint import CONFIG, CheckpointError, read
from service.device import Device
from service.priors import Priors, priors_of
from service.runtime import Runtime, start_runtime

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class CatalogError(Exception):
    """Models that cannot be loaded; the message names the directory and the reason."""


class UnknownModel(Exception):
    """A name that no loaded model has."""

    def __init__(self, name: str, known: list[str]) -> None:
        near = difflib.get_close_matches(name, known, n=1)
        super().__init__(
            f"no model {name!r} is loaded; loaded are {', '.join(known)}" + (f"; did you mean {near[0]}?" if near else "")
        )


class Catalog:
    """Models on one device. Filled by `load`; `runtimes` keeps the order of the names."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.runtimes: dict[str, Runtime] = {}
        self.metrics: dict[str, dict[str, Any]] = {}  # of each model's card, as its metrics.json has them
        self.priors: dict[str, Priors] = {}
        self.default = ""

    async def load(self, directory: Path, names: tuple[str, ...], default: str, default_is_required: bool = False) -> None:
        """Load and warm up checkpoints, all found when `names` is empty. Raises CatalogError."""
        for name in names or find(directory):
            if not NAME.fullmatch(name):
                raise CatalogError(f"{name!r} is no name for a model: letters, digits, '.', '_' and '-' make one")
            try:
                checkpoint = await asyncio.to_thread(read, directory / name)
                priors = await asyncio.to_thread(priors_of, name, directory / name, checkpoint)
                runtime = await start_runtime(name, checkpoint, self.device)
            except (CheckpointError, RuntimeError) as error:
                raise CatalogError(f"cannot load the model {name}: {error}") from error
            self.runtimes[name] = runtime
            self.metrics[name] = _metrics(directory / name)
            self.priors[name] = priors
            log.info("loaded %s (%s, D = %d)", name, runtime.digest[:12], checkpoint.manifest.model.latent_dim)
        if default_is_required and default not in self.runtimes:
            raise CatalogError(f"the default model {default!r} is not among the loaded: {', '.join(self.runtimes)}")
        self.default = default if default in self.runtimes else next(iter(self.runtimes))

    def get(self, name: str | None) -> Runtime:
        """The model of that name, the default one for None. Raises UnknownModel."""
        try:
            return self.runtimes[self.default if name is None else name]
        except KeyError:
            raise UnknownModel(str(name), list(self.runtimes)) from None


def find(directory: Path) -> tuple[str, ...]:
    """Names of the checkpoint directories in a directory, sorted. Raises CatalogError when there is none."""
    names = tuple(sorted(path.parent.name for path in directory.glob(f"*/{CONFIG}")))
    if not names:
        raise CatalogError(f"{directory} holds no checkpoint directories (each with a {CONFIG})")
    return names


def _metrics(checkpoint: Path) -> dict[str, Any]:
    """The card's numbers; a model without a card serves as well."""
    path = checkpoint / "metrics.json"
    if not path.exists():
        return {}
    try:
        metrics = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path}: {error}") from None
    return metrics if isinstance(metrics, dict) else {}
