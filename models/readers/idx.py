"""Read the IDX files of downloaded data sets (yann.lecun.com/exdb/mnist): gzipped bytes with a header."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.files.regular_file import NotRegular, read_regular
from models.readers.download import DataError


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of bytes (LeCun's format: zeros, type 8, number of dimensions, sizes). Raises DataError."""
    try:
        content = gzip.decompress(read_regular(path))
    except NotRegular as error:
        raise DataError(f"{path} {error.strerror}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a complete gzip file ({error}); delete it to download it again") from None
    header = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < header:
        raise DataError(f"{path}: not an IDX file of bytes with {dimensions} dimensions")
    sizes = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != math.prod(sizes) or not math.prod(sizes):
        raise DataError(f"{path}: has {len(content) - header} bytes of data, but its header says {sizes}")
    return np.frombuffer(bytearray(content), np.uint8, offset=header).reshape(sizes)
