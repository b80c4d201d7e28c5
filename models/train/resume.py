"""All that a training run needs to go on bit-identically: weights, average, optimiser, generators, position, arguments.

One safetensors file, replaced atomically: a killed run leaves the last whole state. Knows nothing of objectives or data.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from models.checkpoint import CONFIG, MAX_JSON_BYTES
from models.files.atomic_file import WriteError, write_atomically
from models.files.plain_json import parse_json, plain
from models.files.regular_file import read_regular
from models.files.tensor_file import TensorFileError, read_header, read_tensors
from models.train.averaging import Average

STATE = "state.safetensors"


class ResumeError(Exception):
    """A run that cannot be continued; the message says why."""


@dataclass
class Progress:
    """Where a run stands. The order of an epoch's pictures follows from the seed and the epoch, so a step is enough."""

    step: int = 0  # optimiser steps behind us, skipped ones included
    skipped_steps: int = 0  # of these, without effect because the loss was not finite
    best_score: float | None = None  # the objective's criterion on the validation split, since the warm-up ended
    best_epoch: int = 0
    finished: bool = False
    epoch_sums: list[float] = field(default_factory=list)  # running sums of the epoch's loss terms


@dataclass(frozen=True)
class Data:
    """What a run learns from: SHA-256 of the training and validation pictures, how many, and their shape (C, H, W)."""

    digest: str
    pictures: int
    shape: tuple[int, int, int]

    def __str__(self) -> str:
        size = f"{self.pictures} training pictures of {' x '.join(map(str, self.shape))}" if self.pictures else "pictures"
        return f"{size} with the SHA-256 {self.digest[:12]}..."


class RunState:
    """Saves and restores a run in its directory."""

    def __init__(
        self,
        directory: Path,
        vae: nn.Module,
        optimizer: torch.optim.Optimizer,
        noise: torch.Generator,
        average: Average | None = None,
        data: Data | None = None,
    ) -> None:
        self.path = directory / STATE
        self.vae, self.optimizer, self.noise = vae, optimizer, noise
        self.average = average or Average(vae, 0.0)
        self.data = data

    def save(self, progress: Progress, arguments: Mapping[str, Any]) -> None:
        """Replace the stored state. Raises OSError."""
        tensors = {f"model.{name}": tensor for name, tensor in self.vae.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state().items()}
        tensors |= {f"generator.{name}": state for name, state in self._generators().items()}
        metadata = {"progress": json.dumps(asdict(progress)), "arguments": json.dumps(dict(arguments))}
        if self.data is not None:
            metadata["data"] = json.dumps(asdict(self.data))
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_atomically(self.path, safetensors.torch.save(contiguous, metadata))

    def restore(self) -> Progress:
        """Continue where the stored state ends. Raises ResumeError when it does not fit this run."""
        try:
            file = read_tensors(self.path, lambda _: None)
            tensors, progress = file.tensors, Progress(**json.loads(file.header.metadata["progress"]))
            self.vae.load_state_dict(_below(tensors, "model."))
            self.average.restore(_below(tensors, "average."))
        except (TensorFileError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ResumeError(f"{self.path}: {error}") from None
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            if tensor.shape == parameter.shape:  # with the parameter's memory layout, which fused kernels rely on
                tensor = torch.empty_like(parameter).copy_(tensor)
            moments.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        generators = _below(tensors, "generator.")
        torch.set_rng_state(generators["global"])
        self.noise.set_state(generators["noise"])
        if "cuda" in generators and torch.cuda.is_available():
            torch.cuda.set_rng_state(generators["cuda"])
        return progress

    def _generators(self) -> dict[str, Tensor]:
        states = {"global": torch.get_rng_state(), "noise": self.noise.get_state()}
        if self.noise.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.noise.device)
        return states


def recorded_arguments(directory: Path) -> dict[str, Any] | None:
    """The arguments of the run in a directory, or None when there is none. Raises ResumeError."""
    arguments = _recorded(directory, "arguments")
    if arguments is not None and not isinstance(arguments, dict):
        raise ResumeError(f"{directory / STATE}: not the state of a run: its arguments are no object")
    return arguments


def recorded_progress(directory: Path) -> Progress | None:
    """Where the run in a directory stands, or None when there is none. Raises ResumeError."""
    progress = _recorded(directory, "progress")
    try:
        return None if progress is None else Progress(**progress)
    except TypeError as error:
        raise ResumeError(f"{directory / STATE}: not the state of a run: {error}") from None


def recorded_data(out: Path) -> Data | None:
    """What the run in a checkpoint's directory was started with, as far as it is known. Raises ResumeError.

    Runs of earlier versions recorded only a digest, in the checkpoint: of them there are 0 pictures.
    """
    recorded = _recorded(out / "run", "data", default={})
    if recorded is None:
        return None
    try:
        if not recorded:
            return Data(parse_json(read_regular(out / CONFIG, MAX_JSON_BYTES))["data"]["digest"], 0, (0, 0, 0))
        return Data(recorded["digest"], recorded["pictures"], tuple(recorded["shape"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not recorded:
            return None
        raise ResumeError(f"{out / 'run' / STATE}: not the state of a run: {error}") from None


def _recorded(directory: Path, name: str, default: Any = None) -> Any:
    """What the state in a directory says of itself under that name; None when there is no state. Raises ResumeError."""
    path = directory / STATE
    try:
        metadata = read_header(path).metadata
        return json.loads(metadata[name]) if default is None or name in metadata else default
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ResumeError(f"{path}: {error.strerror}") from None
    except (TensorFileError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResumeError(f"{path}: not the state of a run: {error}") from None


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


class MetricsLog:
    """Metrics as JSON lines; a resumed run cuts off what lies behind its state and is about to be written again."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        kept = [entry for entry in log_entries(path) if entry.get("step", step) <= step] if step else []
        write_atomically(path, "".join(json.dumps(entry) + "\n" for entry in kept).encode())

    def write(self, entry: dict[str, Any]) -> None:
        """Append a line. Raises WriteError."""
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(plain(entry), allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())  # the state that is saved next counts on it
        except OSError as error:
            raise WriteError(error.errno, f"cannot write {self.path}: {error.strerror}") from error


def log_entries(path: Path) -> list[dict[str, Any]]:
    """The entries of a log; none where there is none. A line that a kill or a full disk cut off does not count."""
    try:
        lines = read_regular(path).splitlines()
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        with suppress(ValueError):
            entry = parse_json(line, lenient=True)
            if isinstance(entry, dict):
                entries.append(entry)
    return entries
