"""What the README shows is what happens: its curl commands run against a server, its other commands exist."""

import doctest
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from models.evaluate import __main__ as evaluate
from models.train import arguments
from service.settings import Settings
from tests.live.server import ROOT, Server, serving

README = (ROOT / "README.md").read_text()


def console() -> list[tuple[str, str]]:
    """(command, expected output) of every console block; `...` in the output stands for anything."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    found = [part.partition("\n") for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [(command, output) for command, _, output in found]


def shell() -> list[str]:
    """Every line of every sh block, without its comment."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("readme")
    (directory / "examples").symlink_to(ROOT / "examples")
    return directory


@pytest.mark.parametrize(("command", "expected"), console())
def test_console_block(command: str, expected: str, server: Server, workplace: Path) -> None:
    local = command.replace("localhost:8000", server.url)
    answer = subprocess.run(["bash", "-c", local], cwd=workplace, capture_output=True, text=True, timeout=60, check=True)
    printed = answer.stdout.rstrip("\n") + "\n" * bool(expected)
    matches = doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)
    assert matches, f"$ {command}\n{answer.stdout}\ninstead of\n{expected}"
    written = re.search(r"-o (\S+\.(png|webp))", command)
    if written:
        with Image.open(workplace / written[1]) as picture:
            assert picture.width >= 28


def test_readme_has_a_command_for_every_endpoint(server: Server) -> None:
    import httpx

    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    shown = " ".join(command for command, _ in console())
    examples = [
        path.replace("/collections/{name}", "/collections/digits").replace("{name}", "mnist").replace("{id}", "two.png")
        for path in paths
    ]
    assert [path for path in examples if path not in shown and path != "/health/live"] == []


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    used = [line.split()[1] for line in shell() if line.startswith("make ")]
    assert {"serve", "test"} <= set(used) <= set(targets)


def test_train_and_evaluate_commands_parse() -> None:
    commands = [line for line in shell() if "models.train" in line and "--preset list" not in line]  # that one ends
    assert commands
    for line in commands:
        arguments.parse(line.split("models.train")[1].split())
    assert callable(evaluate.main)


def test_settings_table_is_the_settings() -> None:
    rows = re.findall(r"^\| `(VAE_\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    assert [name for name, _, _ in rows] == [f"VAE_{name.upper()}" for name in Settings.model_fields]
    for (_, default, text), field in zip(rows, Settings.model_fields.values(), strict=True):
        assert text == field.description
        if isinstance(field.default, (int, float)):
            assert default == f"`{field.default}`"


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
