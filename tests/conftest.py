"""What tests of several packages share: one PostgreSQL server for all of them, the order of the files, and Ctrl-C."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.service.store.postgres_server import Postgres

# the same examples every time
settings.register_profile("derandomized", derandomize=True, deadline=None)
settings.load_profile("derandomized")

# The files that take longest, by their time. They begin first, so that no process has a long one left in the end.
LONGEST = (
    "models/train/test_processes.py",
    "live/test_docs_page.py",
    "service/store/postgres/test_failover.py",
    "service/bulk/test_killed.py",
    "live/test_end.py",
    "live/explorer/test_picture.py",
    "deploy/ray/test_same_answers.py",
    "service/store/postgres/test_flat_indexes.py",
    "service/bulk/test_processes.py",
    "live/explorer/test_journeys.py",
    "live/test_lifecycle.py",
    "live/explorer/test_kinds.py",
    "live/explorer/test_hostile.py",
    "live/explorer/test_page.py",
    "models/train/test_resume.py",
    "live/test_costly_pictures.py",
    "service/store/postgres/test_indexes.py",
    "service/bulk/test_parquet_output.py",
    "live/explorer/test_map.py",
    "live/explorer/test_directions.py",
    "live/test_package.py",
    "service/store/test_http.py",
    "service/store/test_http_changes.py",
    "live/test_recipes.py",
    "service/store/test_faults.py",
    "client/test_faults.py",
    "live/explorer/test_path.py",
    "live/test_directions.py",
    "live/test_notebook.py",
    "service/store/postgres/test_postgres_locks.py",
    "service/formats/decoder_processes/test_dispatch.py",
    "service/rest/test_odd_parameters.py",
    "service/store/test_http_edit.py",
    "models/train/test_perceptual.py",
    "live/test_readme.py",
    "service/bulk/test_ray_workers.py",
    "models/test_hub.py",
    "service/store/postgres/test_postgres.py",
    "service/kinds/test_same_bytes.py",
    "models/evaluate/test_sample_quality.py",
    "models/test_checkpoint_bounds.py",
    "models/train/test_table_training.py",
    "models/test_save_faults.py",
    "live/test_store_crashes.py",
    "live/test_schemathesis.py",
    "test_instruction_sets.py",
    "service/store/postgres/test_replica.py",
    "live/test_overload.py",
    "service/store/test_model.py",
    "live/test_reload.py",
    "service/http/test_hot_path.py",
    "live/test_hostile_pictures.py",
    "live/test_abuse.py",
    "service/formats/decoder_processes/test_fork_server.py",
    "models/evaluate/test_report.py",
    "service/formats/test_plain_pictures.py",
    "live/explorer/test_keys.py",
    "service/engine/programs/test_onnx_program.py",
    "live/explorer/test_neighbors.py",
    "live/test_metrics.py",
)


def pytest_configure() -> None:
    """Let Ctrl-C work in what tests start: a shell ignores it for programs in the background, and all theirs inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
