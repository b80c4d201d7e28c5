"""A checkpoint is a directory: config.json, model.safetensors, and a card for people. Atomic save, strict load, digest.

Never pickle. Knows nothing of training or HTTP; every defect is one `CheckpointError` that names file and reason.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from models.preprocess import Preprocessing
from models.vae import VAE, VAEConfig

FORMAT_VERSION = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
T = TypeVar("T")


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class Manifest:
    """All of config.json. `data` records the data set, its binarisation, and how the model was trained on it."""

    model: VAEConfig
    preprocessing: Preprocessing
    data: dict[str, Any]
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not isinstance(self.data, dict):
            raise ValueError(f"data must be an object, not {self.data!r}")
        if self.preprocessing.shape != self.model.shape:
            raise ValueError(f"preprocessing makes {self.preprocessing.shape}, the model takes {self.model.shape}")


@dataclass(frozen=True)
class Checkpoint:
    """A VAE as loaded: in evaluation mode, on the CPU, its parameters without gradients."""

    vae: VAE
    manifest: Manifest
    digest: str  # SHA-256, hexadecimal, over config.json followed by model.safetensors


def load(path: str | Path) -> VAE:
    """The VAE of a checkpoint, ready to encode and decode (no gradients in its parameters). Raises CheckpointError."""
    return read(path).vae


def save(
    path: str | Path, vae: VAE, preprocessing: Preprocessing | None = None, data: Mapping[str, Any] | None = None
) -> None:
    """Write config.json and model.safetensors into the directory `path`, made when missing.

    Each file is whole or as it was before, also when the process is killed or the disk is full (OSError).
    `preprocessing` is by default one that pads to the model's size.
    """
    manifest = Manifest(vae.config, preprocessing or Preprocessing(*vae.config.shape), dict(data or {}))
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    save_weights(directory / WEIGHTS, vae)
    write_atomically(directory / CONFIG, (json.dumps(_stored(manifest), indent=2) + "\n").encode())


def save_weights(path: Path, vae: VAE, durable: bool = True) -> None:
    """Replace one safetensors file by the weights of a model. `durable`: see `write_atomically`. Raises OSError."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in vae.state_dict().items()}
    # they carry the model's configuration too, so that files of two different saves are never taken for a pair
    write_atomically(path, safetensors.torch.save(tensors, {"model": _model_json(vae.config)}), durable)


def read_weights(path: Path, vae: VAE) -> None:
    """Load a file of `save_weights` into a model of the same configuration. Raises CheckpointError."""
    vae.load_state_dict(_parse_weights(path, _read_bytes(path), vae))


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint directory strictly. Raises CheckpointError."""
    directory = Path(path)
    config_bytes, weight_bytes = _read_bytes(directory / CONFIG), _read_bytes(directory / WEIGHTS)
    manifest = _parse_manifest(directory / CONFIG, config_bytes)
    try:
        vae = VAE(manifest.model)
    except (ValueError, TypeError, RuntimeError, MemoryError, OverflowError) as error:  # whatever odd options make
        raise CheckpointError(f"{directory / CONFIG}: {error}") from None
    vae.load_state_dict(_parse_weights(directory / WEIGHTS, weight_bytes, vae))
    vae.requires_grad_(False).eval()
    return Checkpoint(vae, manifest, hashlib.sha256(config_bytes + weight_bytes).hexdigest())


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Replace a file: temporary file beside it, fsync, rename, fsync of the directory. Raises OSError.

    Without `durable` there is no fsync: whole after a kill, but not after a power cut.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp gives 0600; another user may be the one who serves
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if not durable:
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _model_json(config: VAEConfig) -> str:
    return json.dumps(config.stored(), sort_keys=True)


def _stored(manifest: Manifest) -> dict[str, Any]:
    return {**dataclasses.asdict(manifest), "model": manifest.model.stored()}


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; a checkpoint is a directory with {CONFIG} and {WEIGHTS}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None


def _parse_manifest(path: Path, content: bytes) -> Manifest:
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from None
    if not isinstance(raw, dict) or type(raw.get("format_version")) is not int or raw["format_version"] < 1:
        raise CheckpointError(f"{path}: no format_version: not the configuration of a checkpoint")
    if raw["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {raw['format_version']} is newer than {FORMAT_VERSION}, the newest known here; "
            "update this software"
        )
    try:
        return Manifest(
            model=_build(VAEConfig, raw.pop("model", None), "model"),
            preprocessing=_build(Preprocessing, raw.pop("preprocessing", None), "preprocessing"),
            **raw,
        )
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def _build(kind: type[T], raw: object, key: str) -> T:
    if not isinstance(raw, dict):
        raise ValueError(f"{key!r} must be an object")
    try:
        return kind(**raw)
    except TypeError as error:  # "VAEConfig.__init__() got an unexpected keyword argument 'depth'"
        raise ValueError(f"{key}: {str(error).split('() ')[-1]}") from None


def _parse_weights(path: Path, content: bytes, vae: VAE) -> dict[str, Tensor]:
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: truncated or not a safetensors file: {error}") from None
    expected = vae.state_dict()
    for problem, names in (
        ("missing tensors", expected.keys() - tensors.keys()),
        ("unknown tensors", tensors.keys() - expected.keys()),
    ):
        if names:
            raise CheckpointError(f"{path}: {problem}: {', '.join(sorted(names))}")
    for name, tensor in expected.items():
        found = tensors[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise CheckpointError(
                f"{path}: {name} is {found.dtype} {tuple(found.shape)}, should be {tensor.dtype} {tuple(tensor.shape)}"
            )
        if not torch.isfinite(found).all():
            raise CheckpointError(f"{path}: {name} has values that are not finite")
    saved_with = header.get("__metadata__", {}).get("model")
    if saved_with is not None and saved_with != _model_json(vae.config):
        raise CheckpointError(f"{path}: was saved with another model than the {CONFIG} beside it says: {saved_with}")
    return tensors
