"""examples/tour.ipynb runs from its first cell to its last, and the outputs that are stored in it are what it gives."""

import json
import re
from pathlib import Path
from typing import Any

from tests.live.notebook import METADATA, PATH, executed

NUMBER = re.compile(r"\d+")


def outputs(notebook: Any) -> list[list[tuple[str, list[str], str]]]:
    """What the outputs of each code cell are: their kinds, and their text without numbers, whose last digits may differ."""
    return [
        [
            (one["output_type"], sorted(one.get("data", {})), NUMBER.sub("0", "".join(one.get("text", ""))))
            for one in cell["outputs"]
        ]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def test_the_notebook_gives_what_it_shows() -> None:
    stored = json.loads(PATH.read_text())
    assert "models.load(" in "".join(line for cell in stored["cells"] for line in cell["source"]), "as the README says"
    found = outputs(executed())
    assert found == outputs(stored)
    texts = "".join(text for cell in found for _, _, text in cell)
    assert "as in Python: True" in texts
    assert "the server ended with 0" in texts
    assert sum("image/png" in kinds for cell in found for _, kinds, _ in cell) >= 8


def test_nothing_of_a_machine_is_stored_in_it() -> None:
    text = PATH.read_text()
    stored = json.loads(text)
    assert stored["metadata"] == METADATA
    assert all(cell["metadata"] == {} for cell in stored["cells"])
    for place in (str(PATH.parent.parent), str(Path.home()), "/home/", "/root/", "/tmp/", "/work/", "/Users/"):
        assert f'"{place}' not in text, place
        assert f" {place}" not in text, place
    assert len(text) < 500_000
