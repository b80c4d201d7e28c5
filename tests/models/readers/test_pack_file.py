"""A packed data set that is damaged, cut off, foreign or newer is refused with the reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from models.data import load_data
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.readers.pack_file import read_pack
from models.readers.packed_rows import START
from tests.models.readers.pictures import noise

X = noise(30, 7, 5)
BYTES = X.size


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("pack")
    np.savez(path / "x.npz", images=X, labels=np.arange(30) % 3)
    load_data(f"npz:{path / 'x.npz'}", path, FolderOptions(pack=path / "pack"))
    return (path / "pack").read_bytes()


def refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "pack").write_bytes(content)
    with pytest.raises(DataError, match=said) as error:
        read_pack(tmp_path / "pack")
    assert str(tmp_path / "pack") in str(error.value)


def test_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pack").write_bytes(content)
    found = read_pack(tmp_path / "pack").found
    np.testing.assert_array_equal(found.x[:, 0], X)
    assert isinstance(found.x, np.memmap)
    assert found.labels is not None
    assert found.labels.tolist() == [i % 3 for i in range(30)]


@pytest.mark.parametrize("end", [0, 5, 1000, START, START + 100, START + BYTES, START + BYTES + 30, -1])
def test_cut_off(tmp_path: Path, content: bytes, end: int) -> None:
    refused(tmp_path, content[:end], "not a whole packed data set, which .*: truncated .*pack the data again")


def test_more_than_there_should_be(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content + b"x", "not a whole packed data set")


@pytest.mark.parametrize("row", [0, 17, 29])
def test_a_damaged_row(tmp_path: Path, content: bytes, row: int) -> None:
    place = START + 35 * row + 3
    refused(
        tmp_path,
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
        f"the picture {row}, counted from 0, is damaged",
    )


@pytest.mark.parametrize("place", [START + BYTES, START + BYTES + 60, -30])
def test_damaged_beside_the_rows(tmp_path: Path, content: bytes, place: int) -> None:
    damaged = bytearray(content)
    damaged[place] ^= 1
    refused(tmp_path, bytes(damaged), "its labels or its description have changed")


def edited(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    header = json.loads(content[8:START])
    change(header)
    return content[:8] + json.dumps(header).encode().ljust(START - 8) + content[START:]


def test_a_newer_version(tmp_path: Path, content: bytes) -> None:
    newer = edited(content, lambda header: header["__metadata__"].update(version="2"))
    refused(tmp_path, newer, "has version 2 of the format, and this program reads version 1: it was packed by a newer one")


def test_another_kind(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, edited(content, lambda header: header["__metadata__"].update(kind="table")), "only pictures are read")


def test_foreign_files(tmp_path: Path) -> None:
    refused(tmp_path, safetensors.numpy.save({"x": X}), "but not one that --pack has written")
    refused(tmp_path, b"\x89PNG\r\n" * 100, "not a whole packed data set")
    with pytest.raises(DataError, match="is a directory"):
        read_pack(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["x"].update(shape=[30, 1, 5, 7, 1]),
        lambda header: header["x"].update(shape=[0, 1, 5, 7]),
        lambda header: header["x"].update(shape=[15, 2, 5, 7]),
        lambda header: header["x"].update(data_offsets=[]),
        lambda header: header["labels"].update(data_offsets=[0, 240]),
        lambda header: header["labels"].update(data_offsets=[10**6, 10**6 + 240]),
        lambda header: header.pop("keys"),
        lambda header: header.pop("x"),
        lambda header: header["__metadata__"].pop("sha256"),
        lambda header: header["__metadata__"].pop("version"),
    ],
    ids=["dimensions", "none", "channels", "no offsets", "among the rows", "outside", "no keys", "no rows", "no sum", "none"],
)
def test_a_header_that_does_not_fit(tmp_path: Path, content: bytes, change: Callable[[dict[str, Any]], None]) -> None:
    refused(tmp_path, edited(content, change), "not a whole packed data set")
