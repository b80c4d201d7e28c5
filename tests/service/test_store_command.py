"""python -m service.store: load, again, dump, backup."""

import asyncio
import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import orjson
import pytest

from models.files.directory_lock import locked
from service.formats import png
from service.store.interface import Collection, Items, StoreUnusable
from service.store.output_files import check_output
from service.store.sqlite.store import SqliteStore
from service.store_command import main


@pytest.fixture
def setting(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a service with a store of its own; where files may be put."""
    for name, value in (("MODELS_DIR", weights), ("STORE", tmp_path / "latents.db"), ("DEVICE", "cpu"), ("THREADS", 1)):
        monkeypatch.setenv(f"VAE_{name}", str(value))
    return tmp_path


def load(*paths: Path) -> int:
    return main(["load", "--collection", "some", "--model", "grey", *map(str, paths)])


def test_load_goes_on_where_it_stopped_and_dump_has_it_all(setting: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 8, 8), np.uint8), rng.integers(0, 10, 30)
    np.savez(setting / "few.npz", images=images[:20], labels=labels[:20])
    folder = setting / "pictures"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "one.png").write_bytes(png.write(images[0][..., None]))
    assert load(setting / "few.npz") == 0
    np.savez(setting / "few.npz", images=images, labels=labels)
    assert load(setting / "few.npz", folder) == 0
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 0
    lines = [orjson.loads(line) for line in (setting / "out.jsonl").read_bytes().splitlines()]
    assert [line["id"] for line in lines] == ["deeper/one.png", *(f"few/{i:06d}" for i in range(30))]
    assert [line["metadata"] for line in lines[1:]] == [{"label": label} for label in labels.tolist()]
    assert sorted(line["seq"] for line in lines) == list(range(1, 32))  # each was added once
    with np.load(setting / "out.npz") as arrays:
        assert arrays["mu"].shape == arrays["sigma"].shape == (31, 3)
        assert arrays["mu"][0].tolist() == arrays["mu"][1].tolist()
        assert arrays["has_sigma"].all()
    assert main(["backup", str(setting / "copy.db")]) == 0
    with sqlite3.connect(setting / "copy.db") as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (31,)
    connection.close()


@pytest.mark.parametrize("kind", ["nothing", "text", "objects", "empty"])
def test_what_cannot_be_loaded(setting: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = setting / ("x.npz" if kind in ("text", "objects") else "x")
    if kind == "text":
        path.write_text("no archive")
    elif kind == "objects":
        np.savez(path, images=np.array([None, "x"], object))
    elif kind == "empty":
        path.mkdir()
    assert load(path) == 1
    assert "error: " in capsys.readouterr().err
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 1


def write_pictures(folder: Path, count: int) -> Path:
    """A folder of random pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(np.random.default_rng(1).integers(0, 256, (count, 8, 8, 1), np.uint8)):
        (folder / f"{i}.png").write_bytes(png.write(image))
    return folder


def test_a_load_says_what_it_found_and_what_became_of_it(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(setting / "pictures", 5)
    (folder / "2.png").write_bytes(b"")
    (folder / "notes.txt").touch()
    assert load(folder) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"{folder}: 5 pictures",
        "sizes (height x width): 8 x 8 (4)",
        "modes: L 4; read as grey",
        "left out: files of other kinds: 1 (.txt 1)",
        f"skipped {folder / '2.png'}: the file is empty",
        "added 4, replaced 0, already there 0, skipped 1",
    ]
    (folder / "3.png").write_bytes((folder / "1.png").read_bytes())
    assert load(folder) == 0
    assert "already there 4 (not encoded again; --replace does it" in capsys.readouterr().out
    assert load(Path("--replace"), folder) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "added 0, replaced 1, unchanged 3, skipped 1"


def test_originals_that_are_left_out_are_named(setting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (setting / "one.png").write_bytes(png.write(np.zeros((8, 8, 1), np.uint8)))
    assert load(setting / "one.png") == 0
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 0
    assert "originals" not in capsys.readouterr().out
    with closing(sqlite3.connect(setting / "latents.db")) as connection:
        connection.execute("UPDATE collections SET keep = 'picture'")
        connection.commit()
    assert load(setting / "one.png") == 0
    assert "the originals of these pictures are not kept" in capsys.readouterr().out
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 0
    assert "the dump has no originals of pictures; a backup has them" in capsys.readouterr().out


def test_more_corrupt_files_than_allowed_end_in_an_error_but_the_others_are_stored(
    setting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_pictures(setting / "pictures", 5)
    for name in ("1.png", "3.png"):
        (folder / name).write_bytes(b"")
    assert load(folder) == 1
    told = capsys.readouterr()
    assert "added 3, replaced 0, already there 0, skipped 2" in told.out
    assert "error: 2 of 5 pictures could not be read, more than the allowed share of 0.01 (--max-corrupt)" in told.err
    assert load(Path("--max-corrupt=0.5"), folder) == 0


def test_paths_with_the_same_ids_are_refused_before_anything_is_stored(
    setting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write_pictures(setting / name, 2) for name in ("a", "b")]
    assert load(*paths) == 1
    assert "add --prefix" in capsys.readouterr().err
    assert main(["dump", "--collection", "some", str(setting / "out")]) == 1
    assert load(Path("--prefix"), *paths) == 0
    assert "added 4, replaced 0" in capsys.readouterr().out


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
