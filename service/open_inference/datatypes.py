"""The datatypes of the protocol, and their numpy types. Knows nothing of requests."""

from collections.abc import Mapping

import numpy as np

BYTES, BF16 = "BYTES", "BF16"
# Little-endian, as binary tensors are. BF16 is the upper half of an FP32.
NUMBERS: Mapping[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    BF16: np.dtype("<u2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
DATATYPES = (*NUMBERS, BYTES)
FLOATS = ("FP16", BF16, "FP32", "FP64")
WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
# JSON has no numbers of these types.
ONLY_BINARY = ("FP16", BF16)
# How the configuration of a model names the datatypes.
CONFIG_NAMES: Mapping[str, str] = {BYTES: "TYPE_STRING", **{name: f"TYPE_{name}" for name in NUMBERS}}
