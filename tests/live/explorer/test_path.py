"""The part "Path" of /explore: its ends, its frames, what it says about holes, and its files."""

import json
import re
import subprocess
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from tests.live.chromium import Watched
from tests.live.pictures import text
from tests.live.server import ROOT, Server

WEST, EAST = [-1.5, 0.0], [1.5, 0.0]
ENDS = "a=-1.5,0&b=1.5,0"


@pytest.fixture(scope="module")
def islands(service: Server) -> Iterator[str]:
    """A collection of two groups of items, with nothing between them."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 40, 2))
    places = (noise + np.array([[WEST], [EAST]])).reshape(-1, 2)
    items = [{"id": str(i), "mu": mu.tolist(), "sigma": [0.1, 0.1]} for i, mu in enumerate(places)]
    with httpx.Client(base_url=service.url) as client:
        client.put("/collections/islands", json={"model": "mnist-2d"}).raise_for_status()
        client.post("/collections/islands/items", json={"items": items}).raise_for_status()
        yield "islands"
        client.delete("/collections/islands").raise_for_status()


DROPPED = """base64 => {
  const dropped = new DataTransfer();
  dropped.items.add(new File([Uint8Array.from(atob(base64), (one) => one.charCodeAt(0))], "seven.png", { type: "image/png" }));
  return dropped;
}"""


def go(page: Page, fields: str) -> None:
    page.goto(f"/explore#model=mnist-2d&{fields}")
    page.get_by_test_id("path-matched-frame-0").wait_for()


def images(page: Page, method: str) -> list[str]:
    """The frames of a strip, base64 of PNGs."""
    frames = page.get_by_test_id(f"path-{method}").locator(".frames img")
    sources: list[str] = frames.evaluate_all("images => images.map(image => image.src.split(',')[1])")
    return sources


def says(page: Page, *fields: str) -> dict[str, str]:
    """What the address says, once it has these fields. It is written a few times a second at most."""
    page.wait_for_url(lambda url: set(fields) <= set(fragment(url).split("&")))
    return dict(field.split("=") for field in fragment(page.url).split("&"))


def fragment(url: str) -> str:
    return url.partition("#")[2]


def frame(page: Page, method: str, number: int) -> Locator:
    return page.get_by_test_id(f"path-{method}-frame-{number}")


def test_strips_have_the_pictures_of_the_commands_on_offer(page: Page, islands: str) -> None:
    go(page, f"collection={islands}&{ENDS}&steps=5&graph=1")
    frame(page, "graph", 4).wait_for()
    commands = page.get_by_test_id("path-copy-curl").get_attribute("data-content")
    assert commands is not None
    answers = [json.loads(subprocess.check_output(["bash", "-c", line], timeout=60)) for line in commands.splitlines()]
    paths = {answer["method"]: answer for answer in answers if "method" in answer}
    assert list(paths) == ["linear", "slerp", "matched", "graph"]
    for method, answer in paths.items():
        assert images(page, method) == answer["images"], method
        assert len(answer["images"]) == len(answer["log_density"]) == 5


def test_a_hole_is_seen(page: Page, islands: str) -> None:
    go(page, f"collection={islands}&{ENDS}&steps=9")
    words = page.get_by_test_id("path-linear-words")
    expect(words).to_contain_text("crosses a gap with little data")
    expect(words).to_contain_text("frame 5")  # right between both groups
    expect(page.get_by_test_id("path-linear-density")).to_have_accessible_name(re.compile("at its lowest, frame 5"))
    go(page, f"collection={islands}&a=-1.55,0&b=-1.45,0.05")
    expect(words).to_contain_text("stays near the data")
    go(page, f"collection={islands}&a=-1.5,0&b=0,0")
    expect(words).to_contain_text("B lies where there is little data")


def test_items_without_a_density_have_frames_and_a_sentence(page: Page, watched: Watched, service: Server) -> None:
    items = [{"id": str(i), "mu": [0.5] * 20} for i in range(5)]  # no sigma, and all at one place
    with httpx.Client(base_url=service.url) as client:
        client.put("/collections/alike", json={"model": "mnist"}).raise_for_status()
        client.post("/collections/alike/items", json={"items": items}).raise_for_status()
    held: list[Route] = []  # until the page has asked for densities, which it does not once it knows that there are none
    page.route("**/coverage?*", lambda route: held.append(route))
    with page.expect_response(lambda answer: answer.status == 422 and answer.request.method == "POST"):
        page.goto("/explore#model=mnist&collection=alike&steps=5&graph=1")
    for route in held:
        route.continue_()
    page.unroute("**/coverage?*")
    expect(page.get_by_test_id("path-hint")).to_contain_text("no line below the strips: the bandwidth (auto) is 0")
    for method in ("linear", "slerp", "matched", "graph"):
        frame(page, method, 4).wait_for()
    expect(page.get_by_test_id("path-graph")).to_contain_text("found through all of 5 items")
    expect(page.get_by_test_id("path").get_by_test_id("trouble")).to_have_count(0)
    watched.expect("422: GET", "422: POST")


def test_without_a_collection_there_are_strips_and_a_sentence(page: Page) -> None:
    page.route("**/collections?*", lambda route: route.fulfill(json={"collections": []}))
    go(page, ENDS)
    expect(page.get_by_test_id("path-hint")).to_contain_text("needs a collection")
    expect(page.get_by_test_id("path-graph-open")).to_have_count(0)
    assert len(images(page, "slerp")) == 12


def test_ends_by_pointer(page: Page, islands: str) -> None:
    go(page, f"collection={islands}&{ENDS}")
    third = images(page, "linear")[3]
    frame(page, "linear", 3).drag_to(page.get_by_test_id("path-b"))
    expect(page.get_by_test_id("path-b-picture").locator("img")).to_have_attribute("src", f"data:image/png;base64,{third}")
    page.get_by_test_id("path-swap").click()
    expect(page.get_by_test_id("path-a-picture").locator("img")).to_have_attribute("src", f"data:image/png;base64,{third}")
    swapped = says(page, "b=-1.5,0")
    assert float(swapped["a"].split(",")[0]) == pytest.approx(-1.5 + 3 * 3 / 11)
    frame(page, "linear", 11).click()
    page.get_by_test_id("path-a-set").click()
    says(page, "z=-1.5,0", "a=-1.5,0")
    page.get_by_test_id("path-random").click()
    assert not {"a", "b"} & says(page, "seed=1").keys()


def test_neighbours_and_files_are_dragged_to_an_end(page: Page, islands: str) -> None:
    go(page, f"collection={islands}&{ENDS}&z=-1.5,0")
    page.wait_for_load_state("networkidle")  # the neighbours are those of z
    nearest = page.get_by_test_id("neighbors-item-3")
    picture = nearest.locator("img").get_attribute("src")
    nearest.drag_to(page.get_by_test_id("path-b"))
    expect(page.get_by_test_id("path-b-picture").locator("img")).to_have_attribute("src", str(picture))
    data = page.evaluate_handle(DROPPED, text((ROOT / "examples/seven.png").read_bytes()))
    page.get_by_test_id("path-a").dispatch_event("drop", {"dataTransfer": data})
    page.wait_for_url(lambda url: f"&{ENDS.split('&')[0]}&" not in url and "&a=" in url)
    assert "&x=" not in page.url  # the part Picture does not take it, too


def test_ends_and_frames_by_keyboard(page: Page, islands: str) -> None:
    go(page, f"collection={islands}&{ENDS}&steps=5")
    scrubber = page.get_by_test_id("path-frame")
    scrubber.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(scrubber).to_have_attribute("aria-valuetext", "frame 3 of 5")
    page.get_by_test_id("path-linear-z").focus()
    page.keyboard.press("Enter")
    says(page, "frame=2", "z=0,0")
    page.keyboard.press("b")
    expect(page.get_by_test_id("path-linear-words")).to_contain_text("B lies")
    says(page, "b=0,0")
    page.keyboard.press("Control+z")
    says(page, "b=1.5,0")


def test_a_strip_is_one_stop_of_the_tab_key(page: Page, islands: str) -> None:
    go(page, f"collection={islands}&{ENDS}&steps=5&frame=1")
    expect(frame(page, "linear", 1)).to_have_attribute("tabindex", "0")
    frame(page, "linear", 1).focus()
    page.keyboard.press("ArrowRight")
    expect(frame(page, "linear", 2)).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")  # there is no further one
    expect(frame(page, "linear", 4)).to_be_focused()
    page.keyboard.press("b")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    says(page, "frame=3")
    frames = page.get_by_test_id("path-linear").locator(".frames button")
    assert frames.evaluate_all("all => all.map((one) => one.tabIndex)") == [-1, -1, -1, 0, -1]
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.matches('.frames button')")


def test_a_link_shows_the_same(page: Page, islands: str) -> None:
    go(page, f"collection={islands}&seed=5&steps=6&frame=4&graph=1")
    page.get_by_test_id("path-steps").fill("7")
    page.get_by_test_id("path-steps").press("Enter")
    frame(page, "graph", 6).wait_for()
    before = [images(page, method) for method in ("linear", "slerp", "graph")]
    says(page, "steps=7", "frame=5")
    page.reload()
    frame(page, "graph", 6).wait_for()
    assert [images(page, method) for method in ("linear", "slerp", "graph")] == before
    expect(frame(page, "slerp", 5)).to_have_attribute("aria-current", "true")


SEEN = """scrubber => new Promise((done) => {
  const seen = [];
  const look = () => {
    if (seen.at(-1) !== scrubber.value) seen.push(scrubber.value);
    if (seen.length < 7) requestAnimationFrame(look);
    else done(seen.map(Number));
  };
  look();
})"""


def test_it_plays_there_and_back(page: Page) -> None:
    go(page, f"{ENDS}&steps=3")
    play = page.get_by_test_id("path-play")
    play.click()
    frames = page.get_by_test_id("path-frame").evaluate(SEEN)
    assert set(frames) == {0, 1, 2}
    assert {1, -1} <= set(np.diff(frames)), frames  # forwards and backwards
    play.click()
    expect(play).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("options", [{"reduced_motion": "reduce"}], ids=str)
def test_with_less_motion_it_plays_once(page: Page) -> None:
    go(page, f"{ENDS}&steps=3&frame=1")
    play = page.get_by_test_id("path-play")
    play.click()
    says(page, "frame=2")
    expect(play).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize(("format", "frames"), [("webp", 4), pytest.param("gif", 4, marks=pytest.mark.soak), ("png", 1)])
def test_files(page: Page, format: str, frames: int) -> None:
    go(page, f"{ENDS}&steps=4")
    with page.expect_download() as download:
        page.get_by_test_id(f"path-slerp-{format}").click()
    assert download.value.suggested_filename == f"path-arc.{format}"
    with Image.open(download.value.path()) as saved:
        assert getattr(saved, "n_frames", 1) == frames
        assert saved.size == ((4 * 112 + 3 * 8 if format == "png" else 112), 112)  # four times as large, with gaps in a strip
