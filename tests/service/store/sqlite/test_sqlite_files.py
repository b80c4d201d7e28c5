"""The files of a store that is in use: deleted, replaced, moved, linked."""

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from service.store.export import backup
from service.store.interface import Query, Search, StoreUnusable
from service.store.sqlite.file import SqliteFile, _check_origin
from service.store.sqlite.identity import FileIdentity
from service.store.sqlite.store import SqliteStore
from tests.service.rest.test_errors import check
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, items
from tests.service.store.test_http import serving

RNG = np.random.default_rng(0)
LOOK = Search([Query(np.zeros(DIM, np.float32))], 5, "l2")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "latents.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await opened(path)
    await store.create(DIGITS)
    await store.upsert("digits", DIGEST, items(RNG, ["a", "b"]))
    yield store
    await store.close()


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path, 1 << 26)
    await store.open()
    return store


async def refuses_everything(store: SqliteStore, reason: str) -> None:
    for call in (
        lambda: store.upsert("digits", DIGEST, items(RNG, ["c"])),
        lambda: store.delete("digits", "a"),
        lambda: store.create(DIGITS),
        lambda: store.drop("digits"),
        lambda: store.search("digits", DIGEST, LOOK),
        lambda: store.get("digits", ["a"]),
        lambda: store.collections(),
    ):
        with pytest.raises(StoreUnusable, match=reason):
            await call()
    with pytest.raises(StoreUnusable, match=reason):
        store.check()


async def test_a_file_that_another_process_makes_at_this_moment_is_no_foreign_one(path: Path) -> None:
    connection, other = sqlite3.connect(path), SqliteFile(path)
    made: list[str] = []

    def make_it(statement: str) -> None:
        if "sqlite_master" in statement and not made:
            made.append(statement)
            other.connection(make=True)

    connection.set_trace_callback(make_it)
    _check_origin(connection, path)
    assert made
    connection.close()
    other.close()


@pytest.mark.parametrize("gone", [("",), ("-wal",), ("-shm",), ("", "-wal", "-shm")])
async def test_a_deleted_file_is_not_written_to(store: SqliteStore, path: Path, gone: tuple[str, ...]) -> None:
    store.check()
    for suffix in gone:
        os.unlink(f"{path}{suffix}")
    await refuses_everything(store, "was deleted while it was in use")


async def test_a_deleted_directory_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    store = await opened(tmp_path / "data" / "latents.db")
    await store.create(DIGITS)
    shutil.rmtree(tmp_path / "data")
    await refuses_everything(store, "was deleted")
    await store.close()


async def test_a_file_that_is_put_back_is_used_again(store: SqliteStore, path: Path) -> None:
    os.rename(path, f"{path}.away")
    await refuses_everything(store, "was deleted")
    os.rename(f"{path}.away", path)
    await store.upsert("digits", DIGEST, items(RNG, ["c"]))
    assert (await store.collection("digits")).count == 3


async def test_a_file_that_was_replaced_is_not_mixed_with_the_other(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    """What its log still has must not come into the other file, in which the pages before are others."""
    backup(path, tmp_path / "copy.db")
    for start in range(0, 6000, 500):
        await store.upsert("digits", DIGEST, items(RNG, [f"{number}" for number in range(start, start + 500)]))
    await store.create(DIGITS)
    os.replace(tmp_path / "copy.db", path)
    await refuses_everything(store, "was replaced")
    await store.close()
    again = await opened(path)
    assert (await again.scan("digits")).ids == ["a", "b"]
    await again.upsert("digits", DIGEST, items(RNG, ["c"]))
    await again.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (3,)
    connection.close()


@pytest.mark.parametrize("companion", ["-wal", "-shm"])
def test_only_the_log_counts_as_one(path: Path, companion: str) -> None:
    """Whoever empties a log that was not there when the file was opened may empty that of the other file."""
    for name in (path, Path(f"{path}{companion}"), Path(f"{path}.other")):
        name.touch()
    identity = FileIdentity(path)
    identity.remember()
    assert not identity.was_replaced()
    os.replace(f"{path}.other", path)
    assert identity.was_replaced() == (companion == "-wal")


async def test_a_link_to_the_file_works_until_it_leads_elsewhere(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(path)
    linked = await opened(link)
    await linked.upsert("digits", DIGEST, items(RNG, ["c"]))
    await store.upsert("digits", DIGEST, items(RNG, ["d"]))
    assert (await linked.scan("digits")).ids == ["a", "b", "c", "d"]
    assert os.listdir(link.parent) == ["link.db"]  # the log is beside the file
    link.unlink()
    (tmp_path / "other.db").touch()
    link.symlink_to(tmp_path / "other.db")
    await refuses_everything(linked, "link.db was replaced")
    await linked.close()
    await store.upsert("digits", DIGEST, items(RNG, ["e"]))


async def test_a_second_name_of_the_file_is_refused(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    """Under each name a process would keep a log of its own."""
    os.link(path, tmp_path / "hard.db")
    with pytest.raises(StoreUnusable, match="has 2 names"):
        await opened(tmp_path / "hard.db")
    await store.upsert("digits", DIGEST, items(RNG, ["c"]))  # the first one goes on
    assert (await store.scan("digits")).ids == ["a", "b", "c"]


async def test_the_service_is_not_ready_and_says_why(weights: Path, path: Path) -> None:
    async with serving(weights, str(path)) as (_, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        assert (await client.get("/health/ready")).status_code == 200
        os.rename(path, f"{path}.away")
        for method, url, body in (
            ("GET", "/health/ready", None),
            ("POST", "/collections/some/items", {"items": [{"mu": [1, 2, 3]}]}),
            ("POST", "/collections/some/search", {"mu": [1, 2, 3]}),
            ("GET", "/collections", None),
        ):
            check(await client.request(method, url, json=body), 503, "store_unusable", "was deleted while it was in use")
        assert (await client.get("/health/live")).status_code == 200  # a restart would make an empty file
        os.rename(f"{path}.away", path)
        assert (await client.get("/health/ready")).status_code == 200
