"""The documents of the repository, and the commands that they show."""

import re
from typing import NamedTuple

from tests.live.server import ROOT

README = (ROOT / "README.md").read_text()
HTTP = (ROOT / "docs" / "http.md").read_text()
LATENTS = (ROOT / "docs" / "latents.md").read_text()
SCORES = (ROOT / "docs" / "scores.md").read_text()
OPEN_INFERENCE = (ROOT / "docs" / "open-inference.md").read_text()
# Each file by its path from the root. Cards of weights are written by models.evaluate, and tested with it.
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
}


class Command(NamedTuple):
    """A command of a console block and what it prints; `...` in that stands for anything."""

    text: str
    output: str


def blocks(kind: str, text: str) -> list[str]:
    """The fenced blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def console(text: str) -> list[Command]:
    """The commands of all console blocks, in order."""
    parts = [part for block in blocks("console", text) for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]
    return [Command(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def shell(text: str) -> list[str]:
    """Every line of every sh block, without its comment."""
    return [line.split("  #")[0].strip() for block in blocks("sh", text) for line in block.splitlines() if line.strip()]


COMMANDS = [*console(README), *console(HTTP), *console(LATENTS), *console(SCORES), *console(OPEN_INFERENCE)]
PYTHON = blocks("python", README)
