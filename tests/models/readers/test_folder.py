"""Folders of pictures: nesting, corrupt files, labels, and the shape that is chosen."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.preprocess import preprocess
from models.readers.download import DataError
from models.readers.folder import SAMPLE, FolderOptions
from models.readers.folder import read_folder as read
from models.readers.survey import MAX_OWN_SIDE
from tests.models.readers.pictures import noise, write


def write_many(root: Path, count: int, size: tuple[int, int] = (6, 4)) -> None:
    for i in range(count):
        write(root / f"{i:03}.png", i, size)


def read_folder(root: Path, options: FolderOptions) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Pixels and labels."""
    found = read(root, options)
    return torch.from_numpy(found.x), None if found.labels is None else torch.from_numpy(found.labels)


def levels(x: torch.Tensor) -> list[int]:
    assert x.dtype == torch.uint8
    return [int(value) for value in x[:, 0, 0, 0]]


class TestFiles:
    def test_nested_in_sorted_order(self, tmp_path: Path) -> None:
        for i, name in enumerate(["a/x/3.png", "a/b.png", "b/c/d/e/1.png", "b/z.PNG"]):
            write(tmp_path / name, 10 * i)
        x, _ = read_folder(tmp_path, FolderOptions())
        assert x.shape == (4, 1, 4, 6)
        paths = sorted(path for path in tmp_path.rglob("*.*") if path.is_file())
        assert levels(x) == [np.asarray(Image.open(path).convert("L"))[0, 0] for path in paths]

    def test_only_pictures_count(self, tmp_path: Path) -> None:
        write_many(tmp_path, 3)
        (tmp_path / "notes.txt").write_text("not a picture")
        (tmp_path / ".DS_Store").touch()
        assert len(read_folder(tmp_path, FolderOptions())[0]) == 3

    def test_every_kind(self, tmp_path: Path) -> None:
        for i, name in enumerate(["a.jpg", "b.JPEG", "c.png", "d.webp", "e.bmp", "f.tif", "g.TIFF", "h.gif"]):
            write(tmp_path / name, 30 * i)
        assert levels(read_folder(tmp_path, FolderOptions())[0]) == [0, 30, 60, 90, 120, 150, 180, 210]

    def test_large_pictures_are_read_up_to_a_bound(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_many(tmp_path, 3)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        write(tmp_path / "large.png", 3, (10, 20))  # Pillow warns of it.
        write(tmp_path / "too_large.png", 3, (10, 21))
        found = read(tmp_path, FolderOptions())
        assert len(found.x) == 4
        assert "large.png: more than 200 pixels, which is too large; make it smaller)" in found.summary[-1]

    def test_animations_give_their_first_frame(self, tmp_path: Path) -> None:
        first, *others = (Image.new("RGB", (6, 4), (60 * i, 0, 0)) for i in range(3))
        first.save(tmp_path / "a.gif", save_all=True, append_images=others)
        found = read(tmp_path, FolderOptions())
        assert found.x.max() == 0
        assert "1 file with several frames: only the first frame is used" in found.summary

    def test_missing_or_empty(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="nowhere: no such folder"):
            read_folder(tmp_path / "nowhere", FolderOptions())
        with pytest.raises(DataError, match=r"contains no pictures \(PNG, .*\); it is empty"):
            read_folder(tmp_path, FolderOptions())


class TestCorrupt:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """20 pictures, 2 of them broken: one is no picture, one ends in its middle."""
        write_many(tmp_path, 20)
        (tmp_path / "003.png").write_text("not a picture")
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6), np.uint8))
        noise.save(tmp_path / "007.png")
        (tmp_path / "007.png").write_bytes((tmp_path / "007.png").read_bytes()[:50])
        return tmp_path

    def test_skipped_up_to_the_share_and_told_by_name(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        x, _ = read_folder(folder, FolderOptions(max_corrupt=0.1))
        assert levels(x) == [i for i in range(20) if i not in (3, 7)]
        told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped")]
        assert [str(folder / name) in line for name, line in zip(["003.png", "007.png"], told, strict=True)] == [True, True]

    def test_refused_above_the_share(self, folder: Path) -> None:
        with pytest.raises(DataError, match=r"2 of 20 pictures .*share of 0\.09 .*--max-corrupt.*003\.png"):
            read_folder(folder, FolderOptions(max_corrupt=0.09))

    def test_one_file_is_always_allowed(self, tmp_path: Path) -> None:
        write_many(tmp_path, 5)
        (tmp_path / "001.png").write_bytes(b"")
        found = read(tmp_path, FolderOptions(max_corrupt=0))
        assert len(found.x) == 4
        assert found.summary[-1] == f"skipped: 1 file that cannot be read ({tmp_path / '001.png'}: the file is empty)"

    @pytest.mark.parametrize("size", [None, (8, 8)])
    def test_all_of_them(self, tmp_path: Path, size: tuple[int, int] | None) -> None:
        for i in range(3):
            (tmp_path / f"{i}.png").touch()
        with pytest.raises(DataError, match=r"3 of 3 pictures .*corrupt"):
            read_folder(tmp_path, FolderOptions(size=size, max_corrupt=0.99))


class TestLabels:
    def test_by_first_folder(self, tmp_path: Path) -> None:
        for name in ["cat/1.png", "cat/old/2.png", "dog/3.png", "ant/4.png"]:
            write(tmp_path / name)
        _, labels = read_folder(tmp_path, FolderOptions())
        assert labels is not None
        assert labels.tolist() == [0, 1, 1, 2]
        assert labels.dtype == torch.int64

    def test_stay_with_their_pictures_when_some_are_skipped(self, tmp_path: Path) -> None:
        for level, name in enumerate(["cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png"]):
            write(tmp_path / name, level)
        (tmp_path / "cat/1.png").write_text("broken")
        x, labels = read_folder(tmp_path, FolderOptions(max_corrupt=0.5))
        assert labels is not None
        assert list(zip(levels(x), labels.tolist(), strict=True)) == [(1, 0), (2, 1), (3, 1)]

    @pytest.mark.parametrize("names", [["1.png", "2.png"], ["cat/1.png", "cat/2.png"], ["cat/1.png", "dog/2.png", "3.png"]])
    def test_none_without_classes(self, tmp_path: Path, names: list[str]) -> None:
        for name in names:
            write(tmp_path / name)
        assert read_folder(tmp_path, FolderOptions())[1] is None


class TestShape:
    def test_the_most_frequent_size(self, tmp_path: Path) -> None:
        write(tmp_path / "0.png", size=(9, 9))
        write_many(tmp_path, 2, size=(7, 5))
        assert read_folder(tmp_path, FolderOptions())[0].shape == (3, 1, 5, 7)

    def test_the_size_asked_for(self, tmp_path: Path) -> None:
        write_many(tmp_path, 2, size=(700, 500))
        assert read_folder(tmp_path, FolderOptions(size=(8, 9)))[0].shape == (2, 1, 8, 9)

    def test_large_pictures_need_a_size(self, tmp_path: Path) -> None:
        write_many(tmp_path, 2, size=(MAX_OWN_SIDE + 1, 3))
        with pytest.raises(DataError, match=f"{MAX_OWN_SIDE + 1} wide and 3 high.*--size"):
            read_folder(tmp_path, FolderOptions())

    def test_the_largest_that_need_none(self, tmp_path: Path) -> None:
        write(tmp_path / "a.png", size=(3, MAX_OWN_SIDE))
        assert read_folder(tmp_path, FolderOptions())[0].shape == (1, 1, MAX_OWN_SIDE, 3)

    def test_size_is_that_of_the_upright_picture(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # stored lying on its side, as phones do
        pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
        Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
        x, _ = read_folder(tmp_path, FolderOptions())
        np.testing.assert_array_equal(x[0, 0], np.rot90(pixels, -1))

    def test_broken_metadata_do_not_hide_a_picture(self, tmp_path: Path) -> None:
        Image.new("RGB", (6, 4), "red").save(tmp_path / "a.png", exif=b"nonsense")
        assert read_folder(tmp_path, FolderOptions())[0].shape == (1, 3, 4, 6)

    @pytest.mark.parametrize(
        ("modes", "channels"), [(["L", "1"], 1), (["LA"], 1), (["I;16"], 1), (["L", "RGB"], 3), (["RGBA"], 3), (["P"], 3)]
    )
    def test_channels_are_three_where_any_has_color(self, tmp_path: Path, modes: list[str], channels: int) -> None:
        for mode in modes:
            Image.new("RGB", (6, 4), "red").convert("L" if mode == "I;16" else mode).convert(mode).save(
                tmp_path / f"{mode}.png"
            )
        assert read_folder(tmp_path, FolderOptions())[0].shape[1] == channels

    @pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif"])
    def test_grey_pixels_stored_in_colour(self, tmp_path: Path, kind: str) -> None:
        for i in range(3):
            Image.fromarray(noise(40, 40, seed=i)).convert("RGB").save(tmp_path / f"{i}.{kind}")
        write(tmp_path / "grey.png", 9, (40, 40))
        found = read(tmp_path, FolderOptions())
        assert found.x.shape[1] == 1
        assert (
            "3 pictures are stored in colour but have grey pixels only; they are read as grey. "
            + ("--channels 3 keeps them in colour")
            in found.summary
        )
        assert found.preprocessing is not None
        with Image.open(tmp_path / f"0.{kind}") as image:  # Served as it was trained on.
            np.testing.assert_array_equal(found.x[0], preprocess(image, found.preprocessing))

    @pytest.mark.parametrize("channels", [1, 3])
    def test_the_channels_asked_for(self, tmp_path: Path, channels: int) -> None:
        write(tmp_path / "a.png", mode="RGB")
        write(tmp_path / "b.png", mode="L")
        assert read_folder(tmp_path, FolderOptions(channels=channels))[0].shape[1] == channels

    def test_one_picture_in_colour_among_many_stored_in_colour(self, tmp_path: Path) -> None:
        for i in range(2 * SAMPLE):
            write(tmp_path / f"{i:03}.png", i, mode="RGB")
        Image.new("RGB", (6, 4), (9, 9, 10)).save(tmp_path / "001.png")  # It is not looked at before the others.
        found = read(tmp_path, FolderOptions())
        assert found.x.shape[1] == 3
        assert not any("stored in colour" in line for line in found.summary)

    def test_fit_is_as_asked(self, tmp_path: Path) -> None:
        write(tmp_path / "wide.png", 100, size=(8, 4))
        padded, cropped = (read_folder(tmp_path, FolderOptions(size=(8, 8), fit=fit))[0][0, 0] for fit in ("pad", "crop"))
        assert padded[0].sum() == 0
        assert cropped.eq(100).all()
