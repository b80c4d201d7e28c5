"""Data of the user with --pack: the same splits as in memory, one file that is made once, and clear refusals."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch
from PIL import Image

from models.data import Items, Splits, file_rows, load_data
from models.data.file_rows import FileRows
from models.preprocess import Preprocessing
from models.readers import packed_rows
from models.readers.download import DataError
from models.readers.folder import FolderOptions
from models.readers.values import ValueOptions
from tests.models.readers.pictures import noise

X = noise(40, 8, 6, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 pictures of two classes in folders of splits and groups, one of which is corrupt, one a copy, and a file beside."""
    root = tmp_path / "set"
    for i, pixels in enumerate(X):
        path = root / ("test" if i % 5 == 0 else "train") / "ab"[i % 2] / str(i % 3) / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels if i != 7 else X[6]).save(path)
    (root / "train" / "a" / "0" / "12.png").write_bytes(b"no picture")
    (root / "notes.txt").write_text("beside")
    return root


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return tmp_path / "packed" / "set.safetensors"


def load(data: str, **options: Any) -> Splits:
    return load_data(data, Path("unused"), FolderOptions(**options))


def assert_same(found: Splits, expected: Splits) -> None:
    """Assert that all but the place of the rows is the same."""
    assert found.summary == expected.summary
    assert (found.classes, found.preprocessing, found.kind) == (expected.classes, expected.preprocessing, expected.kind)
    for name in ("train", "test", "validation"):
        own, other = getattr(found, name), getattr(expected, name)
        assert (own is None) == (other is None)
        if own is not None:
            assert_items(own, other)


def assert_items(found: Items, expected: Items) -> None:
    np.testing.assert_array_equal(found.x.numpy(), expected.x.numpy())
    for name in ("labels", "place", "groups"):
        own, other = getattr(found, name), getattr(expected, name)
        assert (own is None) == (other is None), name
        assert own is None or torch.equal(own, other)
    assert {name: values.tolist() for name, values in found.factors.items()} == {
        name: values.tolist() for name, values in expected.factors.items()
    }


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let slices stay in the file."""
    monkeypatch.setattr(file_rows, "AT_ONCE", 0)


@pytest.mark.parametrize("hold_out", ["random", "group", "blocks"])
@pytest.mark.parametrize("part", ["", "train"], ids=["splits", "none"])
def test_a_folder_is_as_in_memory(folder: Path, pack: Path, hold_out: str, part: str) -> None:
    data = f"folder:{folder / part}"
    expected = load(data, hold_out=hold_out)
    for name in (data, data, f"packed:{pack}"):  # made, used again, and alone
        found = load(name, hold_out=hold_out, pack=None if name.startswith("packed") else pack)
        assert isinstance(found.train.x, FileRows)
        assert_same(found, expected)
    assert [path.name for path in pack.parent.iterdir()] == [pack.name]


def test_one_file_serves_every_way_to_hold_out(folder: Path, pack: Path) -> None:
    data = f"folder:{folder / 'train'}"
    for hold_out in ("blocks", "group", "random"):
        assert_same(load(data, hold_out=hold_out, pack=pack), load(data, hold_out=hold_out))


@pytest.mark.parametrize("size", [None, (5, 7)])
def test_arrays_are_as_in_memory(tmp_path: Path, pack: Path, size: tuple[int, int] | None) -> None:
    rows = np.arange(40)
    np.savez(tmp_path / "x.npz", images=X, labels=rows % 2, shade=rows % 3, groups=rows // 4)
    expected = load(f"npz:{tmp_path / 'x.npz'}", size=size)
    assert_same(load(f"npz:{tmp_path / 'x.npz'}", size=size, pack=pack), expected)
    assert_same(load(f"packed:{pack}"), expected)


def test_grey_pictures_in_colour_are_read_twice_at_most(tmp_path: Path, pack: Path) -> None:
    """The sample of pictures is grey, but the last one is not: the file is begun anew."""
    for i in range(301):
        pixels = X[i % 40] if i == 299 else np.repeat(X[i % 40, :, :, :1], 3, 2)
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / f"{i:03}.png")
    data = f"folder:{tmp_path / 'set'}"
    assert_same(load(data, pack=pack), load(data))


def test_other_programs_can_read_it(folder: Path, pack: Path) -> None:
    found = load(f"folder:{folder}", pack=pack)
    arrays = safetensors.numpy.load_file(pack)
    assert arrays["x"].shape == (39, 3, 8, 6)
    assert arrays["labels"].shape == (39,)
    assert found.train.place is not None
    np.testing.assert_array_equal(arrays["x"][found.train.place.numpy()], found.train.x.numpy())
    with safetensors.safe_open(pack, "numpy") as file:
        assert file.metadata()["format"] == "vae-pack"
        np.testing.assert_array_equal(file.get_slice("x")[3:5], arrays["x"][3:5])
    about = json.loads(arrays["about"].tobytes())
    assert about["classes"] == ["a", "b"]
    assert "12.png" in about["skipped"][0]
    assert about["options"]["size"] is None
    assert np.memmap(pack, np.uint8, "r", 65_536, (39, 3, 8, 6))[5].tolist() == arrays["x"][5].tolist()


def change(folder: Path, how: str) -> None:
    file = folder / "train" / "b" / "1" / "01.png"
    if how == "more":
        shutil.copy(file, folder / "train" / "b" / "1" / "more.png")
    elif how == "name":
        file.rename(file.with_name("again.png"))
    else:
        os.utime(file, ns=(1, 1))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("more", r"it had 40 files of .*, and now has 41 files"),
        ("name", "with other names or sizes"),
        ("time", "some were written again"),
    ],
)
def test_a_folder_that_changed(folder: Path, pack: Path, how: str, said: str) -> None:
    load(f"folder:{folder}", pack=pack)
    change(folder, how)
    before = pack.read_bytes()
    with pytest.raises(DataError, match=rf"{said}.*--data packed:"):
        load(f"folder:{folder}", pack=pack)
    assert pack.read_bytes() == before
    assert len(load(f"packed:{pack}").train) == 31


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"size": (4, 4)}, "no --size then, --size 4x4 now"),
        ({"channels": 1}, "no --channels then, --channels 1 now"),
        ({"filter": "nearest"}, "--filter bilinear then, --filter nearest now"),
        ({"values": ValueOptions(invert="yes")}, "--invert no then, --invert yes now"),
    ],
)
def test_other_flags(folder: Path, pack: Path, other: dict[str, Any], said: str) -> None:
    load(f"folder:{folder}", pack=pack)
    for name, options in ((f"folder:{folder}", {"pack": pack}), (f"packed:{pack}", {})):
        with pytest.raises(DataError, match=said):
            load(name, **options, **other)


def test_a_model_that_takes_other_pictures(folder: Path, pack: Path) -> None:
    found = load(f"folder:{folder}", pack=pack)
    assert_same(load(f"packed:{pack}", model=found.preprocessing), found)
    with pytest.raises(DataError, match="and the model takes"):
        load(f"packed:{pack}", model=Preprocessing(3, 4, 4))


def test_refused(folder: Path, pack: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lies in the folder"):
        load(f"folder:{folder}", pack=folder / "deep" / "x.safetensors")
    with pytest.raises(DataError, match="not for mnist: give --data folder:PATH, or leave --pack out"):
        load("mnist", pack=pack)
    with pytest.raises(DataError, match=f"no such file; make it with --data folder:PATH --pack {pack}"):
        load(f"packed:{pack}")
    with pytest.raises(DataError, match="corrupt"):
        _all_corrupt(tmp_path, pack)
    assert not pack.exists()
    assert not list(pack.parent.glob(".*"))


def _all_corrupt(tmp_path: Path, pack: Path) -> None:
    for i in range(3):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / f"{i}.png").write_bytes(b"no picture")
    load(f"folder:{tmp_path / 'bad'}", pack=pack)


def test_a_full_disk(folder: Path, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(folder)._replace(free=70_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"40 pictures of 8 x 6 x 3 need 72\.8 KiB on the disk of .*, 68\.4 KiB are free"):
        load(f"folder:{folder}", pack=pack)
    assert not list(pack.parent.iterdir())


def test_a_disk_that_becomes_full(folder: Path, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        with open("/dev/full", "wb", 0) as file:
            return file.write(b"x")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(DataError, match=r"cannot write .*: No space left on device"):
        load(f"folder:{folder}", pack=pack)
    assert not list(pack.parent.iterdir())


def test_killed_while_it_is_written(folder: Path, pack: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from models.readers import packed_rows as p\n"
        "from models.data import load_data; from models.readers.folder import FolderOptions\n"
        "p.PackedRows.all = lambda self: (self._flush(), os.kill(os.getpid(), signal.SIGKILL))\n"
        "load_data(sys.argv[1], Path('unused'), FolderOptions(pack=Path(sys.argv[2])))"
    )
    ended = subprocess.run([sys.executable, "-c", code, f"folder:{folder}", str(pack)], check=False, timeout=60)
    assert ended.returncode < 0
    assert [path.name for path in pack.parent.iterdir()] == [".set.safetensors.vae-tmp"]
    assert_same(load(f"folder:{folder}", pack=pack), load(f"folder:{folder}"))
    assert [path.name for path in pack.parent.iterdir()] == [pack.name]


def test_another_process_writes_it(folder: Path, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who comes second waits, and then uses the file of the first one, or makes it if the first one failed."""
    expected = load(f"folder:{folder}")
    pack.parent.mkdir()
    temporary = pack.with_name(".set.safetensors.vae-tmp")
    with temporary.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = list[Splits]()
        second = threading.Thread(target=lambda: found.append(load(f"folder:{folder}", pack=pack)))
        second.start()
        second.join(0.05)
        assert not found
        temporary.unlink()
    second.join(30)
    assert_same(found[0], expected)
    assert not temporary.exists()


def test_the_folder_changes_meanwhile(folder: Path, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = packed_rows.PackedRows.all

    def changed(self: packed_rows.PackedRows) -> Any:
        change(folder, "time")
        return real(self)

    monkeypatch.setattr(packed_rows.PackedRows, "all", changed)
    with pytest.raises(DataError, match="changed while it was read"):
        load(f"folder:{folder}", pack=pack)
    assert not list(pack.parent.iterdir())


def test_names_that_are_not_utf_8(tmp_path: Path, pack: Path) -> None:
    for i, pixels in enumerate(X):
        place = tmp_path / "set" / os.fsdecode(b"cl\xff%d" % (i % 2)) / os.fsdecode(b"g\xfe%d" % (i // 2 % 5))
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i:02}.png")
    data = f"folder:{tmp_path / 'set'}"
    for hold_out in ("random", "group"):
        expected = load(data, hold_out=hold_out)
        assert expected.classes == ["cl\\xff0", "cl\\xff1"]
        for name in (data, f"packed:{pack}"):
            assert_same(load(name, hold_out=hold_out, pack=None if name.startswith("packed") else pack), expected)


def test_files_that_are_not_in_it_are_said(folder: Path, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(f"folder:{folder}", pack=pack)
    assert "could not be read" not in capsys.readouterr().out
    load(f"folder:{folder}", pack=pack)
    said = " ".join(capsys.readouterr().out.split())
    assert f"packed: 1 file could not be read when {pack} was made, and is not in it (" in said
    assert "12.png: " in said
    assert said.endswith(f"if that is mended, remove {pack} or name another file to pack the pictures again")


def test_a_broken_link(folder: Path, tmp_path: Path) -> None:
    (link := tmp_path / "link").symlink_to(tmp_path / "gone")
    words = f"{link}: a broken link, since {tmp_path / 'gone'} is not there: remove the link, or name another file"
    for name, given in ((f"folder:{folder}", link), (f"packed:{link}", None)):
        with pytest.raises(DataError) as raised:
            load(name, pack=given)
        assert str(raised.value) == words
