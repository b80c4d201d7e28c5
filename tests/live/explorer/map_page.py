"""The part "Map" on a page, with 256 stored digits in two dimensions. Knows nothing of what is tested."""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import numpy as np
from playwright.sync_api import Page, expect

from tests.live.explorer.on_page import numbers, state
from tests.live.pictures import encoded, text
from tests.live.server import ROOT

DIGITS = "/explore#model=mnist-2d&collection=digits"
IDS = [f"no. {i}/#{i}" for i in range(256)]
VIEW = (0.0, 0.0, 8.0)
SEEN = f"{DIGITS}&view=0,0,8"


class Stored(NamedTuple):
    mu: Any  # (256, 2), float32
    labels: Any


def store_digits(url: str) -> Stored:
    """Store the digits of the tests with their labels and their ink."""
    data = np.load(ROOT / "tests/data/digits.npz")
    pictures = [text(encoded(pixels)) for pixels in data["images"]]
    metadata = [
        {"label": int(label), "ink": float(ink)}
        for label, ink in zip(data["labels"], data["images"].mean((1, 2)), strict=True)
    ]
    items = [{"id": id, "image": image, "metadata": some} for id, image, some in zip(IDS, pictures, metadata, strict=True)]
    with httpx.Client(base_url=url, timeout=60) as client:
        client.put("/collections/digits", json={"model": "mnist-2d"}).raise_for_status()
        client.post("/collections/digits/items", json={"items": items}).raise_for_status()
        found = client.get("/collections/digits/map?dims=0,1&format=npy").raise_for_status()
    order = np.argsort(np.argsort(IDS))  # the map has the order of the ids
    return Stored(np.load(io.BytesIO(found.content))[order], data["labels"])


class Map:
    """The map on a page, its places in coordinates of the plane."""

    def __init__(self, page: Page, address: str = DIGITS) -> None:
        self.page, self.canvas = page, page.get_by_test_id("map-canvas")
        page.goto(address)
        self.wait()

    def wait(self) -> None:
        """Until the decoded pictures and the density are those of the view."""
        expect(self.page.get_by_test_id("map-view")).to_have_attribute("aria-busy", "false")

    def pixels(self, x: float, y: float, view: tuple[float, float, float]) -> tuple[float, float]:
        """Where a point of the plane is on the screen."""
        box = self.canvas.bounding_box()
        assert box is not None
        unit = box["width"] / view[2]
        return box["x"] + box["width"] / 2 + (x - view[0]) * unit, box["y"] + box["height"] / 2 - (y - view[1]) * unit

    def fields(self) -> dict[str, str]:
        return state(self.page)

    def numbers(self, name: str) -> list[float]:
        return numbers(self.page, name)

    def change(self, action: Callable[[], None]) -> None:
        """Do something, and wait until the address tells of it."""
        self.fields()
        before = self.page.url
        action()
        self.page.wait_for_url(lambda url: url != before)
