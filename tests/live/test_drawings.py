"""The model of drawings that ships draws, continues and reconstructs, in every format."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .server import WEIGHTS, serving

BEGUN = {"strokes": [[[0, 0, 0], [30, 5, 0], [10, 40, 1]]]}


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a service that has this model alone."""
    directory: Path = tmp_path_factory.mktemp("models")
    (directory / "strokes").symlink_to(WEIGHTS / "strokes")
    with (
        serving("--models-dir", str(directory), "--default-model", "strokes") as running,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        yield client


@pytest.mark.parametrize("form", ["json", "svg", "png"])
def test_drawings_are_made_in_every_format(drawings: httpx.Client, form: str) -> None:
    more = f"seed=1&temperature=1&format={form}"
    for answer in (
        drawings.get(f"/sample?n=2&{more}"),
        drawings.post(f"/complete?n=2&{more}", json=BEGUN),
        drawings.post(f"/reconstruct?{more}", json=BEGUN),
    ):
        assert answer.status_code == 200, answer.text
        if form == "json":
            assert len(answer.json()["strokes"]) >= 1
        elif form == "svg":
            assert ET.fromstring(answer.content).tag.endswith("svg")
        else:
            assert answer.content.startswith(b"\x89PNG")
