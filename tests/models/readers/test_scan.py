"""Finding pictures: hidden and system files, links and their loops, names that are not UTF-8; everything else is counted."""

import os
from pathlib import Path

import pytest

from models.readers.download import DataError
from models.readers.path_names import expanded, shown, storable
from models.readers.scan import Scan, scan
from tests.models.readers.pictures import write, write_all


def names(found: Scan) -> list[str]:
    return [path.as_posix() for path in found.relative]


def left_out(found: Scan) -> str:
    return "; ".join(found.left_out.lines())


def test_only_pictures_of_the_known_formats_and_the_others_by_kind(tmp_path: Path) -> None:
    kinds = ["a.png", "b.JPG", "c.jpeg", "d.webp", "e.gif", "f.bmp", "g.tif", "h.TIFF"]
    for name in [*kinds, "x.heic", "y.csv", "z.csv", "README"]:
        (tmp_path / name).touch()
    found = scan(tmp_path)
    assert names(found) == kinds
    assert left_out(found) == "left out: files of other kinds: 4 (.csv 2, without a suffix 1, .heic 1)"


def test_hidden_and_system_files_as_desktops_and_archives_leave_them(tmp_path: Path) -> None:
    write_all(tmp_path, "cat/1.png", "cat/._1.png", "__MACOSX/cat/._1.png", ".ipynb_checkpoints/1.png", "@eaDir/1.png")
    (tmp_path / "cat" / "Thumbs.db").touch()
    (tmp_path / ".git").mkdir()
    found = scan(tmp_path)
    assert names(found) == ["cat/1.png"]
    assert "hidden or system files: 5 (.ipynb_checkpoints/, @eaDir/, __MACOSX/, ...)" in left_out(found)


def test_a_folder_below_a_hidden_one_is_read_if_it_is_given(tmp_path: Path) -> None:
    write_all(tmp_path, ".cache/set/1.png")
    assert names(scan(tmp_path / ".cache" / "set")) == ["1.png"]


def test_links_are_followed_once_and_loops_are_counted(tmp_path: Path) -> None:
    write_all(tmp_path, "set/cat/1.png", "elsewhere/2.png", "elsewhere/3.png")
    write(tmp_path / "4.png").rename(tmp_path / "4")
    root = tmp_path / "set"
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "dog again").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    (root / "cat" / "up").symlink_to("..")
    (root / "all").symlink_to(tmp_path)
    (root / "itself").symlink_to("itself")
    (root / "4.png").symlink_to(tmp_path / "4")
    (root / "again.png").symlink_to("cat/1.png")
    (root / "gone.png").symlink_to("nowhere.png")
    found = scan(root)
    assert names(found) == ["4.png", "cat/1.png", "dog/2.png", "dog/3.png"]
    said = left_out(found)
    assert "links to folders that are read already: 3 (cat/up is ., dog again is dog, loop is .)" in said
    assert "links to folders around this one: 1 (all)" in said
    assert "links to files that are read already: 1 (again.png is cat/1.png)" in said
    assert "broken links (No such file or directory): 1 (gone.png)" in said
    assert "broken links (Too many levels of symbolic links): 1 (itself)" in said


def test_several_names_of_one_file_are_one_picture(tmp_path: Path) -> None:
    write_all(tmp_path, "cat/b.png", "dog/2.png")
    for name in ("cat/c.png", "ant/9.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).hardlink_to(tmp_path / "cat/b.png")
    found = scan(tmp_path)
    assert names(found) == ["ant/9.png", "dog/2.png"]
    assert "3 (cat/b.png is ant/9.png, cat/c.png is ant/9.png, dog/1.png is ant/9.png)" in left_out(found)


@pytest.mark.parametrize(("outer", "inner"), ["ab", "ba"])
def test_a_folder_that_two_links_reach_is_read_once_whatever_their_names(tmp_path: Path, outer: str, inner: str) -> None:
    write_all(tmp_path, "elsewhere/1.png", "elsewhere/in/2.png", "set/c/3.png")
    root = tmp_path / "set"
    (root / outer).symlink_to(tmp_path / "elsewhere")
    (root / inner).symlink_to(tmp_path / "elsewhere" / "in")
    found = scan(root)
    assert names(found) == sorted([f"{outer}/1.png", f"{outer}/in/2.png", "c/3.png"])
    assert left_out(found) == f"left out: links to folders that are read already: 1 ({inner} is {outer}/in)"


def test_a_link_to_the_folder_itself_may_be_given(tmp_path: Path) -> None:
    write_all(tmp_path, "set/1.png")
    (tmp_path / "link").symlink_to("set")
    assert names(scan(tmp_path / "link")) == ["1.png"]


def test_names_that_are_not_utf8_are_found_and_can_be_shown(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    path.touch()
    (tmp_path / "new\nline.png").touch()
    shown_names = [shown(name) for name in scan(tmp_path).relative]
    assert shown_names == ["caf\\xe9.png", "new\\nline.png"]
    assert all(name.encode("utf-8").decode().isprintable() for name in shown_names)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.touch(), "not a folder"),
        (lambda path: path.mkdir(), "contains no pictures .*; it is empty"),
        (
            lambda path: (path.mkdir(), (path / "x.npz").touch()),
            r"other kinds: 1 \(.npz 1\); to read its arrays, give .*x.npz",
        ),
        (lambda path: write(path / ".hidden.png"), "hidden or system files: 1"),
    ],
)
def test_nothing_to_read(tmp_path: Path, make: object, said: str) -> None:
    assert callable(make)
    make(tmp_path / "set")
    with pytest.raises(DataError, match=said):
        scan(tmp_path / "set")


def test_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/set") == tmp_path / "set"
    assert expanded("~nobody-of-this-name/set") == Path("~nobody-of-this-name/set")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    assert expanded("~") == Path("~")


def test_a_name_that_is_not_utf8_survives_in_json(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Path(path).mkdir()
    stored = storable(path)
    assert stored.encode().decode() == stored == f"{tmp_path}/caf\\xe9"
    assert expanded(stored) == Path(path)
    Path(stored).mkdir()  # A folder that is really called so comes first.
    assert expanded(stored) == Path(stored)
