"""The packed form of a data set: one safetensors file with all rows and what belongs to them. Other programs can read it, too.

| tensor | |
|---|---|
| `x` | the rows, uint8 (N, C, H, W), from byte 65,536 on, in the order of the source |
| `padding` | up to 7 bytes, so that the others start at a multiple of 8 |
| `labels`, `groups`, `factors.NAME` | int64 (N,), if the data have them; -1 is no group |
| `keys` | uint8 (N, 16): BLAKE2b of each row, of 16 bytes |
| `splits` | uint8 (N,): 0 train, 1 test, 2 validation, 255 none; if the data have splits |
| `about` | JSON as bytes: `source`, `options`, `preprocessing`, `classes`, `group_names`, `group_line`, `summary`, `skipped` |

The metadata are `format` ("vae-pack"), `version`, `kind`, and `sha256` of all bytes after `x`.
"""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from models.files.plain_json import parse_json
from models.files.regular_file import open_regular
from models.files.tensor_file import Header, TensorFileError, read_header
from models.kinds import kind_of
from models.readers.copies import KEY_BYTES, key_of
from models.readers.download import DataError
from models.readers.found import Found, Groups
from models.readers.layout import TEST, TRAIN, VALIDATION
from models.readers.packed_rows import START, PackedRows, mapped
from models.readers.path_names import shown

FORMAT, VERSION = "vae-pack", 1
SPLITS, NO_SPLIT = (TRAIN, TEST, VALIDATION), 255
KIND = "picture"
TYPES = {np.dtype(np.uint8): "U8", np.dtype(np.int64): "I64"}
BLOCK = 1 << 22  # bytes that are checked at a time


class Pack(NamedTuple):
    """What a file has: the items as they were found, and how: `source` and `options` are what the writer gave."""

    found: Found
    source: Mapping[str, Any]
    options: Mapping[str, Any]


def end_pack(
    rows: PackedRows, found: Found, group_line: str | None, source: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Write all but the rows, which are in the file already. `group_line` is said only if groups are held out."""
    about = {
        "source": dict(source),
        "options": dict(options),
        "preprocessing": found.preprocessing.stored(),
        "classes": found.classes,
        "group_names": None if found.groups is None else found.groups.names,
        "group_line": group_line,
        "summary": found.summary,
        "skipped": found.skipped,
    }
    size = found.x.nbytes
    arrays: dict[str, NDArray[Any]] = {"padding": np.zeros(-size % 8, np.uint8)} if size % 8 else {}
    if found.labels is not None:
        arrays["labels"] = found.labels
    if found.groups is not None:
        arrays["groups"] = found.groups.numbers
    arrays |= {f"factors.{name}": values for name, values in found.factors.items()}
    arrays["keys"] = np.frombuffer(b"".join(rows.keys), np.uint8).reshape(-1, KEY_BYTES)
    if found.splits is not None:
        arrays["splits"] = np.array([NO_SPLIT if one is None else SPLITS.index(one) for one in found.splits], np.uint8)
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    tail = b"".join(values.tobytes() for values in arrays.values())
    metadata = {"format": FORMAT, "version": str(VERSION), "kind": found.kind, "sha256": sha256(tail).hexdigest()}
    rows.end(tail, _head(found.x, arrays, metadata))


def _head(x: NDArray[Any], arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, values in {"x": x, **arrays}.items():
        start, end = end, end + values.nbytes
        header[name] = {"dtype": TYPES[values.dtype], "shape": list(values.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > START - 8:
        raise DataError(f"there are too many arrays beside the pictures to pack: their names need {len(text):,} bytes")
    return (START - 8).to_bytes(8, "little") + text.ljust(START - 8)


def read_pack(path: Path, by_group: bool = False) -> Pack:
    """Return what is in a file, after a check of all bytes; the rows stay in the file. Raises DataError.

    `by_group`: groups are held out.
    """
    try:
        header = read_header(path)
        _check(path, header)
        shape, start = header.tensors["x"][1], header.starts["x"]
        size = int(np.prod(shape))
        with open_regular(path) as file:
            file.seek(start + size)
            tail = file.read()
        if sha256(tail).hexdigest() != header.metadata["sha256"]:
            raise ValueError("its labels or its description have changed")
        arrays = {name: _array(tail, header, name, start + size) for name in header.tensors if name != "x"}
        found, about = _found(arrays, shape, header.metadata["kind"], by_group)
        found.x = mapped(path, start, shape)
        found.keys = _checked(path, start, shape, arrays["keys"])
        return Pack(found, about["source"], about["options"])
    except FileNotFoundError:
        if path.is_symlink():
            raise DataError(
                f"{shown(path)}: a broken link, since {shown(path.readlink())} is not there: remove the link, or name "
                "another file"
            ) from None
        raise DataError(f"{shown(path)}: no such file") from None
    except OSError as error:
        raise DataError(f"{shown(path)}: {error.strerror}") from None
    except TensorFileError as error:
        raise DataError(
            f"{shown(path)}: not a whole packed data set, which is a safetensors file: {error}; name another file or, if "
            f"--pack has written this one, {again(path)}"
        ) from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{shown(path)}: not a whole packed data set: {reason}; {again(path)}") from None


def again(path: Path) -> str:
    """Return what to do with a damaged file."""
    return f"remove {shown(path)}, and pack the data again"


def _check(path: Path, header: Header) -> None:
    """Raise DataError for files of other programs and of newer versions, ValueError for what cannot be."""
    if header.metadata.get("format") != FORMAT:
        raise DataError(f"{shown(path)}: a safetensors file, but not one that --pack has written; name another file")
    if header.metadata["version"] != str(VERSION):
        raise DataError(
            f"{shown(path)}: has version {header.metadata['version'][:20]} of the format, and this program reads version "
            f"{VERSION}: it was packed by a newer one; update this one, or pack the data into another file"
        )
    if header.metadata["kind"] != KIND:
        raise DataError(f"{shown(path)}: has rows of the kind {header.metadata['kind'][:20]!r}; only pictures are read")
    dtype, shape = header.tensors["x"]
    if dtype != torch.uint8 or len(shape) < 2 or not shape[0]:
        raise ValueError(f"its rows are {dtype} {shape}")
    kind_of(KIND).check_shape(shape[1:])


def _array(tail: bytes, header: Header, name: str, first: int) -> NDArray[Any]:
    (dtype, shape), offset = header.tensors[name], header.starts[name] - first
    if dtype not in (torch.uint8, torch.int64) or offset < 0:
        raise ValueError(f"{name[:40]!r} has the type {dtype} or lies among the rows")
    count = int(np.prod(shape))
    return np.frombuffer(tail, np.uint8 if dtype == torch.uint8 else np.int64, count, offset).reshape(shape)


def _found(
    arrays: Mapping[str, NDArray[Any]], shape: tuple[int, ...], kind: str, by_group: bool
) -> tuple[Found, dict[str, Any]]:
    count, about = shape[0], parse_json(arrays["about"].tobytes())
    for name, values in arrays.items():
        if name not in ("about", "padding") and len(values) != count:
            raise ValueError(f"{name[:40]!r} has {len(values)} rows, and there are {count} pictures")
    spec = kind_of(kind).preprocessing(**about["preprocessing"])
    if spec.shape != shape[1:]:
        raise ValueError(f"its rows have the shape {shape[1:]}, and its preparation makes {spec.shape}")
    classes, summary, names = about["classes"], list(about["summary"]), about["group_names"]
    numbers = {name: values.copy() for name, values in arrays.items() if values.dtype == np.int64}
    labels = numbers.get("labels")
    if classes is not None and labels is not None and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError("it has labels without a class")
    groups = Groups(numbers["groups"], names) if "groups" in numbers else None
    if about["group_line"] is not None:
        groups, summary = (groups, [*summary, about["group_line"]]) if by_group else (None, summary)
    splits = [None if one == NO_SPLIT else SPLITS[one] for one in arrays["splits"].tolist()] if "splits" in arrays else None
    factors = {name.removeprefix("factors."): values for name, values in numbers.items() if name.startswith("factors.")}
    x = np.empty((0, *shape[1:]), np.uint8)
    return Found(x, labels, classes, splits, factors, spec, summary, groups, kind=kind, skipped=about["skipped"]), about


def _checked(path: Path, start: int, shape: tuple[int, ...], keys: NDArray[np.uint8]) -> list[bytes]:
    """Return the key of each row, after all rows were read and compared with them. Raises DataError."""
    size = int(np.prod(shape[1:]))
    step, found = max(1, BLOCK // size), list[bytes]()
    if keys.shape != (shape[0], KEY_BYTES):
        raise ValueError(f"its keys have the shape {keys.shape}")
    with (
        open_regular(path) as file,
        tqdm(total=shape[0], desc="checking the packed pictures", disable=None, leave=False) as bar,
    ):
        for first in range(0, shape[0], step):
            data = os.pread(file.fileno(), min(step, shape[0] - first) * size, start + first * size)
            block = np.frombuffer(data, np.uint8).reshape(-1, size)
            for row, key in zip(block, keys[first : first + len(block)], strict=True):
                found.append(key_of(row))
                if found[-1] != key.tobytes():
                    raise DataError(
                        f"{shown(path)}: the picture {len(found) - 1:,}, counted from 0, is damaged: the disk or another "
                        f"program has changed it; {again(path)}"
                    )
            bar.update(len(block))
    return found
