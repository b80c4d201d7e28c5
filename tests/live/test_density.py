"""The sections of docs/latents.md about densities and maps are true: each command runs as printed."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.documents import DOCUMENTS, console

from .server import Server, serving

LATENTS = DOCUMENTS["docs/latents.md"]
SECTIONS = ("A collection as a density", "Maps")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("store") / "latents.db"
    with serving("--models", "mnist", variables={"VAE_STORE": str(store)}) as running:
        yield running


def test_the_commands_run_as_printed(server: Server, tmp_path: Path) -> None:
    sections = [text for text in re.split(r"^## ", LATENTS, flags=re.MULTILINE) if text.startswith(SECTIONS)]
    commands = [command for text in sections for command in console(text)]
    assert len(commands) == 8
    for text, output in commands:
        local = text.replace("localhost:8000", server.url.removeprefix("http://"))
        ended = subprocess.run(["bash", "-c", local], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
        pattern = ".*".join(map(re.escape, output.strip().split("...")))
        assert re.fullmatch(pattern, ended.stdout.strip(), re.DOTALL), (text, ended.stdout[:500])
    assert np.load(tmp_path / "points.npy").shape == (30, 2)
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.size == (512, 512)
