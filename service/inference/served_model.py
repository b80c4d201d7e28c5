"""A loaded VAE as lanes of the device: data in, posteriors out; latents in, data out.

What a lane computes is a pure deterministic function; noise is drawn outside of it. Knows nothing of HTTP or of files.
"""

import asyncio
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.calibration import Calibration
from models.checkpoint import Checkpoint, Manifest
from models.condition import Condition
from models.kl_range import KlRange
from service.engine.device import Device
from service.engine.lane import Lane
from service.inference.kinds import served_kind
from service.inference.kinds.served_kind import ServedKind
from service.inference.picture_warnings import KlCheck
from service.inference.regret_lane import RegretLane

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ServedModel:
    """One model, ready to serve; `kind` has what depends on what the model is about."""

    name: str
    digest: str
    manifest: Manifest
    kind: ServedKind
    regret: RegretLane  # makes a lane when it is first needed
    kl_check: KlCheck | None = None  # None for a model whose card does not have the KL of its test items
    calibration: Calibration | None = None  # what is usual for the model
    examples: NDArray[Any] | None = None  # rows (N, ...) to try it with; None if none came with it

    @cached_property
    def label(self) -> str:
        """Name and digest, as every answer carries them."""
        return f"{self.name}@sha256:{self.digest}"

    @property
    def latent_dim(self) -> int:
        """D, the size of a latent."""
        return self.manifest.model.latent_dim

    @cached_property
    def condition(self) -> Condition | None:
        """What the model must be told about each item; None for a model that is not conditional."""
        return self.manifest.model.condition

    @cached_property
    def encode(self) -> Lane:
        """The lane from rows to posteriors, (3, D): mu, sigma, logvar."""
        return self.kind.lanes["encode"]

    @cached_property
    def decode(self) -> Lane:
        """The lane from latents, float32 (D,), to what the kind calls decoded."""
        return self.kind.lanes["decode"]

    @cached_property
    def is_pictures(self) -> bool:
        """Whether it is a model of pictures, which have shortcuts."""
        return self.manifest.model.kind == "picture"

    @cached_property
    def is_direct(self) -> bool:
        """Whether its pictures have one size and are what it decodes, so that plain requests are served directly."""
        return self.is_pictures and self.kind.spatial is None and self.kind.decodes_data

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the pictures that show items."""
        return self.kind.shape

    @property
    def engine(self) -> str:
        """What computes the model: "torch" or "onnx". Some models cannot use the engine of the device."""
        return self.decode.engine

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The lanes by the names that `/info` shows."""
        made = self.kind.all_lanes
        return made if self.regret.lane is None else {**made, "regret": self.regret.lane}


async def start_model(
    name: str,
    checkpoint: Checkpoint,
    device: Device,
    kl_range: KlRange | None = None,
    calibration: Calibration | None = None,
    read: Callable[[], Checkpoint] | None = None,
    examples: NDArray[Any] | None = None,
) -> ServedModel:
    """Move a model to the device, warm it up and check it there, beside whatever is served. Raises RuntimeError.

    `read` reads the checkpoint again if somebody asks for regret; without it, the checkpoint stays in memory.
    Its lanes end when nobody has the model any more: neither the catalog nor a request.
    """
    manifest = checkpoint.manifest
    kind = await served_kind(manifest.model).start(name, checkpoint, device)
    check = None if kl_range is None else KlCheck(kl_range, manifest.model.latent_dim, calibration)
    regret = RegretLane(name, checkpoint.digest, read or (lambda: checkpoint), device)
    model = ServedModel(name, checkpoint.digest, manifest, kind, regret, check, calibration, examples)
    loop = asyncio.get_running_loop()

    def forget() -> None:  # It may run on any thread and under any lock, so the loop does the work.
        with suppress(RuntimeError):  # The loop may be closed.
            loop.call_soon_threadsafe(kind.end, device)
            loop.call_soon_threadsafe(regret.end)

    weakref.finalize(model, forget).atexit = False
    return model
