"""A safetensors file beside a checkpoint, about its weights: tensors, and what is said of them. Never pickle.

Knows nothing of what is in it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from models.checkpoint import CheckpointError, write_atomically

FORMAT_VERSION = "1"


@dataclass(frozen=True)
class Companion:
    """What such a file has. `digest`: of the checkpoint that it is about."""

    tensors: dict[str, Tensor]
    digest: str
    said: Mapping[str, str]


def write_companion(path: Path, tensors: Mapping[str, Tensor], digest: str, **said: str) -> None:
    """Write it, atomically. Raises OSError."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format_version": FORMAT_VERSION, "digest": digest, **said}
    write_atomically(path, safetensors.torch.save(content, metadata))


def read_companion(path: Path) -> Companion | None:
    """What it has; None when there is none. Raises CheckpointError for a defect."""
    if not path.exists():
        return None
    try:
        content = path.read_bytes()
        tensors = safetensors.torch.load(content)
        said = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except (safetensors.SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: truncated or not a safetensors file: {error}") from None
    if said.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(f"{path}: format version {said.get('format_version')}, known is {FORMAT_VERSION}")
    return Companion(tensors, said.get("digest", ""), said)
