"""Save and restore everything that a run needs to continue bit-identically: weights, optimiser, generators, arguments.

The state is one safetensors file, replaced atomically, so that a killed run leaves the last one. Knows nothing of objectives.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoint import CONFIG, MAX_JSON_BYTES
from models.features import FeatureNet
from models.files.atomic_file import WriteError, write_atomically
from models.files.plain_json import parse_json, plain
from models.files.regular_file import read_regular
from models.files.tensor_file import TensorFileError, read_header, read_tensors, to_bytes
from models.readers.left_out import plural
from models.train.averaging import Average
from models.train.ranks import Ranks

STATE = "state.safetensors"


class ResumeError(Exception):
    """The run cannot be continued; the message says why."""


@dataclass
class Progress:
    """The position of a run. The step suffices, because the seed and the epoch determine the order of the items."""

    step: int = 0  # completed optimiser steps, including skipped ones
    skipped_steps: int = 0  # steps without effect, because the loss was not finite
    best_score: float | None = None  # best criterion on the validation split after the warm-up
    best_epoch: int = 0
    finished: bool = False
    epoch_sums: list[float] = field(default_factory=list)  # running sums of the epoch's loss terms


@dataclass(frozen=True)
class Data:
    """The data of a run: SHA-256 of the training items, their number, and the shape of a row.

    The items that validation takes a share of are among them. `others` has the SHA-256 of what else must stay the same, by
    name: items of the other splits, and labels. Runs of earlier versions recorded none of these.
    """

    digest: str
    pictures: int
    shape: tuple[int, ...]
    others: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        size = f"{plural(self.pictures, 'training picture')} of {shape}" if self.pictures else "pictures"
        return f"{size} with the SHA-256 {self.digest[:12]}..."


class RunState:
    """Saves and restores a training run in its directory."""

    def __init__(
        self,
        directory: Path,
        vae: nn.Module,
        optimizer: torch.optim.Optimizer,
        noise: torch.Generator,
        average: Average | None = None,
        data: Data | None = None,
        classifier: FeatureNet | None = None,
    ) -> None:
        self.path = directory / STATE
        self.vae, self.optimizer, self.noise = vae, optimizer, noise
        self.average = average or Average(vae, 0.0)
        self.data = data
        self.features = nn.Module() if classifier is None else classifier.body  # of a perceptual loss

    def save(self, progress: Progress, arguments: Mapping[str, Any]) -> None:
        """Save the state, replacing the old one. Raises OSError."""
        metadata = {"progress": json.dumps(asdict(progress)), "arguments": json.dumps(dict(arguments))}
        if self.data is not None:
            metadata["data"] = json.dumps(asdict(self.data))
        write_atomically(self.path, to_bytes(self._tensors(), metadata))

    def restore(self) -> Progress:
        """Restore the saved state and return its progress. Raises ResumeError if it does not fit this run."""
        try:
            file = read_tensors(self.path, lambda _: None)
            progress = Progress(**json.loads(file.header.metadata["progress"]))
            self._load(file.tensors)
        except (TensorFileError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ResumeError(f"{self.path}: {error}") from None
        return progress

    def meet(self, ranks: Ranks, progress: Progress | None = None) -> Progress:
        """Give all processes of a run the state of the one that leads, and return its progress."""
        if ranks.size > 1:
            # Clones, because the memory of a tensor is sent as a whole, and shared weights are all in one.
            tensors = {name: tensor.cpu().clone() for name, tensor in self._tensors().items()} if ranks.leads else {}
            tensors, progress = ranks.first((tensors, progress))
            if not ranks.leads:
                self._load(tensors)
        return progress or Progress()

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{name}": tensor for name, tensor in self.vae.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state().items()}
        tensors |= {f"features.{name}": tensor for name, tensor in self.features.state_dict().items()}
        tensors |= {f"generator.{name}": state for name, state in self._generators().items()}
        return tensors

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        self.vae.load_state_dict(_below(tensors, "model."))
        self.average.restore(_below(tensors, "average."))
        self.features.load_state_dict(_below(tensors, "features."))
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            if key in (state := self.optimizer.state[parameter]):  # Processes may share it.
                tensor = state[key].copy_(tensor)
            elif tensor.shape == parameter.shape:  # Fused kernels need the parameter's memory layout.
                tensor = torch.empty_like(parameter).copy_(tensor)
            moments.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        generators = _below(tensors, "generator.")
        torch.set_rng_state(generators["global"])
        self.noise.set_state(generators["noise"])
        if "cuda" in generators and torch.cuda.is_available():
            torch.cuda.set_rng_state(generators["cuda"])

    def _generators(self) -> dict[str, Tensor]:
        states = {"global": torch.get_rng_state(), "noise": self.noise.get_state()}
        if self.noise.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.noise.device)
        return states


def record_length(directory: Path, arguments: Mapping[str, Any]) -> None:
    """Record the arguments of a run that becomes longer, so that it goes on even if it was finished.

    The trainer calls this before it reads the pictures, so that a kill does not lose the length. Raises ResumeError, OSError.
    """
    path = directory / STATE
    try:
        file = read_tensors(path, lambda _: None)
        progress = json.loads(file.header.metadata["progress"]) | {"finished": False}
    except (TensorFileError, OSError, ValueError, KeyError, TypeError) as error:
        raise ResumeError(f"{path}: {error}") from None
    recorded = {"progress": json.dumps(progress), "arguments": json.dumps(dict(arguments))}
    write_atomically(path, to_bytes(file.tensors, {**file.header.metadata, **recorded}))


def has_steps(directory: Path) -> bool:
    """Return whether a directory has the state of a run that has taken steps. A state that cannot be read has none."""
    try:
        return bool((_recorded(directory, "progress") or {})["step"])
    except (ResumeError, KeyError, TypeError):
        return False


def recorded_arguments(directory: Path) -> dict[str, Any] | None:
    """Return the arguments of the run in a directory, or None if there is no run. Raises ResumeError."""
    arguments = _recorded(directory, "arguments")
    if arguments is not None and not isinstance(arguments, dict):
        raise ResumeError(f"{directory / STATE}: not the state of a run: its arguments are not an object")
    return arguments


def recorded_data(out: Path) -> Data | None:
    """Return the data of the run in a checkpoint's directory, or None if there is no record. Raises ResumeError.

    Runs of earlier versions recorded only a digest, in the checkpoint; then the number of pictures is 0.
    """
    recorded = _recorded(out / "run", "data", default={})
    if recorded is None:
        return None
    try:
        if not recorded:
            return Data(parse_json(read_regular(out / CONFIG, MAX_JSON_BYTES))["data"]["digest"], 0, (0, 0, 0))
        return Data(recorded["digest"], recorded["pictures"], tuple(recorded["shape"]), dict(recorded.get("others", {})))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not recorded:
            return None
        raise ResumeError(f"{out / 'run' / STATE}: not the state of a run: {error}") from None


def _recorded(directory: Path, name: str, default: Any = None) -> Any:
    """Return one JSON value from the metadata of a run's state; None if there is no state. Raises ResumeError."""
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
    """Writes metrics as JSON lines. A resumed run removes the lines after its saved state, which it will write again."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        kept = [entry for entry in log_entries(path) if entry.get("step", step) <= step] if step else []
        write_atomically(path, "".join(json.dumps(entry) + "\n" for entry in kept).encode())

    def write(self, entry: dict[str, Any]) -> None:
        """Append one line. Raises WriteError."""
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(plain(entry), allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())  # The next saved state relies on this line.
        except OSError as error:
            raise WriteError(error.errno, f"cannot write {self.path}: {error.strerror}") from error


def log_entries(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a log; [] if there is no log. A line that a kill or a full disk cut off is ignored."""
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
