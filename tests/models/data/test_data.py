"""Data sets out of IDX, npz and folders; broken ones are one DataError that names the file."""

import gzip
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.data import IDX_FILES, Items, Splits, hold_out, load_data
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.readers.idx import read_idx

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 5, 4), np.uint8)
LABELS = np.arange(40) % 7


def idx(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> Path:
    path.write_bytes(gzip.compress(idx(array.astype(np.uint8))))
    return path


def refused(path: Path, call: Callable[[], object]) -> str:
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: .") as caught:
        call()
    return str(caught.value)


class TestIdx:
    def test_comes_back(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(read_idx(write_idx(tmp_path / "images.gz", IMAGES), 3), IMAGES)
        np.testing.assert_array_equal(read_idx(write_idx(tmp_path / "labels.gz", LABELS), 1), LABELS)

    def test_result_can_be_written(self, tmp_path: Path) -> None:
        read_idx(write_idx(tmp_path / "labels.gz", LABELS), 1)[0] = 9  # torch warns of arrays that cannot

    @pytest.mark.parametrize("length", [1, 10, 100, -9, -1])
    def test_truncated_gzip(self, tmp_path: Path, length: int) -> None:
        path = write_idx(tmp_path / "images.gz", IMAGES)
        path.write_bytes(path.read_bytes()[:length])
        assert "delete it" in refused(path, lambda: read_idx(path, 3))

    @pytest.mark.parametrize("place", [0, 12, 200, -6])
    def test_damaged_gzip(self, tmp_path: Path, place: int) -> None:
        path = write_idx(tmp_path / "images.gz", IMAGES)
        content = bytearray(path.read_bytes())
        content[place] ^= 0xFF
        path.write_bytes(content)
        refused(path, lambda: read_idx(path, 3))

    def test_not_gzip(self, tmp_path: Path) -> None:
        (tmp_path / "images.gz").write_bytes(idx(IMAGES))
        refused(tmp_path / "images.gz", lambda: read_idx(tmp_path / "images.gz", 3))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\0\0\x08",
            b"\0\0\x08\x03\0\0",
            b"\x01" + idx(IMAGES)[1:],
            b"\0\0\x0d" + idx(IMAGES)[3:],
            idx(LABELS.astype(np.uint8)),
            idx(IMAGES)[:-1],
            idx(IMAGES) + b"\0",
            b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**31, 4),  # a product of 2^64
        ],
    )
    def test_wrong_header_or_length(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "images.gz"
        path.write_bytes(gzip.compress(content))
        refused(path, lambda: read_idx(path, 3))

    @pytest.mark.parametrize("name", IDX_FILES)
    def test_named_sets_lie_in_their_folder(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).mkdir()
        for part, rows in (("train", slice(30)), ("t10k", slice(30, None))):
            write_idx(tmp_path / name / f"{part}-images-idx3-ubyte.gz", IMAGES[rows])
            write_idx(tmp_path / name / f"{part}-labels-idx1-ubyte.gz", LABELS[rows])
        splits = load_data(name, tmp_path)
        for split, rows in ((splits.train, slice(30)), (splits.test, slice(30, None))):
            assert split.x.dtype == torch.uint8
            np.testing.assert_array_equal(split.x[:, 0], IMAGES[rows])
            assert split.labels is not None
            assert split.labels.dtype == torch.int64
            np.testing.assert_array_equal(split.labels, LABELS[rows])


def load_npz(path: Path, **arrays: Any) -> Splits:
    np.savez(path, **arrays)
    return load_data(f"npz:{path}", Path("unused"))


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return tmp_path / "some.npz"


class TestNpz:
    @pytest.mark.parametrize(
        "images", [IMAGES, IMAGES[..., None], IMAGES[..., None] - np.array([0, 1, 2], np.uint8)], ids=["NHW", "NHW1", "NHW3"]
    )
    def test_layouts(self, npz: Path, images: np.ndarray[Any, Any]) -> None:
        splits = load_npz(npz, images=images, is_train=LABELS > 2)
        expected = images.reshape(40, 5, 4, -1).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(splits.train.x, expected[LABELS > 2])
        np.testing.assert_array_equal(splits.test.x, expected[LABELS <= 2])
        assert splits.train.labels is None

    @pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
    def test_labels_go_with_their_pictures(self, npz: Path, dtype: type[Any]) -> None:
        images = np.broadcast_to(LABELS[:, None, None], (40, 2, 2)).astype(np.uint8)
        splits = load_npz(npz, images=images, labels=LABELS.astype(dtype))
        for split in (splits.train, splits.test):
            assert split.labels is not None
            assert split.labels.dtype == torch.int64
            assert torch.equal(split.labels, split.x[:, 0, 0, 0].long())

    def test_the_same_tenth_is_the_test_split(self, npz: Path) -> None:
        images = np.arange(47, dtype=np.uint8)[:, None, None]
        first, second = load_npz(npz, images=images), load_npz(npz, images=images)
        assert (len(first.train), len(first.test)) == (43, 4)
        assert torch.equal(first.train.x, second.train.x)
        assert torch.equal(first.test.x, second.test.x)
        others = load_npz(npz, images=images + 100)
        assert torch.equal(others.test.x, first.test.x + 100)  # the rows follow from their number alone
        assert sorted(torch.cat([first.train.x, first.test.x]).flatten().tolist()) == list(range(47))
        assert first.test.x.flatten().tolist() != list(range(43, 47))  # shuffled: sets are often sorted by class

    def test_the_split_leaves_the_generator_alone(self, npz: Path) -> None:
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        load_npz(npz, images=IMAGES)
        assert torch.equal(torch.rand(3), expected)

    def test_is_train_of_something_else_is_not_used(self, npz: Path) -> None:
        assert len(load_npz(npz, images=IMAGES, is_train=np.ones(3, bool)).test) == 4

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            (
                {"a": IMAGES[0], "b": IMAGES[0]},
                r"no array of pictures; it has a uint8 \(5, 4\), b uint8 \(5, 4\); give",
            ),
            ({"a": IMAGES, "b": IMAGES}, "several arrays that may be pictures"),
            ({"x_test": IMAGES, "y_test": LABELS}, "has no training pictures"),
            ({"x_train": IMAGES, "x_test": IMAGES[:, 1:]}, "different shapes"),
            ({"images": IMAGES[0]}, r"uint8 \(5, 4\)"),
            ({"images": np.zeros((40, 5, 4, 2), np.uint8)}, r"\(40, 5, 4, 2\)"),
            ({"images": np.zeros((0, 5, 4), np.uint8)}, r"\(0, 5, 4\) has no pixels"),
            ({"images": np.zeros((40, 0, 4), np.uint8)}, r"\(40, 0, 4\) has no pixels"),
            ({"images": np.array([None] * 40)}, "'images'"),
            ({"images": IMAGES, "labels": LABELS[1:]}, "labels"),
            ({"images": IMAGES, "labels": LABELS / 2}, "labels"),
            ({"images": IMAGES, "is_train": np.ones(40, bool)}, "is_train"),
            ({"images": IMAGES, "is_train": np.zeros(40, bool)}, "is_train"),
        ],
    )
    def test_unusable_arrays(self, npz: Path, arrays: dict[str, Any], message: str) -> None:
        assert re.search(message, refused(npz, lambda: load_npz(npz, **arrays)))

    def test_too_few_to_split(self, npz: Path) -> None:
        with pytest.raises(DataError, match="only 9 pictures"):
            load_npz(npz, images=IMAGES[:9])

    @pytest.mark.parametrize("length", [0, 1, 30, 100, -200, -10])
    def test_truncated(self, npz: Path, length: int) -> None:
        np.savez_compressed(npz, images=IMAGES)
        npz.write_bytes(npz.read_bytes()[:length])
        refused(npz, lambda: load_data(f"npz:{npz}", Path("unused")))

    @pytest.mark.parametrize("place", [0, 80, 300])
    def test_damaged(self, npz: Path, place: int) -> None:
        np.savez_compressed(npz, images=IMAGES)
        content = bytearray(npz.read_bytes())
        content[place] ^= 0xFF
        npz.write_bytes(content)
        refused(npz, lambda: load_data(f"npz:{npz}", Path("unused")))

    def test_missing(self, npz: Path) -> None:
        refused(npz, lambda: load_data(f"npz:{npz}", Path("unused")))

    def test_one_array_alone(self, npz: Path) -> None:
        with npz.open("wb") as file:
            np.save(file, IMAGES)
        assert len(load_data(f"npz:{npz}", Path("unused")).train) == 36


def test_folders_are_read_as_asked(tmp_path: Path) -> None:
    for i, pixels in enumerate(IMAGES):
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    splits = load_data(f"folder:{tmp_path}", Path("unused"), FolderOptions(size=(3, 2), channels=3))
    assert splits.train.x.shape == (36, 3, 3, 2)
    assert splits.test.x.shape == (4, 3, 3, 2)


@pytest.mark.parametrize("name", ["cifar", "", "npz:", "folder:", "npz", "mnist:path", "MNIST"])
def test_unknown_names(tmp_path: Path, name: str) -> None:
    known = r"mnist, fashion-mnist, lpc-sprites, omniglot-strokes, folder:PATH, npz:PATH, packed:PATH, csv:PATH"
    with pytest.raises(DataError, match=rf"unknown data set .* known: {known}, parquet:PATH, strokes:PATH, text:PATH"):
        load_data(name, tmp_path)


def test_pictures_are_cut_with_their_labels() -> None:
    pictures = Items(torch.arange(6).view(6, 1, 1, 1), torch.arange(6))
    cut = pictures[torch.tensor([4, 1])]
    assert len(cut) == 2
    assert cut.labels is not None
    assert cut.labels.tolist() == cut.x.flatten().tolist() == [4, 1]
    assert len(pictures[2:].to(torch.device("cpu"))) == 4
    assert Items(pictures.x)[:2].labels is None


# --- factors


def test_other_arrays_of_integers_are_factors(tmp_path: Path) -> None:
    hue, size = np.arange(40) % 3, np.arange(40, dtype=np.int8) % 5
    np.savez(tmp_path / "a.npz", images=IMAGES, hue=hue, size=size, weight=np.ones(40), names=np.array(["red"]))
    splits = load_data(f"npz:{tmp_path / 'a.npz'}", tmp_path)
    for part in (splits.train, splits.test):
        assert part.factors.keys() == {"hue", "size"}
        assert all(values.dtype == torch.int64 and values.shape == (len(part),) for values in part.factors.values())
    # they stay with their pictures
    both = torch.cat([splits.train.x, splits.test.x]), torch.cat([splits.train.factors["hue"], splits.test.factors["hue"]])
    place = {IMAGES[i].tobytes(): int(hue[i]) for i in range(40)}
    assert [place[x.numpy().tobytes()] for x in both[0][:, 0]] == both[1].tolist()
    assert splits.train[:7].to(torch.device("cpu")).factors["size"].shape == (7,)


def test_sprites_are_read_with_their_six_factors_and_their_split(tmp_path: Path) -> None:
    names = ("body", "bottomwear", "topwear", "hair", "action", "direction")
    factors: dict[str, Any] = {name: np.arange(40, dtype=np.int8) % (i + 2) for i, name in enumerate(names)}
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), np.uint8)
    (tmp_path / "lpc-sprites").mkdir()
    path = tmp_path / "lpc-sprites" / "lpc_sprites_64x64.npz"
    np.savez(path, images=images, is_train=np.arange(40) < 30, character=np.arange(40), **factors)
    splits = load_data("lpc-sprites", tmp_path)
    assert (splits.train.x.shape, splits.test.x.shape) == ((30, 3, 6, 5), (10, 3, 6, 5))
    assert tuple(splits.test.factors) == names
    assert splits.test.factors["hair"].tolist() == (np.arange(30, 40) % 5).tolist()
    del factors["hair"]
    np.savez(path, images=images, **factors)
    assert "hair" in refused(path, lambda: load_data("lpc-sprites", tmp_path))
    path.unlink()
    refused(path, lambda: load_data("lpc-sprites", tmp_path))


def test_hold_out_is_that_of_training() -> None:
    pictures = Items(torch.arange(40, dtype=torch.uint8)[:, None, None, None])
    train, held_out = hold_out(pictures, 0.1, seed=3)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    assert held_out.x.flatten().tolist() == order[:4].tolist()
    assert train.x.flatten().tolist() == order[4:].tolist()
    assert len(hold_out(pictures, 0.0, seed=3)[1]) == 1
