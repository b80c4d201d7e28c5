"""Read untrusted safetensors files, whose headers are checked before anything is allocated, and make such files.

Knows nothing of what the tensors are for.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from models.files.regular_file import open_regular

# A tensor takes about 140 bytes of the header. The training state of the deepest net allowed has 5,000 tensors.
MAX_HEADER_BYTES = 1 << 20
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class TensorFileError(Exception):
    """The file is not a valid safetensors file; the message says why, without the name of the file."""


@dataclass(frozen=True)
class Header:
    """The header of a file: types and shapes of its tensors, its metadata, and where in the file each tensor starts."""

    tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
    metadata: Mapping[str, str]
    starts: Mapping[str, int]


@dataclass(frozen=True)
class TensorFile:
    """A whole file; `content` has all its bytes."""

    header: Header
    tensors: dict[str, Tensor]
    content: bytes


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the content of a file. Equal tensors and metadata give equal bytes: safetensors alone shuffles the metadata."""
    content = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, dict(metadata))
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end]) | {"__metadata__": dict(sorted(metadata.items()))}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # The tensors start at a multiple of 8 bytes.
    return len(text).to_bytes(8, "little") + text + content[end:]


def read_header(path: Path) -> Header:
    """Read only the header of a file. Raises TensorFileError, OSError."""
    with open_regular(path) as file:
        return _header(file)


def read_tensors(path: Path, check: Callable[[Header], None]) -> TensorFile:
    """Read a whole file, unless `check` raises an exception for its header. Raises TensorFileError, OSError."""
    with open_regular(path) as file:
        header = _header(file)
        check(header)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        content = file.read(size)
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise _broken(str(error)) from None
    if {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} != header.tensors:
        raise _broken("its header has two entries for one tensor, or the file changed while it was read")
    return TensorFile(header, tensors, content)


def _header(file: BinaryIO) -> Header:
    file_size = os.fstat(file.fileno()).st_size
    length = file.read(8)
    size = int.from_bytes(length, "little")
    if len(length) < 8 or 8 + size > file_size:
        raise _broken(f"it has {file_size} bytes, but its header alone should have {size}")
    if size > MAX_HEADER_BYTES:
        raise TensorFileError(f"its header has {size} bytes, but at most {MAX_HEADER_BYTES} are allowed")
    try:
        raw = json.loads(file.read(size))
        metadata = raw.pop("__metadata__", None) or {}
        if not all(isinstance(value, str) for value in metadata.values()):
            raise TypeError("the metadata is not text")
        tensors = {name: _described(entry) for name, entry in raw.items()}
        header = Header(tensors, metadata, {name: 8 + size + int(raw[name]["data_offsets"][0]) for name in tensors})
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise _broken(f"{type(error).__name__} in its header: {str(error)[:200]}") from None
    wanted = 8 + size + sum(dtype.itemsize * math.prod(shape) for dtype, shape in header.tensors.values())
    if wanted != file_size:
        raise _broken(f"it has {file_size} bytes, its tensors should make it {wanted if wanted < 1 << 63 else 'far more'}")
    return header


def _described(entry: Any) -> tuple[torch.dtype, tuple[int, ...]]:
    shape = entry["shape"]
    if len(shape) > 8 or not all(type(n) is int and 0 <= n < 1 << 48 for n in shape):
        raise ValueError("a shape has too many dimensions or an impossible size")
    if entry["dtype"] not in TYPES:
        raise TensorFileError(f"unsupported dtype {str(entry['dtype'])[:40]}; supported: {', '.join(TYPES)}")
    return TYPES[entry["dtype"]], tuple(shape)


def _broken(reason: str) -> TensorFileError:
    return TensorFileError(f"truncated or not a safetensors file: {reason}")
