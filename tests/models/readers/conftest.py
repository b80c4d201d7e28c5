"""The place of a file that tests of arrays write."""

from pathlib import Path

import pytest


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return tmp_path / "some.npz"
