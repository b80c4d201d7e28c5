"""Random operations by several workers against a dictionary: every answer is right, and nothing acknowledged is lost."""

import asyncio
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.service.store.operations import Operation, operations
from tests.service.store.player import Player
from tests.service.store.postgres_server import Postgres
from tests.service.store.workers import Apart, Here, make_small

WORKERS = 3
# far more than the database needs to notice that a worker has died
SETTLE_SECONDS = 60.0
# opens nothing yet: an address, and a call that waits until nothing is under way there
Place = tuple[str, Callable[[], object]]


@pytest.fixture(params=["sqlite", "pgvector"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Place]]:
    """Makes places for empty stores."""
    numbers = itertools.count()
    if request.param == "sqlite":

        def another() -> Place:
            for old in tmp_path.iterdir():
                shutil.rmtree(old)
            (directory := tmp_path / f"{next(numbers)}").mkdir()
            return str(directory / "latents.db"), lambda: None

        yield another
        return
    server: Postgres = request.getfixturevalue("postgres")
    made: list[str] = []

    def another_database() -> Place:
        made.append(f"model_{os.getpid()}_{next(numbers)}")
        address = server.create(made[-1])

        def settle() -> None:
            busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
            with psycopg.connect(address, autocommit=True) as connection:
                give_up = time.monotonic() + SETTLE_SECONDS
                while connection.execute(busy).fetchone() != (1,):  # this one
                    assert time.monotonic() < give_up, "the database is still busy with what a killed worker began"
                    time.sleep(0.001)

        return address, settle

    yield another_database
    for name in made:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def failure(place: Place, some: list[Operation], kind: type[Here] | type[Apart] = Here, in_turn: bool = False) -> str | None:
    """What is wrong with the answers to the operations."""
    address, settle = place
    workers = [kind(address) for _ in range(WORKERS)]
    try:
        asyncio.run(Player(workers, settle, in_turn).play(some))
    except AssertionError as error:
        return str(error)
    return None


def shrunk(some: list[Operation], fails: Callable[[list[Operation]], bool]) -> list[Operation]:
    """A part of the operations that fails, too, and none of which can be left out (Zeller 2002, delta debugging)."""
    size = len(some) // 2
    while size:
        start, before = 0, len(some)
        while start < len(some):
            if fails(fewer := some[:start] + some[start + size :]):
                some = fewer
            else:
                start += size
        size = size // 2 if size > 1 or len(some) == before else 1
    return some


def check(seed: int, count: int, places: Callable[[], Place], kind: type[Here] | type[Apart]) -> None:
    """Raises AssertionError with the fewest operations that have a wrong answer."""
    some = operations(seed, count, WORKERS)
    wrong = failure(places(), some, kind)
    if wrong is None:
        return
    if failure(places(), some, in_turn=True) is None:
        raise AssertionError(f"seed {seed}: {wrong}; only with processes, or at the same time, hence not shrunk")
    fewest = shrunk(some, lambda fewer: failure(places(), fewer, in_turn=True) is not None)
    lines = "\n".join(map(str, fewest))
    raise AssertionError(f"seed {seed}: {wrong}\nthe fewest of these operations that fail:\n{lines}\n"
                         f"{failure(places(), fewest, in_turn=True)}")  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_every_answer_is_that_of_the_reference(
    seed: int, places: Callable[[], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch.setattr)
    check(seed, 400, places, Here)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(50))
def test_every_answer_is_that_of_the_reference_though_workers_are_killed(
    seed: int, places: Callable[[], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 operations in all on each backend."""
    make_small(monkeypatch.setattr)
    check(1000 + seed, 2000, places, Apart)
