"""Files that are replaced together: all or none, whatever comes in between, and nothing of a user's is removed."""

import errno
import os
import re
from pathlib import Path

import pytest

from models.files.atomic_file import SUFFIX, WriteError, remove_leftovers, write_atomically, write_together

OLD, NEW = {"a.txt": b"old a", "b.txt": b"old b"}, {"a.txt": b"new a", "b.txt": b"new b"}
# a KeyboardInterrupt can come at any time
INTERRUPTIONS = pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()], ids=["disk", "ctrl-c"])


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def put(directory: Path, what: dict[str, bytes]) -> None:
    write_together({directory / name: content for name, content in what.items()}, durable=False)


def fail_at(monkeypatch: pytest.MonkeyPatch, numbers: set[int], error: BaseException, after: bool = False) -> None:
    """Make some of the following moves fail, before they do anything or after they have done it."""
    replace, count = Path.replace, 0

    def counted(path: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count in numbers and not after:
            raise error
        moved = replace(path, target)
        if count in numbers:
            raise error
        return moved

    monkeypatch.setattr(Path, "replace", counted)


@INTERRUPTIONS
@pytest.mark.parametrize("before", [{}, OLD, {"a.txt": b"old a"}], ids=["none", "both", "one"])
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize(("number", "after"), [(1, False), (1, True), (2, False), (2, True)])
def test_all_or_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: dict[str, bytes],
    links: bool,
    number: int,
    after: bool,
    error: BaseException,
) -> None:
    if before:
        put(tmp_path, before)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    fail_at(monkeypatch, {number}, error, after)
    with pytest.raises(WriteError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        put(tmp_path, NEW)
    if isinstance(error, OSError):
        assert re.fullmatch(
            rf"cannot write .*/[ab]\.txt: broken; {'the old content was kept' if before else 'nothing was written'}",
            str(caught.value),
        )
    monkeypatch.undo()
    assert contents(tmp_path) == before
    put(tmp_path, NEW)
    assert contents(tmp_path) == NEW


def no_links(source: Path, target: Path) -> None:
    raise OSError(errno.EPERM, "no links here")


def test_what_cannot_be_put_back_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, OLD)
    fail_at(monkeypatch, {2, 3}, OSError(errno.EIO, "broken"))
    with pytest.raises(
        WriteError, match=r"cannot write .*b\.txt: broken; .*a\.txt is new and could not be restored"
    ) as caught:
        put(tmp_path, NEW)
    assert "kept" not in str(caught.value)
    found = contents(tmp_path)
    (earlier,) = [name for name in found if name.endswith(SUFFIX)]
    assert earlier in str(caught.value)
    assert found == {"a.txt": b"new a", "b.txt": b"old b", earlier: b"old a"}


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {".my.notes.20240101", ".x.txt.previous", ".vimrc.txt.abcdefgh", ".hidden", "letter.txt", f"letter{SUFFIX}"}
    for name in kept:
        (tmp_path / name).touch()
    monkeypatch.setattr(Path, "unlink", lambda path: None)  # as if it were killed before
    fail_at(monkeypatch, {1}, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "new.txt", b"content")
    monkeypatch.undo()
    assert len(contents(tmp_path)) == len(kept) + 1
    remove_leftovers(tmp_path)
    assert contents(tmp_path).keys() == kept


def test_long_names(tmp_path: Path) -> None:
    long = {f"{'x' * 250}{end}": b"content" for end in "ab"}
    for _ in range(2):
        put(tmp_path, long)
    assert contents(tmp_path) == long
