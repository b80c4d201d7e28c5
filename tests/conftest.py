"""What tests of several packages share: one PostgreSQL server for all of them, and the order of the files."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.service.store.postgres_server import Postgres

# the same examples every time
settings.register_profile("derandomized", derandomize=True, deadline=None)
settings.load_profile("derandomized")

# The files that take longest, by their processor time. They begin first, so that no process has a long one left in the end.
LONGEST = (
    "models/train/test_resume.py",
    "live/test_schemathesis.py",
    "live/test_end.py",
    "live/test_recipes.py",
    "live/test_package.py",
    "client/test_faults.py",
    "live/test_docs_page.py",
    "live/test_lifecycle.py",
    "live/explorer/test_kinds.py",
    "live/test_directions.py",
    "live/explorer/test_page.py",
    "live/explorer/test_picture.py",
    "live/explorer/test_journeys.py",
    "live/explorer/test_path.py",
    "live/explorer/test_map.py",
    "live/explorer/test_hostile.py",
    "live/explorer/test_directions.py",
    "live/test_surroundings.py",
    "models/train/test_perceptual.py",
    "live/test_metrics.py",
    "live/test_store_crashes.py",
    "live/test_overload.py",
    "models/test_save_faults.py",
    "live/test_notebook.py",
    "models/test_hub.py",
    "live/test_reload.py",
    "live/test_memory_of_requests.py",
    "live/test_costly_pictures.py",
    "live/explorer/test_neighbors.py",
    "live/test_readme.py",
    "client/test_pictures.py",
    "live/test_postgres.py",
    "service/formats/test_plain_pictures.py",
    "service/engine/programs/test_onnx_program.py",
    "live/explorer/test_keys.py",
    "live/explorer/test_map_gestures.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, as `make test` begins them; all others stay in their order."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A database server. Tests may kill it, if they bring it back."""
    server = Postgres()
    yield server
    server.remove()
