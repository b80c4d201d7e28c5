"""Decode a file of POST /compress with numpy and constriction alone: decode_latents.py IN OUT.npy; see docs/latents.md."""

import struct
import sys
import zlib
from pathlib import Path

import constriction
import numpy as np

is_right = len(sys.argv) == 3 and Path(sys.argv[1]).is_file()
file = Path(sys.argv[1]).read_bytes() if is_right else sys.exit("IN must be a file: decode_latents.py IN OUT.npy")
magic, version, dim, count, digest, step, words, checksum = struct.unpack_from("<8sHHI32sdII", file.ljust(64))
if magic != b"\x93VAELAT\n" or version != 1 or checksum != zlib.crc32(file[64:], zlib.crc32(file[:60])):
    sys.exit("no file of compressed latents, or a damaged one")
dimensions = np.frombuffer(file, [("scale", "<f4"), ("first", "<i4"), ("bins", "<u2")], dim, 64)
counts, number, shift = [], 0, 0
for byte in file[64 + 10 * dim : len(file) - 4 * words]:  # LEB128
    number, shift = number | (byte & 127) << shift, shift + 7
    if byte < 128:
        counts.append(float(number))
        number = shift = 0
coder = constriction.stream.queue.RangeDecoder(np.frombuffer(file[len(file) - 4 * words :], "<u4"))
z = np.empty((count, dim), np.float32)
for d, (scale, first, bins) in enumerate(dimensions.tolist()):
    probabilities, counts, index = np.array(counts[:bins]), counts[bins:], first
    if bins > 1:
        index = first + coder.decode(constriction.stream.model.Categorical(probabilities, perfect=False), count)
    z[:, d] = index * np.float64(scale)
np.save(sys.argv[2], z)
sys.stdout.write(f"{count} latents of {dim} dimensions, model sha256:{digest.hex()}, step {step:g} sigmas\n")
