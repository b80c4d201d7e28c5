"""The README and the documents of the interface are true: their curl commands and Python run against a server."""

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.documents import COMMANDS, PYTHON, README, Command
from tests.live.server import ROOT, Server, serving

CHECKSUM = re.compile(r"\b[0-9a-f]{64}\b")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--admin", "true") as running:
        yield running


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("readme")
    for name in ("examples", "tests"):
        (directory / name).symlink_to(ROOT / name)
    return directory


def run(command: str, server: Server, workplace: Path) -> str:
    local = command.replace("localhost:8000", server.url).replace(".venv/bin/python", shlex.quote(sys.executable))
    return subprocess.run(["bash", "-c", local], cwd=workplace, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize("shown", COMMANDS, ids=lambda shown: shown.text[:60])
def test_console_block(shown: Command, server: Server, workplace: Path) -> None:
    found = run(shown.text, server, workplace)
    printed = found.rstrip("\n") + "\n" * bool(shown.output)
    expected = shown.output
    if "sha256sum" in shown.text:  # checksums depend on the processor
        expected, printed = CHECKSUM.sub("checksum", expected), CHECKSUM.sub("checksum", printed)
    matches = doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)
    assert matches, f"$ {shown.text}\n{found}\ninstead of\n{shown.output}"
    written = re.search(r"-o (\S+\.(png|webp))", shown.text)
    if written:
        with Image.open(workplace / written[1]) as picture:
            assert picture.width >= 28


def test_the_checksums_of_the_readme_are_one(server: Server, workplace: Path) -> None:
    """Alone and in a batch of many, also where the processor makes it another one than is printed."""
    commands = [shown for shown in COMMANDS if "sha256sum" in shown.text]
    assert len(commands) == 2
    assert len({sum_ for shown in commands for sum_ in CHECKSUM.findall(shown.output)}) == 1
    assert len({sum_ for shown in commands for sum_ in CHECKSUM.findall(run(shown.text, server, workplace))}) == 1


def test_python_runs(server: Server, workplace: Path) -> None:
    assert PYTHON
    for program in PYTHON:
        local = program.replace("http://localhost:8000", server.url)
        shapes = "print(mu.shape, mu.dtype, pictures.shape, pictures.dtype)"
        ended = subprocess.run(
            [sys.executable, "-c", f"{local}\n{shapes}"],
            cwd=workplace,
            env={**os.environ, "PYTHONPATH": str(ROOT / "client")},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert ended.stdout.splitlines() == ["seven", "(1, 20) float32 (1, 28, 28, 1) uint8"]


def test_every_endpoint_is_listed_and_shown(server: Server) -> None:
    paths = set(httpx.get(f"{server.url}/openapi.json").json()["paths"])
    (table,) = re.findall(r"^## Endpoints\n(.*?)^\S*\[docs/http.md\]", README, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"(/[a-z/{}]+)`", table)) == paths
    shown = " ".join(command.text for command in COMMANDS)
    examples = [
        path.replace("/collections/{name}", "/collections/digits")
        .replace("{name}", "mnist")
        .replace("{id}", "two.png")
        .replace("{direction}", "sevens")
        for path in paths
        if not path.startswith("/admin/")  # off by default
    ]
    assert [path for path in examples if path not in shown] == []
