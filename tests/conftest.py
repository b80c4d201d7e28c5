"""Fixtures that tests of several packages share: one PostgreSQL server for all of them."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.service.store.postgres_server import Postgres

# the same examples every time
settings.register_profile("derandomized", derandomize=True, deadline=None)
settings.load_profile("derandomized")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A database server. Tests may kill it, if they bring it back."""
    server = Postgres()
    yield server
    server.remove()
