"""python -m service.store load into a collection: it goes on with the same options only, and names what it leaves out."""

from errno import ENOSPC
from pathlib import Path

import orjson
import pytest

from service.store_command import main
from tests.service.bulk.pictures import files


def load(*arguments: object) -> int:
    return main(["load", "--collection", "some", "--model", "grey", *map(str, arguments)])


def write_pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i, content in enumerate(files(count)):
        (folder / f"{i}.png").write_bytes(content)
    return folder


def test_a_load_with_other_options_does_not_go_on(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(setting / "pictures", 5)
    (folder / "4.png").rename(setting / "4.png")
    assert load(folder) == 0
    (setting / "4.png").rename(folder / "4.png")
    assert load("--invert=yes", folder) == 1
    said = capsys.readouterr().err
    assert "4 of 4 items that are already in 'some', such as '0.png', have other posteriors than they would get now" in said
    assert "add --replace to encode all of them again" in said
    assert said.rstrip().endswith("this load had stored 0 of 5 pictures")  # The same options would not go on.
    assert load("--invert=yes", "--replace", folder) == 0
    assert "added 1, replaced 4" in capsys.readouterr().out
    assert load("--invert=yes", folder) == 0


def test_a_file_names_what_cannot_be_read(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(setting / "pictures", 5)
    for i in range(20, 35):
        (folder / f"{i}.png").touch()
    assert load(folder, "--max-corrupt=0.9", f"--unreadable={setting / 'list'}") == 0
    said = capsys.readouterr().out
    assert f"left out 5 more; {setting / 'list'} has all of them" in said
    assert said.count(": the file is empty") == 10
    lines = [orjson.loads(line) for line in (setting / "list").read_bytes().splitlines()]
    assert [line["id"] for line in lines] == [f"{i}.png" for i in range(20, 35)]
    assert lines[0] == {"id": "20.png", "place": str(folder / "20.png"), "reason": "the file is empty"}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("nowhere/list", "No such file or directory; nothing was written"),
        ("folder", "it exists and is not a regular file"),
        ("/proc/list", "nothing was written"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_encoded(
    setting: Path, where: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (setting / "folder").mkdir()
    assert load(write_pictures(setting / "pictures", 3), "--unreadable", setting / where) == 1
    told = capsys.readouterr()
    assert told.err.startswith(f"error: cannot write {setting / where}: ")
    assert told.err.rstrip().endswith(words)
    assert told.out == ""
    assert sorted(path.name for path in setting.iterdir()) == ["folder", "pictures"]


def test_what_became_of_the_items_is_said_even_if_the_file_cannot_be_written(
    setting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_pictures(setting / "pictures", 5)
    for i in range(20, 35):
        (folder / f"{i}.png").touch()

    def full(*_: object) -> None:
        raise OSError(ENOSPC, "No space left on device", str(setting / "list"))

    monkeypatch.setattr("service.load_command.write_unreadable", full)
    assert load(folder, "--max-corrupt=0.9", f"--unreadable={setting / 'list'}") == 1
    told = capsys.readouterr()
    assert told.out.count(": the file is empty") == 15
    assert "found 20 pictures: added 5, replaced 0, already there 0, left out 15 (named above, with the reasons)" in told.out
    assert told.err.rstrip().endswith(f"error: {setting / 'list'}: No space left on device")
