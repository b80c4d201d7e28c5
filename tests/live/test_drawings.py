"""The model of drawings that ships draws, continues and reconstructs, in every format."""

import xml.etree.ElementTree as ET

import httpx
import pytest

from .pictures import PNG

BEGUN = {"strokes": [[[0, 0, 0], [30, 5, 0], [10, 40, 1]]]}


@pytest.mark.parametrize("form", ["json", "svg", "png"])
def test_drawings_are_made_in_every_format(client: httpx.Client, form: str) -> None:
    more = f"model=strokes&seed=1&step_temperature=1&format={form}"
    for answer in (
        client.get(f"/sample?n=2&{more}"),
        client.post(f"/complete?n=2&{more}", json=BEGUN),
        client.post(f"/reconstruct?{more}", json=BEGUN),
    ):
        assert answer.status_code == 200, answer.text
        if form == "json":
            assert len(answer.json()["strokes"]) >= 1
        elif form == "svg":
            assert ET.fromstring(answer.content).tag.endswith("svg")
        else:
            assert answer.content.startswith(PNG)
