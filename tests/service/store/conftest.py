"""Stores of every kind, empty and open, for the tests that all of them must pass."""

import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service.store import make_store
from service.store.interface import LatentStore
from tests.service.store.postgres_server import Postgres

MAX_BYTES = 1 << 24

# opens one more store on the same data
Opener = Callable[[], Awaitable[LatentStore]]


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The URL of an empty database."""
    return postgres.create(f"test_{uuid.uuid4().hex}")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own with 4 MiB, which takes the right to mount one."""
    directory = Path(tempfile.mkdtemp(prefix="vae-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(directory)], capture_output=True)
    if mounted.returncode:
        directory.rmdir()
        pytest.skip("no file system may be mounted here")
    directory.chmod(0o755)
    yield directory
    subprocess.run(["umount", str(directory)], check=True)
    directory.rmdir()


@pytest.fixture(params=["sqlite", "pgvector"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store is."""
    if request.param == "sqlite":
        return str(tmp_path / "latents.db")
    return str(request.getfixturevalue("database"))


@pytest.fixture
async def opener(address: str) -> AsyncIterator[Opener]:
    """Opens stores there, as many as are asked for, and closes them in the end."""
    async with AsyncExitStack() as stack:

        async def another() -> LatentStore:
            store = make_store(address, MAX_BYTES)
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield another


@pytest.fixture
async def store(opener: Opener) -> LatentStore:
    """One of them."""
    return await opener()
