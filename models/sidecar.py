"""A safetensors file beside a checkpoint that belongs to its weights: tensors and metadata. Never pickle.

Knows nothing of what the tensors mean.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from models.checkpoint import CheckpointError
from models.files.atomic_file import write_atomically
from models.files.tensor_file import Header, TensorFileError, read_tensors, to_bytes

FORMAT_VERSION = "1"


@dataclass(frozen=True)
class Companion:
    """The content of such a file: its tensors, and all metadata (`said`)."""

    tensors: dict[str, Tensor]
    said: Mapping[str, str]


def write_companion(path: Path, tensors: Mapping[str, Tensor], digest: str, **said: str) -> None:
    """Write the file atomically; `said` becomes metadata. Raises OSError."""
    write_atomically(path, to_bytes(tensors, {"format_version": FORMAT_VERSION, "digest": digest, **said}))


def read_companion(path: Path, digest: str, stale: CheckpointError, check: Callable[[Header], None]) -> Companion | None:
    """Read the file after `check` accepts its header; return None if there is no file.

    Raises `stale` if it belongs to a checkpoint with another digest, whose shapes may differ, and CheckpointError for any
    other defect.
    """

    def check_all(header: Header) -> None:
        version = header.metadata.get("format_version", "none")
        if version != FORMAT_VERSION:
            raise CheckpointError(f"{path}: has format version {version[:100]}, supported is {FORMAT_VERSION}")
        if header.metadata.get("digest", "") != digest:
            raise stale
        check(header)

    try:
        file = read_tensors(path, check_all)
    except FileNotFoundError:
        return None
    except TensorFileError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    return Companion(file.tensors, file.header.metadata)
