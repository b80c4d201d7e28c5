"""schemathesis against the service's own OpenAPI page: whatever is asked, the answer is one that the page announces.

Its checks and their one exception are in schemathesis.toml.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from .server import ROOT, Server, environment, serving

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
KEY = "key-that-may-do-everything"
FEW, MANY = 4, 2000  # examples of each operation
SHORT_SECONDS, LONG_SECONDS = 300, 4 * 3600  # far more than it takes; only a defect gets there


@dataclass(frozen=True)
class Way:
    """A way to run the service."""

    name: str
    variables: dict[str, str]
    headers: Sequence[str] = ()


WAYS = (
    Way("open", {"VAE_STORE": ""}),
    Way("with all there is", {"VAE_ADMIN": "true"}),
    Way(
        "with keys",
        {"VAE_ADMIN": "true", "VAE_API_KEYS": f"caller infer,store,admin {KEY}", "VAE_CORS_ORIGINS": "*"},
        ("-H", f"X-API-Key: {KEY}"),
    ),
)


def check(server: Server, directory: Path, examples: int, seconds: float, *arguments: str) -> None:
    """Nothing is found. The examples are the same every time."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
            *("run", f"{server.url}/openapi.json", "--max-examples", str(examples), "--generation-deterministic"),
            *("--continue-on-failure", "--no-color", *arguments),
        ],
        cwd=directory,  # where it leaves files
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if ended.returncode != 0:
        pytest.fail(f"{ended.stdout[-20_000:]}\n{ended.stderr[-2000:]}", pytrace=False)


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    """With keys and a store, so that all checks have something to look at."""
    with serving("--models", "mnist", "--access-log", "false", variables=WAYS[2].variables) as running:
        yield running


def test_a_few_examples_of_each_operation(small: Server, tmp_path: Path) -> None:
    """Without the 10,000 requests of the phase "coverage", which takes most of the time."""
    check(small, tmp_path, FEW, SHORT_SECONDS, "--phases", "examples,fuzzing,stateful", *WAYS[2].headers)


@pytest.mark.soak
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_thousands_of_examples_of_each_operation(way: Way, tmp_path: Path) -> None:
    with serving("--access-log", "false", variables=way.variables) as server:
        check(server, tmp_path, MANY, LONG_SECONDS, *way.headers)
