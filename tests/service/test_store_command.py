"""python -m service.store: dump, backup."""

import asyncio
import errno
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from models.files.directory_lock import locked
from service.store.interface import Collection, Items, StoreUnusable
from service.store.output_files import check_output
from service.store.sqlite.store import SqliteStore
from service.store_command import main
from tests.service.store.direction_player import made


def contents(directory: Path) -> dict[str, bytes]:
    """Return the content of all regular files, except those that sqlite has only while a store is open."""
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.is_file() and path.suffix not in (".db-shm", ".db-wal")
    }


@pytest.fixture
def full(setting: Path) -> Path:
    """A store with a collection, and files of other kinds."""
    store = SqliteStore(setting / "latents.db", 1 << 20)

    async def fill() -> None:
        await store.create(Collection("some", "grey", "ab" * 32, 3))
        rows = np.ones((2, 3), np.float32)
        await store.upsert("some", "ab" * 32, Items(["a", "b"], rows, rows, np.ones(2, np.bool_), [b"{}"] * 2))
        await store.close()

    asyncio.run(fill())
    (setting / "letter.txt").write_text("dear")
    (setting / "empty").touch()
    np.savez(setting / "digits.npz", images=np.zeros((2, 8, 8), np.uint8))
    (setting / "other.jsonl").write_text('{"id": "a"}\n')
    with sqlite3.connect(setting / "songs.db") as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    (setting / "folder").mkdir()
    (setting / "folder.npz").mkdir()
    os.mkfifo(setting / "fifo")
    os.mkfifo(setting / "fifo.npz")
    (setting / "to_fifo").symlink_to(setting / "fifo")
    (setting / "link").symlink_to(setting / "latents.db")
    (setting / "link.npz").symlink_to(setting / "letter.txt")
    (setting / "latents.db-wal").touch()
    return setting


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("latents.db", "latents.db itself"),
        ("../{}/latents.db", "latents.db itself"),
        ("link", "latents.db itself"),
        ("latents.db-wal", "latents.db-wal itself"),
        ("latents.db-shm", "latents.db-shm itself"),
        ("latents.db-journal", "latents.db-journal itself"),
        ("folder", "not a regular file"),
        ("fifo", "not a regular file"),
        ("to_fifo", "not a regular file"),
        ("letter.txt", "is not an earlier backup of a latent store; delete it"),
        ("songs.db", "is not an earlier backup of a latent store; delete it"),
        ("digits.npz", "is not an earlier backup of a latent store; delete it"),
        ("nowhere/x.db", "there is no directory"),
        ("letter.txt/x.db", "there is no directory"),
    ],
)
def test_a_backup_replaces_nothing_but_a_backup(full: Path, out: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(full)
    assert main(["backup", str(full / out.format(full.name))]) == 1
    assert reason in capsys.readouterr().err
    assert contents(full) == before
    assert (full / "fifo").is_fifo()


def test_a_device_is_no_place_for_output() -> None:
    """Only asked, not tried: where that goes wrong, root would replace the device."""
    with pytest.raises(StoreUnusable, match="not a regular file"):
        check_output(Path("/dev/full"), lambda path: True, "backup")


def test_a_backup_replaces_a_backup_through_links_and_keeps_permissions(full: Path) -> None:
    os.chmod(full / "latents.db", 0o640)
    (full / "to.db").symlink_to(full / "new.db")
    for out in ("empty", "copy.db", "copy.db", "to.db", "to.db", "copy.db.part"):
        assert main(["backup", str(full / out)]) == 0
        with sqlite3.connect(full / out) as connection:
            assert connection.execute("SELECT count(*) FROM items").fetchone() == (2,)
        connection.close()
        assert (full / out).stat().st_mode & 0o777 == 0o640
    assert (full / "to.db").is_symlink()
    assert not [path.name for path in full.iterdir() if path.name.startswith(".")]


def test_a_backup_does_not_replace_a_store_that_is_in_use(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", str(full / "other.db")]) == 0
    used = sqlite3.connect(full / "other.db")
    used.execute("SELECT count(*) FROM items").fetchone()
    assert main(["backup", str(full / "other.db")]) == 1
    assert "in use as a store" in capsys.readouterr().err
    used.close()


@pytest.mark.parametrize("store", ["songs.db", "letter.txt", "nothing.db", "folder", "postgresql://localhost/x"])
def test_only_a_latent_store_has_a_backup(
    full: Path, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAE_STORE", store if "//" in store else str(full / store))
    before = contents(full)
    assert main(["backup", str(full / "out.db")]) == 1
    assert "error: " in capsys.readouterr().err
    assert contents(full) == before


@pytest.mark.parametrize("out", ["digits", "other", "folder", "fifo", "link", "latents"])
def test_a_dump_replaces_nothing_but_a_dump(
    full: Path, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if out == "latents":  # a store may have any name
        os.rename(full / "latents.db", full / "latents.npz")
        monkeypatch.setenv("VAE_STORE", str(full / "latents.npz"))
    before = contents(full)
    assert main(["dump", "--collection", "some", str(full / out)]) == 1
    assert "another" in capsys.readouterr().err
    assert contents(full) == before


def test_a_dump_replaces_a_dump(full: Path) -> None:
    for _ in range(2):
        assert main(["dump", "--collection", "some", str(full / "out")]) == 0
    assert main(["dump", "--collection", "../x", str(full / "out")]) == 1
    assert len((full / "out.jsonl").read_bytes().splitlines()) == 2


def test_a_dump_says_that_it_leaves_directions_out(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["dump", "--collection", "some", str(full / "out")]
    assert main(arguments) == 0
    assert "direction" not in capsys.readouterr().out

    async def add() -> None:
        store = SqliteStore(full / "latents.db", 1 << 20)
        await store.put_direction("some", "ab" * 32, made(1, "smile", 3))
        await store.put_direction("some", "ab" * 32, made(2, "hat", 3))
        await store.close()

    asyncio.run(add())
    assert main(arguments) == 0
    assert "the dump leaves out 2 directions, which a backup has" in capsys.readouterr().out
    assert main(["backup", str(full / "copy.db")]) == 0

    async def names() -> list[str]:
        store = SqliteStore(full / "copy.db", 1 << 20)
        try:
            return [one.name for one in await store.directions("some")]
        finally:
            await store.close()

    assert asyncio.run(names()) == ["hat", "smile"]


def test_a_dump_that_fails_in_its_middle_leaves_both_files_as_they_were(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["dump", "--collection", "some", str(full / "out")]
    replace, written = Path.replace, list[str]()

    def fails_once(path: Path, target: Path) -> Path:
        written.append(target.name)
        if len(written) == 2:
            raise OSError(errno.EIO, "broken")
        return replace(path, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", fails_once)
        assert main(arguments) == 1
    assert written == ["out.npz", "out.jsonl"]
    assert not [path.name for path in full.iterdir() if "out" in path.name]
    assert main(arguments) == 0
    before = contents(full)
    written.clear()
    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", fails_once)
        assert main(arguments) == 1
    assert contents(full) == before


def test_what_a_killed_command_left_is_removed_and_what_a_running_one_has_is_not(full: Path) -> None:
    (killed := full / ".out.npz.abcdefgh.vae-part").mkdir()
    (killed / "new").write_bytes(b"half")
    (running := full / ".out.npz.12345678.vae-part").mkdir()
    with locked(running, "service.store"):
        assert main(["dump", "--collection", "some", str(full / "out")]) == 0
        assert [path.name for path in full.iterdir() if path.name.startswith(".")] == [running.name]


def test_a_name_that_no_request_can_have_is_refused(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "--collection", "../x", "--model", "grey", str(full / "digits.npz")]) == 1
    assert "not a valid name for a collection" in capsys.readouterr().err


def test_an_interruption_is_one_line(
    setting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(path: Path, out: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("service.store_command.backup", interrupted)
    assert main(["backup", str(setting / "out")]) == 130
    assert capsys.readouterr().err == "interrupted; run the same command again\n"


INDEX = ["index", "--store", "postgresql://localhost:1/none", "--collection", "some"]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--workers", "0"], "argument --workers: must be a whole number from 1 to 1025, not '0'"),
        (["--workers", "-3"], "argument --workers: must be a whole number from 1 to 1025, not '-3'"),
        (["--workers", "99999"], "argument --workers: must be a whole number from 1 to 1025, not '99999'"),
        (
            ["--drop", "--filter-key", "label", "--numbers", "float16", "--workers", "2"],
            "--drop makes no indexes, so it cannot be combined with --numbers, --filter-key, --workers; leave one of them out",
        ),
        (
            ["--no-keys", "--range-key", "year"],
            "--no-keys cannot be combined with --filter-key and --range-key; leave one of them out",
        ),
    ],
)
def test_flags_of_index_that_make_no_sense_are_refused(
    flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*INDEX, *flags])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: {reason}\n")


def test_flags_for_files_are_refused_for_a_collection(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["load", "--collection", "some", "--rows-per-file", "10", "pictures"])
    assert "error: --rows-per-file: only for --out, not with --collection\n" in capsys.readouterr().err


def test_index_says_which_database_it_needs(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "--collection", "some"]) == 1
    said = capsys.readouterr().err
    assert (
        f"the store is {setting / 'latents.db'}, a sqlite file, which needs no indexes; name a database with --store" in said
    )
    assert main(INDEX) == 1
    assert "error: the database cannot be reached, so no index was changed: " in capsys.readouterr().err
