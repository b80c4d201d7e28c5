"""The free memory, of the machine or of a control group, is compared with what is needed; pictures are allocated once."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.readers import memory
from models.readers.arrays import read_arrays
from models.readers.download import DataError
from models.readers.folder import FolderOptions, read_folder
from models.readers.memory import check_memory, free_memory
from tests.models.readers.pictures import many, write_all


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 MiB of free memory."""
    (tmp_path / "meminfo").write_text("MemTotal: 100000 kB\nMemAvailable:    8192 kB\n")
    (tmp_path / "cgroup").write_text("")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "CONTROL", tmp_path / "control")
    return tmp_path


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_of_the_machine(system: Path) -> None:
    assert free_memory() == 8 << 20


def test_of_the_tightest_control_group(system: Path) -> None:
    (system / "cgroup").write_text("0::/outer/inner\n")
    group(
        system / "control" / "outer",
        memory__max=str(5 << 20),
        memory__current=str(3 << 20),
        memory__stat="file 1048576",
    )
    group(system / "control" / "outer" / "inner", memory__max="max\n", memory__current="1", memory__stat="file 0\n")
    assert free_memory() == 3 << 20


def test_of_version_1(system: Path) -> None:
    (system / "cgroup").write_text("5:cpu:/a\n4:memory:/a\n")
    group(
        system / "control" / "memory" / "a",
        memory__limit_in_bytes="1000",
        memory__usage_in_bytes="400",
        memory__stat="total_cache 100\n",
    )
    assert free_memory() == 700


def test_unknown_where_there_is_neither(system: Path) -> None:
    (system / "meminfo").unlink()
    (system / "cgroup").unlink()
    assert free_memory() is None
    check_memory(1 << 60, "pictures")


def test_refused_before_reading(system: Path) -> None:
    write_all(system, *many("set"))
    with pytest.raises(DataError, match=r"6 pictures of 1000 x 1000 x 3 need 17.2 MiB of memory, 8.0 MiB are free"):
        read_folder(system / "set", FolderOptions(size=(1000, 1000), channels=3))
    np.savez(system / "x.npz", images=np.zeros((9000, 40, 40), np.uint8))
    with pytest.raises(DataError, match=r"9,000 pictures of 40 x 40 x 1 need 13.7 MiB of memory, 8.0 MiB are free"):
        read_arrays(system / "x.npz", FolderOptions())


@pytest.mark.parametrize("kind", ["folder", "nearly grey", "npz", "floats"])
def test_the_pictures_are_in_memory_once(tmp_path: Path, kind: str) -> None:
    size = (600, 128, 128, 3)
    if kind in ("folder", "nearly grey"):
        for i in range(size[0]):
            has_color = kind == "folder" or i == 598  # which is not looked at before the others
            Image.new("RGB", (128, 128), (200 if has_color else 9, 9, 9)).save(tmp_path / f"{i:03}.png")
    else:
        np.savez(tmp_path / "x.npz", images=np.full(size, (0, 9, 255), np.uint8 if kind == "npz" else np.float32))
    tracemalloc.start()
    options = FolderOptions()
    found = read_arrays(tmp_path / "x.npz", options) if (tmp_path / "x.npz").exists() else read_folder(tmp_path, options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    allowed = 1.3 if kind != "floats" else 1.5  # A few blocks of doubles, which do not grow with the number of pictures.
    assert found.x.shape == (600, 3, 128, 128)
    assert peak < allowed * found.x.nbytes
