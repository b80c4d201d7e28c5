"""A safetensors file beside a checkpoint, about its weights: tensors, and what is said of them. Never pickle.

Knows nothing of what is in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor

from models.checkpoint import CheckpointError
from models.files.atomic_file import write_atomically
from models.files.tensor_file import Header, TensorFileError, read_tensors

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


def read_companion(path: Path, check: Callable[[Header], None]) -> Companion | None:
    """What it has, once `check` has seen its header; None when there is none. Raises CheckpointError for a defect."""

    def check_all(header: Header) -> None:
        version = header.metadata.get("format_version", "none")
        if version != FORMAT_VERSION:
            raise CheckpointError(f"{path}: format version {version[:100]}, known is {FORMAT_VERSION}")
        check(header)

    try:
        file = read_tensors(path, check_all)
    except FileNotFoundError:
        return None
    except TensorFileError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    return Companion(file.tensors, file.header.metadata.get("digest", ""), file.header.metadata)
