"""The part "Map" of /explore: points, decoded pictures, density, pointer, lasso and keys, on 256 digits in two dimensions."""

import io
import json
import re

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, Request, expect

from tests.live.chromium import Watched
from tests.live.explorer.map_page import DIGITS, IDS, SEEN, VIEW, Map, Stored
from tests.live.explorer.on_page import InFlight, pixels_of, printed
from tests.live.server import Server

PNG = "one => one.toDataURL()"
PATIENCE = 100  # looks at a picture that may still change


def test_the_pointer_shows_what_the_service_decodes_there(page: Page, stored: Stored) -> None:
    shown = Map(page, SEEN)
    page.mouse.move(*shown.pixels(1.5, -0.5, VIEW))
    expect(page.get_by_test_id("map-words")).to_contain_text("1.5")
    expect(page.get_by_test_id("map-nearest-item")).to_be_visible()
    copied = page.get_by_test_id("map-pointer-copy-curl")
    pixels = np.load(io.BytesIO(printed(copied)))
    assert (pixels_of(page.get_by_test_id("map-pointer"))[..., :1] == pixels[0]).all()
    x, y = json.loads(re.search(r"\{\"z\".*?\}", str(copied.get_attribute("data-content"))).group())["z"][0]  # type: ignore[union-attr]
    assert (x, y) == pytest.approx((1.5, -0.5), abs=0.02)
    nearest = np.square(stored.mu - [x, y]).sum(1).argmin()
    assert json.loads(printed(copied, 1))["neighbors"][0]["id"] == IDS[nearest]
    expect(page.get_by_test_id("map-nearest")).to_contain_text(f"label{stored.labels[nearest]}")


def test_a_click_chooses_the_item_or_the_place(page: Page, stored: Stored) -> None:
    shown = Map(page, SEEN)
    apart = np.sqrt(np.square(stored.mu[:, None] - stored.mu[None]).sum(2)) + 9 * np.eye(256)
    inner = (np.abs(stored.mu) < 3.5).all(1)
    lonely = int(np.where(inner, apart.min(1), 0).argmax())
    x, y = stored.mu[lonely].tolist()
    page.mouse.click(*(one + 2 for one in shown.pixels(x, y, VIEW)))
    expect(page.get_by_test_id("undo")).to_be_enabled()
    assert shown.numbers("z") == pytest.approx([x, y], abs=1e-6), "two pixels beside an item, it is the item"
    page.mouse.click(*(one + 9 for one in shown.pixels(x, y, VIEW)))
    z = shown.numbers("z")
    assert z == shown.numbers("home")
    assert 0.05 < np.hypot(z[0] - x, z[1] - y) < 0.3, "nine pixels beside it, it is the place"


def test_it_is_moved_and_zoomed_and_a_link_shows_the_same(page: Page, stored: Stored) -> None:
    shown = Map(page, SEEN)
    before = shown.pixels(1, 1, VIEW)
    page.mouse.move(*before)
    page.mouse.down()
    page.mouse.move(before[0] - 60, before[1] + 40, steps=4)
    page.mouse.up()
    moved = shown.numbers("view")
    assert shown.pixels(1, 1, (moved[0], moved[1], moved[2])) == pytest.approx((before[0] - 60, before[1] + 40), abs=0.5)
    assert "z" not in shown.fields(), "a drag is no click"
    shown.change(lambda: page.mouse.wheel(0, -300))  # the wheel is the map's after a press
    zoomed = shown.numbers("view")
    assert zoomed[2] < 0.7 * moved[2]
    shown.wait()
    picture = "[...document.querySelectorAll('.map-canvas canvas')].slice(0, 2).map((one) => one.toDataURL())"
    seen = page.evaluate(picture)
    address = page.url
    page.goto("about:blank")
    Map(page, address)
    assert page.evaluate(picture) == seen
    page.get_by_test_id("map-reset").click()
    assert "view" not in shown.fields()


def test_a_lasso_lists_what_is_inside(page: Page, stored: Stored) -> None:
    shown = Map(page, SEEN)
    page.keyboard.down("Shift")
    corners = [(-1.5, -1.0), (1.0, -1.0), (1.0, 2.0), (-1.5, 2.0)]
    page.mouse.move(*shown.pixels(*corners[0], VIEW))
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*shown.pixels(*corner, VIEW), steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    lasso = shown.numbers("lasso")
    low, high = np.reshape(lasso, (-1, 2)).min(0), np.reshape(lasso, (-1, 2)).max(0)
    inside = ((stored.mu > low) & (stored.mu < high)).all(1)
    expect(page.get_by_test_id("map-chosen-count")).to_have_text(f"{inside.sum()} items in the area")
    for label, count in zip(*np.unique(stored.labels[inside], return_counts=True), strict=True):
        expect(page.get_by_test_id("map-chosen")).to_contain_text(f"{label}: {count}")
    expect(page.get_by_test_id("map-chosen-0")).to_be_visible()
    found = [one["neighbors"][0]["id"] for one in json.loads(printed(page.get_by_test_id("map-chosen-copy-curl")))["results"]]
    assert set(found) <= {IDS[i] for i in np.flatnonzero(inside)}
    page.get_by_test_id("map-lasso-clear").click()
    expect(page.get_by_test_id("map-chosen")).to_have_count(0)


def test_it_says_where_there_are_no_data(page: Page, stored: Stored) -> None:
    shown = Map(page, f"{DIGITS}&view=0,0,30")
    words = page.get_by_test_id("map-words")
    for (x, y), said in (([12.0, 12.0], "no data"), (np.median(stored.mu, 0).tolist(), "much data")):
        page.mouse.move(*shown.pixels(x, y, (0, 0, 30)))
        expect(words).to_contain_text(said)
    copied = page.get_by_test_id("map-copy-curl")
    assert np.load(io.BytesIO(printed(copied, 2))).shape[1:] == (28, 28, 1), "the pictures behind the points"
    answer = json.loads(printed(copied, 1))
    assert len(answer["density"]) == len(answer["holes"]) == 128
    assert (page.get_by_text("samples from the prior come from here").count() > 0) == any(map(any, answer["holes"]))


@pytest.fixture(scope="module")
def islands(service: Server) -> str:
    """Items in two groups: apart in the third dimension, and not in the first two."""
    noise = np.random.default_rng(0).normal(0, 0.1, (80, 20))
    noise[:, 2] += np.repeat([-3, 3], 40)
    items = [
        {"id": str(i), "mu": mu.tolist(), "sigma": [0.1] * 20, "metadata": {"side": i // 40}} for i, mu in enumerate(noise)
    ]
    with httpx.Client(base_url=service.url) as client:
        client.put("/collections/islands", json={"model": "mnist"}).raise_for_status()
        client.post("/collections/islands/items", json={"items": items}).raise_for_status()
    return "islands"


def test_the_map_and_the_path_say_the_same_of_a_point(page: Page, islands: str) -> None:
    shown = Map(page, f"/explore#model=mnist&collection={islands}&plane=0,1&view=0,0,4")
    page.mouse.move(*shown.pixels(0, 0, (0, 0, 4)))
    words = page.get_by_test_id("map-words")
    expect(words).to_contain_text("much data in this part of the map")
    expect(words).to_contain_text("In all 20 dimensions: little data")
    shown.canvas.focus()
    page.keyboard.press("b")
    expect(page.get_by_test_id("path-linear-words")).to_contain_text("B lie")
    expect(page.get_by_test_id("map-paths")).to_contain_text("straight line")
    density = json.loads(printed(page.get_by_test_id("map-pointer-copy-curl"), 3))
    level = json.loads(printed(page.get_by_test_id("map-pointer-copy-curl"), 2))["threshold"]
    assert density["log_density"][0] < level


# How light eight columns of a canvas are.
COLUMNS = """one => {
  const wide = Math.floor(one.width / 8);
  const copy = new OffscreenCanvas(one.width, one.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(one, 0, 0);
  const part = (_, i) => copy.getImageData(i * wide, 0, wide, one.height).data;
  return Array.from({ length: 8 }, part).map((data) => data.reduce((sum, value) => sum + value, 0) / data.length);
}"""


def test_greyness_is_moved_with_the_map_and_drawn_beyond_its_edge(page: Page, stored: Stored) -> None:
    shown = Map(page, f"{SEEN}&hide=pictures,points")
    canvas = page.get_by_test_id("map-pictures")
    before = canvas.evaluate(COLUMNS)
    x, y = shown.pixels(0, 0, VIEW)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 250, y + 40, steps=12)
    page.evaluate("new Promise(requestAnimationFrame)")
    dragged = canvas.evaluate(COLUMNS)
    assert np.abs(np.subtract(dragged, before)).max() > 2
    shown.change(page.mouse.up)
    page.reload()
    shown.wait()
    assert canvas.evaluate(COLUMNS) == pytest.approx(dragged, abs=1), "a link shows what was dragged there"


def test_colours_follow_the_metadata(page: Page, stored: Stored) -> None:
    shown = Map(page)
    points = page.locator(".map-canvas canvas").nth(1)
    coloured = points.evaluate(PNG)
    expect(page.get_by_role("group", name="colours: label").get_by_role("button")).to_have_count(10)
    page.get_by_test_id("map-points-shown").uncheck()
    assert points.evaluate(PNG) != coloured
    page.get_by_test_id("map-points-shown").check()
    assert points.evaluate(PNG) == coloured
    page.get_by_test_id("map-class-7").click()
    expect(page.get_by_test_id("map-class-7")).to_have_attribute("aria-pressed", "true")
    assert points.evaluate(PNG) != coloured, "the others are muted"
    page.get_by_test_id("map-color").select_option("ink")
    expect(page.get_by_role("group", name="colours: ink").get_by_role("button")).to_have_count(6)
    page.get_by_test_id("map-color").select_option(label="none")
    expect(page.get_by_role("group", name="colours: ink")).to_have_count(0)
    assert "view" not in shown.fields()


def test_one_request_is_in_flight_and_the_newest_wins(page: Page, stored: Stored) -> None:
    shown = Map(page, SEEN)

    def is_pointer(request: Request) -> bool:
        return "/decode" in request.url and str(request.headers.get("content-type")).startswith("application/json")

    decodes = InFlight(page, is_pointer)
    start = shown.pixels(-2, -2, VIEW)
    page.mouse.move(*start)
    page.mouse.move(start[0] + 150, start[1] - 150, steps=60)
    expect(page.get_by_test_id("map-nearest-item")).to_be_visible()
    assert len(decodes.all) > 1
    assert decodes.most == 1

    def is_newest() -> bool:
        pixels = np.load(io.BytesIO(printed(page.get_by_test_id("map-pointer-copy-curl"))))
        return bool((pixels_of(page.get_by_test_id("map-pointer"))[..., :1] == pixels[0]).all())

    for _ in range(PATIENCE):  # The last request may still be on its way.
        if is_newest():
            return
        page.wait_for_timeout(50)
    raise AssertionError("the picture is not that of the pointer's place")


def test_without_a_collection_it_shows_the_prior(page: Page, watched: Watched) -> None:
    page.goto("/explore#model=mnist&collection=missing")
    expect(page.get_by_test_id("map-canvas")).to_have_attribute("data-points", "200")
    expect(page.get_by_test_id("map-legend")).to_contain_text(
        "No collection is chosen. So the dots are random points of the prior"
    )
    page.get_by_test_id("map-dim-0").select_option("5")
    page.wait_for_url(re.compile("plane=5,"))
    expect(page.get_by_test_id("map-canvas")).to_have_attribute("data-points", "200")
    page.get_by_test_id("map-canvas").hover()
    expect(page.get_by_test_id("map-nearest")).to_contain_text("random point ")
