"""The programs of client/README.md run."""

import inspect
import os
import re
import subprocess
import sys

import httpx
import pytest
from vae_client import Client

from tests.documents import blocks
from tests.live.server import ROOT, Server

README = (ROOT / "client" / "README.md").read_text()
PROGRAMS = blocks("python", README)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_programs_run(number: int, server: Server) -> None:
    program = PROGRAMS[number].replace("http://localhost:8000", server.url)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "client")}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == [["seven.png", "0.0"], ["(2,)"], ["(1,", "20)"]][number]


def test_the_table_of_methods(server: Server) -> None:
    """It has every method, with the names that the service gives."""
    rows = re.findall(r"^\| (`.*`) \| `(\w+)` \| `(\w+) (\S+)` \|$", README, re.MULTILINE)
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    here = [row for row in rows if row[3] != "/complete"]  # The page has it only with a model of drawings or texts.
    assert [operation for _, operation, *_ in here] == [paths[path][verb.lower()]["operationId"] for *_, verb, path in here]
    methods = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert {name for names, *_ in rows for name in re.findall(r"\w+", names)} == methods - {"request", "close"}
