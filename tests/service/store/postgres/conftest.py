"""Two servers for tests of replicas: one that takes changes, and one that follows it. Tests bring back what they kill."""

import itertools
from collections.abc import Iterator

import pytest

from tests.service.store.postgres_server import Postgres, Replica

NAMES = itertools.count()


@pytest.fixture(scope="session")
def primary() -> Iterator[Postgres]:
    server = Postgres(
        "-c wal_keep_size=1GB"
    )  # else a checkpoint could remove what a replica that stood still has not received
    yield server
    server.remove()


@pytest.fixture(scope="session")
def replica(primary: Postgres) -> Iterator[Replica]:
    server = Replica(primary)
    yield server
    server.remove()


@pytest.fixture
def name(primary: Postgres, replica: Replica) -> str:
    """A new database on both servers."""
    found = f"test_{next(NAMES)}"
    primary.create(found)
    replica.resume()  # a test that failed may have left it paused
    replica.catch_up()
    return found
