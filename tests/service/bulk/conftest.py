"""The service around two small models, as the tests of operations have it; and a folder of pictures."""

from pathlib import Path

import pytest

from tests.service.bulk.pictures import files, write_folder
from tests.service.operations.conftest import collection, inference, pipeline, service, x

__all__ = ["collection", "inference", "pipeline", "service", "x"]

COUNT = 1500


@pytest.fixture
def folder(setting: Path) -> Path:
    """1,500 pictures, the first and another one of which cannot be read."""
    contents = files(COUNT)
    contents[0] = contents[700] = b"no picture"
    return write_folder(setting / "pictures", contents)
