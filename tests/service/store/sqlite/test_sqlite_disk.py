"""The sqlite file where there is no room, and where it may not be written to: real file systems, limits and users."""

import itertools
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.store.interface import DiskFull, Query, Search, StoreUnusable
from service.store.sqlite.store import SqliteStore
from tests.service.store.gaussians import DIGEST, DIGITS, DIM, Twin, items, same

RNG = np.random.default_rng(0)


async def fill(path: Path, more_room: Callable[[], object]) -> None:
    """Write until there is no room: what was acknowledged is found; with room again, and after a restart, it goes on."""
    store, twin = SqliteStore(path, 1 << 24), Twin()
    await store.open()
    await store.create(DIGITS)

    async def endlessly() -> None:
        for i in itertools.count():
            block = items(RNG, [f"{i}"], metadata=[{"text": RNG.bytes(20_000).hex()}])
            await store.upsert("digits", DIGEST, block)
            twin.upsert(block)

    with pytest.raises(DiskFull, match="no room"):
        await endlessly()
    look, zero = Search([Query(np.zeros(DIM, np.float32))], 10_000, "l2"), np.zeros(DIM)
    same((await store.search("digits", DIGEST, look)).neighbors[0], twin.nearest("l2", zero, zero, 10_000))
    more_room()
    for _ in range(2):
        block = items(RNG, ["after"])
        await store.upsert("digits", DIGEST, block)
        twin.upsert(block)
        same((await store.search("digits", DIGEST, look)).neighbors[0], twin.nearest("l2", zero, zero, 10_000))
        await store.close()
        store = SqliteStore(path, 1 << 24)
        await store.open()
    await store.close()


async def test_a_disk_that_is_full(small_disk: Path) -> None:
    await fill(
        small_disk / "latents.db", lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    )


async def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """As under a quota: sqlite says no more than that a write has failed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 21, hard))
    try:
        await fill(tmp_path / "latents.db", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def as_anybody() -> Iterator[None]:
    """As a user without rights: for root nothing is read-only."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(params=["file", "directory"])
def read_only(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The path of a store that may not be written to, or in whose directory nothing may be made."""
    with tempfile.TemporaryDirectory() as name:
        directory, path = Path(name), Path(name) / "latents.db"
        yield path
        directory.chmod(0o700)


async def test_what_cannot_be_written_to_is_named(read_only: Path, request: pytest.FixtureRequest) -> None:
    store = SqliteStore(read_only, 1 << 20)
    await store.create(DIGITS)
    await store.close()
    what = request.node.callspec.params["read_only"]
    os.chmod(read_only, 0o444 if what == "file" else 0o666)
    os.chmod(read_only.parent, 0o777 if what == "file" else 0o555)
    store = SqliteStore(read_only, 1 << 20)
    with as_anybody(), pytest.raises(StoreUnusable, match="is not writable"):
        await store.open()
    await store.close()
