"""Files of compressed latents: the layout, its bounds, and hostile files."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.formats.compressed_latents import HEAD, CompressedLatents, from_bytes, read_header
from service.formats.errors import Undecodable, Unusable
from service.latents.quantization import dequantize

DIGEST = "ab" * 32


def latents(count: int = 40, dim: int = 3, scale: float = 2.0) -> CompressedLatents:
    index = np.rint(np.random.default_rng(0).standard_normal((count, dim)) * scale)
    index[:, 1] = -5  # a dimension that the model does not use
    return CompressedLatents(DIGEST, 1.5, np.array([0.25, 1, 0.1], np.float32)[:dim], index)


def signed(file: bytes) -> bytes:
    """The file with a checksum that is right."""
    start = HEAD - 4
    return file[:start] + struct.pack("<I", zlib.crc32(file[HEAD:], zlib.crc32(file[:start]))) + file[HEAD:]


def changed(file: bytes, at: int, kind: str, value: Any) -> bytes:
    new = bytearray(file)
    struct.pack_into(kind, new, at, value)
    return signed(bytes(new))


@pytest.mark.parametrize("count", [1, 2, 40, 70_000])
def test_what_is_written_is_read(count: int) -> None:
    sent = latents(count)
    file = sent.to_bytes()
    found = from_bytes(file)
    assert (found.digest, found.step) == (DIGEST, 1.5)
    np.testing.assert_array_equal(found.scale, sent.scale)
    np.testing.assert_array_equal(found.index, sent.index)
    assert sent.to_bytes() == file
    assert read_header(file).count == count


def test_the_words_take_the_entropy_of_the_bins() -> None:
    sent = latents(5000)
    words = read_header(sent.to_bytes()).words
    entropy = 0.0
    for row in sent.index.T:
        share = np.unique(row, return_counts=True)[1] / len(row)
        entropy -= float((share * np.log2(share)).sum()) * len(row)
    assert entropy / 32 - 1 < words < entropy / 32 * 1.001 + 2


def test_a_known_file() -> None:
    """It may never change: files are kept."""
    index = np.array([[0, 7], [1, 7], [0, 7], [-1, 7]])
    file = CompressedLatents("00" * 31 + "ff", 0.5, np.array([0.25, 2], np.float32), index).to_bytes()
    assert file == signed(
        b"\x93VAELAT\n"
        + struct.pack("<HHI", 1, 2, 4)
        + bytes(31)
        + b"\xff"
        + struct.pack("<dI", 0.5, 1)
        + bytes(4)
        + struct.pack("<fiH", 0.25, -1, 3)
        + struct.pack("<fiH", 2, 7, 1)
        + bytes([1, 2, 1, 4])
        + file[-4:]
    )
    assert struct.unpack("<I", file[-4:]) == (2_818_571_984,)


def test_every_truncation_and_one_more_byte_is_refused() -> None:
    file = latents().to_bytes()
    for size in range(len(file)):
        with pytest.raises(Undecodable):
            from_bytes(file[:size])
        if size >= HEAD:
            with pytest.raises(Undecodable):
                from_bytes(signed(file[:size]))
    for more in (b"\0", b"\0\0\0\0"):
        with pytest.raises(Undecodable):
            from_bytes(file + more)
        with pytest.raises(Undecodable):
            from_bytes(signed(file + more))


def test_every_flipped_byte_is_refused_by_the_checksum() -> None:
    file = latents().to_bytes()
    for at in range(len(file)):
        for flip in (1, 0x80, 0xFF):
            with pytest.raises(Undecodable):
                from_bytes(file[:at] + bytes([file[at] ^ flip]) + file[at + 1 :])


def test_a_forged_file_is_refused_or_means_something_else() -> None:
    """With a right checksum, a file is either the one that its own contents give, or refused; nothing else is raised."""
    file = latents().to_bytes()
    for at in range(HEAD - 4):
        forge(file, at)
    for at in range(HEAD, len(file)):
        forge(file, at)


def forge(file: bytes, at: int) -> None:
    for flip in (1, 2, 0x10, 0x80, 0xFF):
        forged = signed(file[:at] + bytes([file[at] ^ flip]) + file[at + 1 :])
        try:
            assert from_bytes(forged).to_bytes() == forged
        except Undecodable:
            continue
        # only the digest, the step, the widths, and the first indices may have other values
        assert 16 <= at < 56 or HEAD <= at < HEAD + 30


@pytest.mark.parametrize(
    ("at", "kind", "value"),
    [
        (8, "<H", 2),  # version
        (10, "<H", 0),
        (10, "<H", 65_535),
        (12, "<I", 0),
        (12, "<I", 2**32 - 1),
        (48, "<d", float("nan")),
        (48, "<d", -1.0),
        (56, "<I", 2**32 - 1),
        (HEAD, "<f", float("nan")),
        (HEAD, "<f", 0.0),
        (HEAD, "<f", float("inf")),
        (HEAD + 4, "<i", 2**31 - 1),
        (HEAD + 4, "<i", -(2**31)),
        (HEAD + 8, "<H", 0),
        (HEAD + 8, "<H", 65_535),
    ],
)
def test_claims_are_checked_before_anything_is_allocated(at: int, kind: str, value: Any) -> None:
    with pytest.raises(Undecodable):
        from_bytes(changed(latents().to_bytes(), at, kind, value))


@pytest.mark.parametrize("index", [np.array([[0], [70_000]]), np.array([[1e9], [1e9]]), np.array([[-(2.0**40)], [0]])])
def test_too_many_bins_are_refused(index: Any) -> None:
    with pytest.raises(Unusable, match="larger step"):
        CompressedLatents(DIGEST, 0.01, np.array([0.01], np.float32), index).to_bytes()


@pytest.mark.parametrize("count", [1, 40, 70_000])
def test_the_example_decodes_the_latents_without_the_service(count: int, tmp_path: Path) -> None:
    sent = latents(count)
    (tmp_path / "file").write_bytes(sent.to_bytes())
    program = Path(__file__).parents[3] / "examples" / "decode_latents.py"
    assert len(program.read_text().splitlines()) <= 31
    (tmp_path / "short").write_bytes(b"")
    for arguments, reason in (
        (["nix", "z.npy"], "IN must be a file"),
        (["file"], "OUT.npy"),
        (["short", "z.npy"], "no file of"),
    ):
        ended = subprocess.run(
            [sys.executable, program, *arguments], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60
        )
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert reason in ended.stderr
    done = subprocess.run(
        [sys.executable, program, "file", "z.npy"], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60
    )
    assert f"{count} latents of 3 dimensions" in done.stdout
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), dequantize(sent.index, sent.scale))
