"""docs/recipes.md is true: each recipe runs as printed, and a page may send what its canvas page sends.

Only training is made short, and the servers get free ports.
"""

import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageDraw

from tests.documents import DOCUMENTS, blocks, console, shell
from tests.live.fork_server import Forked
from tests.live.server import PATIENCE_SECONDS, ROOT, Server, environment, serving

RECIPES = DOCUMENTS["docs/recipes.md"]
PAGE = ROOT / "examples" / "canvas.html"
ORIGIN = "http://localhost:9000"
PICTURES = {  # what the commands write, and its width, height and number of frames
    "generated.png": (238, 238, 1),
    "sprites.png": (262, 262, 1),
    "morph.gif": (28, 28, 24),
    "morph.png": (358, 28, 1),
}


def section(title: str) -> str:
    """Return a section of the recipes; the one with an empty title is the introduction."""
    return next(text for text in re.split(r"^## ", RECIPES, flags=re.MULTILINE) if text.startswith(title or "# Recipes"))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that looks like the root of the repository, with the programs and pictures of the introduction."""
    directory = tmp_path_factory.mktemp("recipes")
    for name in ("client", "examples", "tests"):
        (directory / name).symlink_to(ROOT / name)
    follow("", directory, "http://localhost:8000")
    return directory


@pytest.fixture(scope="module")
def server(workplace: Path) -> Iterator[Server]:
    variables = {"VAE_STORE": str(workplace / "latents.db"), "VAE_CORS_ORIGINS": ORIGIN}
    with serving("--models", "mnist,fashion-mnist,sprites", variables=variables) as running:
        yield running


def run(command: str, workplace: Path) -> str:
    """Run a command of the recipes with this Python, and return what it prints."""
    variables = environment(PYTHONPATH=os.pathsep.join((str(ROOT / "client"), str(ROOT))))
    local = command.replace(".venv/bin/python", shlex.quote(sys.executable))
    ended = subprocess.run(
        ["bash", "-c", local], cwd=workplace, env=variables, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, f"$ {command}\n{ended.stderr}"
    return ended.stdout


def train(command: str, workplace: Path) -> None:
    """Train as that command says, for a moment."""
    words = shlex.split(command)
    assert words[:3] == [".venv/bin/python", "-m", "models.train"], command
    process = Forked([*words[3:], "--steps", "20"], environment(), "models.train", workplace)
    with process.stderr as told:
        assert process.wait(PATIENCE_SECONDS) == 0, f"$ {command}\n{told.read()}"


def follow(title: str, workplace: Path, *urls: str) -> None:
    """Save the programs of a section and run its commands; the services of the ports 8000 and 8001 are at `urls`."""

    def at(text: str) -> str:
        for port, url in enumerate(urls, 8000):
            text = text.replace(f"localhost:{port}", url.removeprefix("http://"))
        return text

    text = section(title)
    names = re.findall(r"Save this as `(\S+)`", text)
    for name, program in zip(names, blocks("python", text), strict=True):
        (workplace / name).write_text(at(program))
    for command, output in console(text):
        if " -m pip install " in command:  # the client is imported from its directory here
            continue
        found = run(at(command), workplace)
        printed = found.rstrip("\n") + "\n" * bool(output)
        matches = doctest.OutputChecker().check_output(output, printed, doctest.ELLIPSIS)
        assert matches, f"$ {command}\n{found}\ninstead of\n{output}"


@pytest.mark.parametrize("title", ["Similar pictures", "Anomalies", "Generate and morph"])
def test_recipe_runs(title: str, server: Server, workplace: Path) -> None:
    follow(title, workplace, server.url)


def test_similar_pictures_take_twelve_lines() -> None:
    assert len(blocks("python", section("Similar pictures"))[0].splitlines()) == 12


def test_pictures_are_what_the_text_says(server: Server, workplace: Path) -> None:
    follow("Generate and morph", workplace, server.url)
    for name, expected in PICTURES.items():
        with Image.open(workplace / name) as picture:
            assert (*picture.size, getattr(picture, "n_frames", 1)) == expected, name


def test_a_folder_of_your_own(server: Server, workplace: Path) -> None:
    title = "A folder of your own"
    training, serve = shell(section(title))
    train(training, workplace)
    arguments = shlex.split(serve.partition(" -m service ")[2])
    arguments[arguments.index("runs")] = str(workplace / "runs")
    arguments[arguments.index("mine.db")] = str(workplace / "mine.db")
    arguments[arguments.index("8001")] = "0"
    with serving(*arguments) as own:
        follow(title, workplace, server.url, own.url)
    with Image.open(workplace / "mine.png") as picture:
        assert picture.size == (118, 118)


def test_other_kinds_of_data(server: Server, workplace: Path) -> None:
    """Both models are trained for a moment, and served by one process: the commands say which they mean."""
    titles = "A table", "Texts"
    for title in titles:
        *before, training, serve = shell(section(title))
        for command in before:
            run(command, workplace)
        train(training, workplace)
        assert "--store mine.db --port 8001" in serve
    model = str(workplace / "runs"), "--default-model", "penguins"
    with serving("--models-dir", *model, "--store", str(workplace / "kinds.db"), "--port", "0") as own:
        for title in titles:
            follow(title, workplace, server.url, own.url)


def test_the_page_has_the_printed_lines_and_origin() -> None:
    text = section("A canvas page")
    (function,) = blocks("js", text)
    assert function in PAGE.read_text()
    start, files = shell(text)
    assert start == f"VAE_CORS_ORIGINS={ORIGIN} make serve"
    assert "http.server 9000 " in files
    assert f"<{ORIGIN}/{PAGE.name}>" in text


def drawing() -> bytes:
    """Return a seven in black ink on transparent, as the canvas of the page gives it."""
    canvas = Image.new("RGBA", (280, 280))
    ImageDraw.Draw(canvas).line([(80, 50), (200, 50), (160, 140), (120, 240)], "black", 24, joint="curve")
    file = io.BytesIO()
    canvas.save(file, "png")
    return file.getvalue()


def test_a_page_of_that_origin_may_do_what_the_page_does(server: Server, workplace: Path) -> None:
    """Send the requests of the page, with the headers of a browser."""
    follow("Similar pictures", workplace, server.url)
    paths = re.findall(r'await post\("([^"]+)"\)', PAGE.read_text())
    assert len(paths) == 3
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        answers = [client.post(path, files={"image": ("blob", drawing(), "image/png")}).raise_for_status() for path in paths]
        assert {answer.headers["access-control-allow-origin"] for answer in answers} == {ORIGIN}
        mu, both, found = answers
        assert len(mu.json()["mu"][0]) == 20
        with Image.open(io.BytesIO(both.content)) as picture:
            assert (picture.width, picture.getpixel((0, 0))) == (28, 0)  # light ink on black
        ids = [neighbor["id"] for neighbor in found.json()["neighbors"]]
        assert sum(id.startswith("7/") for id in ids) >= 2
        for id in ids:
            original = client.get(f"/collections/similar/items/{id}/picture").raise_for_status()
            assert original.headers["content-type"] == "image/png"
