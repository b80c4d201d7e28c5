"""All that a training run needs to go on bit-identically: weights, average, optimiser, generators, position, arguments.

One safetensors file, replaced atomically: a killed run leaves the last whole state. Knows nothing of objectives or data.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from models.averaging import Average
from models.checkpoint import write_atomically

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


class RunState:
    """Saves and restores a run in its directory."""

    def __init__(
        self,
        directory: Path,
        vae: nn.Module,
        optimizer: torch.optim.Optimizer,
        noise: torch.Generator,
        average: Average | None = None,
    ) -> None:
        self.path = directory / STATE
        self.vae, self.optimizer, self.noise = vae, optimizer, noise
        self.average = average or Average(vae, 0.0)

    def save(self, progress: Progress, arguments: Mapping[str, Any]) -> None:
        """Replace the stored state. Raises OSError."""
        tensors = {f"model.{name}": tensor for name, tensor in self.vae.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state().items()}
        tensors |= {f"generator.{name}": state for name, state in self._generators().items()}
        metadata = {"progress": json.dumps(asdict(progress)), "arguments": json.dumps(dict(arguments))}
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_atomically(self.path, safetensors.torch.save(contiguous, metadata))

    def restore(self) -> Progress:
        """Continue where the stored state ends. Raises ResumeError when it does not fit this run."""
        content = self.path.read_bytes()
        try:
            tensors = safetensors.torch.load(content)
            progress = Progress(**json.loads(_metadata(content)["progress"]))
            self.vae.load_state_dict(_below(tensors, "model."))
            self.average.restore(_below(tensors, "average."))
        except (safetensors.SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
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
    path = directory / STATE
    if not path.exists():
        return None
    try:
        arguments = json.loads(_metadata(path.read_bytes())["arguments"])
    except (ValueError, KeyError, TypeError) as error:
        raise ResumeError(f"{path}: not the state of a run: {error}") from None
    if not isinstance(arguments, dict):
        raise ResumeError(f"{path}: not the state of a run: its arguments are no object")
    return arguments


def recorded_progress(directory: Path) -> Progress | None:
    """Where the run in a directory stands, or None when there is none. Raises ResumeError."""
    path = directory / STATE
    if not path.exists():
        return None
    try:
        return Progress(**json.loads(_metadata(path.read_bytes())["progress"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ResumeError(f"{path}: not the state of a run: {error}") from None


def _metadata(content: bytes) -> dict[str, str]:
    header: dict[str, dict[str, str]] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header["__metadata__"]


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


class MetricsLog:
    """Metrics as JSON lines; a resumed run cuts off what lies behind its state and is about to be written again."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() and step else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept))

    def write(self, entry: dict[str, Any]) -> None:
        """Append a line."""
        with self.path.open("a") as file:
            file.write(json.dumps(_with_nulls(entry), allow_nan=False) + "\n")


def _with_nulls(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes null."""
    if isinstance(value, dict):
        return {key: _with_nulls(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
