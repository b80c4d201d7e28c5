"""Stores of earlier versions are brought to this one when they are opened, with all that is in them."""

import gzip
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from service.store import make_store
from service.store.filters import parse_filter
from service.store.interface import Collection, Items, LatentStore, NoPicture, Query, Search
from service.store.postgres import indexes, schema
from service.store.sqlite import file
from tests.service.store.direction_player import made, records

DIGEST = "ab" * 32
# A sqlite file of version 1, as the service made it before that version ended.
VERSION_1 = gzip.decompress(Path("tests/data/store_version_1.db.gz").read_bytes())


def block() -> Items:
    """What that file has, and one more."""
    mu = np.arange(15, dtype=np.float32).reshape(5, 3) / np.float32(4)
    sigma = np.full((5, 3), 0.5, np.float32)
    sigma[2] = 0
    metadata = [b'{"label":1}', b"{}", b'{"label":7,"tags":["x",null]}', b'{"n":1}', b'{"text":"' + b"y" * 300 + b'"}']
    keys = frozenset(("label", "tags", "n", "text"))
    return Items(["a/picture", "b", "ü", "gone", "long"], mu, sigma, sigma[:, 0] > 0, metadata, keys)


async def check(store: LatentStore) -> None:
    """All is there, and what is new works."""
    digits, empty = await store.collections()
    assert (digits.name, digits.count, digits.seq, digits.keep) == ("digits", 4, 6, None)
    assert (digits.metric, digits.sigma_weight, empty.metric) == ("w2", 1.0, "l2")
    assert (digits.description, empty.name, empty.dim) == ("made by version 1", "empty", 2)
    wanted, found = block(), await store.scan("digits")
    assert (found.ids, found.seqs) == (["a/picture", "b", "long", "ü"], [1, 2, 5, 3])
    order = [wanted.ids.index(id) for id in found.ids]
    assert found.mu.tobytes() == wanted.mu[order].tobytes()
    assert found.has_sigma.tolist() == [True, True, True, False]
    assert found.metadata == [wanted.metadata[i] for i in order]
    search = Search([Query(wanted.mu[1], wanted.sigma[1])], 1, "w2", parse_filter({"label": {"exists": False}}))
    assert (await store.search("digits", DIGEST, search)).neighbors[0].items.ids == ["b"]
    with pytest.raises(NoPicture):
        await store.picture("digits", "b")
    assert (await store.create(replace(digits, keep="picture"))).keep == "picture"
    assert (await store.create(replace(digits, sigma_weight=2.5))).sigma_weight == 2.5
    assert await store.directions("digits") == []
    await store.put_direction("digits", DIGEST, made(7, "smile", 3))
    wanted.pictures = [b"1", b"2", b"3", b"4", b"5"]
    assert (await store.upsert("digits", DIGEST, wanted)).added == ["gone"]
    assert await store.picture("digits", "gone") == b"4"


async def opened(address: str) -> None:
    for attempt in range(2):  # the second time there is nothing left to do
        store = make_store(address, 1 << 24)
        await store.open()
        try:
            if attempt:
                assert await store.picture("digits", "b") == b"2"
                assert records(await store.directions("digits")) == records([made(7, "smile", 3)])
            else:
                await check(store)
        finally:
            await store.close()


@pytest.mark.parametrize("old", range(1, len(file.MIGRATIONS)))
async def test_a_file_of_an_earlier_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: int) -> None:
    path = tmp_path / "latents.db"
    path.write_bytes(VERSION_1)
    monkeypatch.setattr(file, "MIGRATIONS", file.MIGRATIONS[:old])
    earlier = file.SqliteFile(path)
    earlier.connection()
    earlier.close()
    monkeypatch.undo()
    assert version(path) == old
    await opened(str(path))
    assert version(path) == len(file.MIGRATIONS) > old


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


@pytest.mark.parametrize("old", range(1, len(schema.MIGRATIONS)))
async def test_a_database_of_an_earlier_version(database: str, monkeypatch: pytest.MonkeyPatch, old: int) -> None:
    with psycopg.connect(database) as connection:
        monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:old])
        schema.migrate(connection)
        monkeypatch.undo()
        for name, digest, dim, metric, words in (
            ("digits", DIGEST, 3, "w2", "made by version 1"),
            ("empty", "cd" * 32, 2, "l2", ""),
        ):
            row = connection.execute(
                "INSERT INTO vae_collections (name, model, digest, dim, metric, description) "
                "VALUES (%s, 'mnist', %s, %s, %s, %s) RETURNING number",
                (name, digest, dim, metric, words),
            ).fetchone()
            assert row is not None
            schema.make_table(connection, row[0], dim)
            indexes.make_index(connection, row[0], Collection("any", "mnist", digest, dim, metric))
        own = block()
        for i, id in enumerate(own.ids):
            mu, both = own.mu[i].tolist(), [*own.mu[i].tolist(), *own.sigma[i].tolist()]
            metadata = own.metadata[i].decode()
            if id != "gone":
                connection.execute(
                    "INSERT INTO vae_items_1 VALUES (%s, %s, %s::vector, %s::vector, %s, %s, %s)",
                    (id, i + 1, str(mu), str(both), bool(own.has_sigma[i]), metadata, metadata),
                )
        connection.execute("INSERT INTO vae_keys SELECT 1, unnest(%s::text[])", (sorted(own.keys),))
        connection.execute("UPDATE vae_collections SET seq = 6, count = 4 WHERE number = 1")
        assert connection.execute("SELECT version FROM vae_schema").fetchone() == (old,)
    await opened(database)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT version FROM vae_schema").fetchone() == (len(schema.MIGRATIONS),)
