"""What people do on /explore, across its parts: draw, compare, morph, choose, send the view to somebody; by keyboard, too."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.live.chromium import Watched, grave_findings, watching
from tests.live.explorer.on_page import state, stroke
from tests.live.pictures import encoded, text
from tests.live.server import ROOT, Server, serving

DRAWN = [(0.28, 0.25), (0.72, 0.25), (0.45, 0.85)]  # a seven, in shares of the canvas
VIEW = "/explore#model=mnist&collection=digits"
# All that a link shows as pixels: canvases, and the pictures of buttons; not what is at the pointer at the moment.
PIXELS = """() => [...document.querySelectorAll("main canvas, main img")]
  .filter((one) => !one.closest(".map-card"))
  .map((one) => one.src ?? one.toDataURL())"""
STILL = f"""() => {{
  const now = JSON.stringify(({PIXELS})());
  window.looks = now === window.seen ? window.looks + 1 : 0;
  window.seen = now;
  return window.looks === 3;
}}"""
COMMANDS = "() => [...document.querySelectorAll('[data-testid$=-curl]:enabled')].map((one) => one.dataset.content).join('\\n')"
ON_FOCUS = "() => document.activeElement?.dataset.testid ?? ''"


@pytest.fixture(scope="module")
def service(browser: Browser, models_dir: Path) -> Iterator[Server]:
    """A service with real digits and their labels, and with a model that has neither a calibration nor a collection."""
    models = ("--models-dir", str(models_dir), "--models", "mnist,tiny-rgb")
    with serving(*models) as running, httpx.Client(base_url=running.url, timeout=60) as client:
        with np.load(ROOT / "tests/data/digits.npz") as arrays:
            pairs = list(zip(arrays["images"], arrays["labels"].tolist(), strict=True))
        items = [
            {"id": f"{number:03}", "image": text(encoded(digit)), "metadata": {"label": label}}
            for number, (digit, label) in enumerate(pairs)
        ]
        client.put("/collections/digits", json={"model": "mnist", "keep": "picture"}).raise_for_status()
        client.post("/collections/digits/items", json={"items": items}).raise_for_status()
        yield running


def settle(page: Page) -> list[str]:
    """Return all pixels of the page, once they have stayed the same for three looks."""
    page.wait_for_load_state("networkidle")
    page.evaluate("window.seen = ''")
    page.wait_for_function(STILL, polling=100)
    state(page)
    shown: list[str] = page.evaluate(PIXELS)
    return shown


def tab_to(page: Page, testid: str, key: str = "Tab") -> None:
    """Press a key until a control has the focus."""
    for _ in range(400):
        page.keyboard.press(key)
        if page.evaluate(ON_FOCUS) == testid:
            return
    raise AssertionError(f"{testid} cannot be reached")


def fits(page: Page) -> bool:
    """Whether nothing scrolls sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


# So high that nothing scrolls between the ends of a drag.
HIGH = {"viewport": {"width": 1280, "height": 3000}}


@pytest.mark.parametrize("options", [HIGH], ids=["high"])
def test_draw_morph_choose_and_send(page: Page, browser: Browser, service: Server, watched: Watched) -> None:
    page.goto(VIEW)
    page.get_by_test_id("neighbors-item-0").wait_for()

    stroke(page, page.get_by_test_id("picture-canvas"), DRAWN)
    summary = page.get_by_test_id("neighbors-summary")
    expect(summary).to_contain_text(re.compile(r"^([6-9]|1[0-2]) of the 12 nearest have the label 7"))

    page.get_by_test_id("neighbors-item-0").drag_to(page.get_by_test_id("path-a"))
    page.get_by_test_id("directions-slider-0-step-0").drag_to(page.get_by_test_id("path-b"))
    expect(page.get_by_test_id("path-a-picture")).to_be_visible()
    expect(page.get_by_test_id("path-b-picture")).to_be_visible()

    z = state(page)["z"]
    page.get_by_test_id("directions-slider-1").press("PageUp")
    assert state(page)["z"] != z

    page.keyboard.down("Shift")
    stroke(page, page.get_by_test_id("map-canvas"), [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)])
    page.keyboard.up("Shift")
    count = page.get_by_test_id("map-chosen-count")
    expect(count).to_contain_text("items in the area")
    assert 20 < int(count.inner_text().split(" ")[0]) < 250
    page.get_by_test_id("map-chosen-0").wait_for()
    page.mouse.move(2, 2)  # away from the map, which shows what is at the pointer

    shown = settle(page)
    assert len(shown) > 60
    assert {"x", "z", "home", "a", "b", "lasso"} <= state(page).keys()
    assert grave_findings(page) == []

    watched.responses.clear()
    page.reload()
    assert settle(page) == shown
    with watching(browser, service.url, **HIGH) as (colleague, _):
        colleague.goto(page.url.partition(service.url)[2])
        assert settle(colleague) == shown

    received = {answer.body() for answer in watched.responses if answer.status == 200}
    commands = page.evaluate(COMMANDS).splitlines()
    assert len(commands) >= 8
    for command in commands:
        printed = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=True).stdout
        assert printed in received, command


def test_by_keyboard_only(page: Page) -> None:
    page.goto(VIEW)
    settle(page)
    tab_to(page, "map-canvas")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("&z="))
    tab_to(page, "neighbors-item-0")
    page.keyboard.press("a")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    expect(page.get_by_test_id("path-b-picture")).to_be_visible()
    tab_to(page, "directions-slider-2", "Shift+Tab")
    before = settle(page)
    page.keyboard.press("ArrowRight")
    assert settle(page) != before
    page.keyboard.press("Control+z")
    assert settle(page) == before
    tab_to(page, "path-frame", "Shift+Tab")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile("frame=1"))


@pytest.mark.parametrize(
    "options", [{"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}], ids=["phone"]
)
@pytest.mark.parametrize("model", ["mnist", pytest.param("tiny-rgb", marks=pytest.mark.soak)])
def test_on_a_phone(page: Page, model: str) -> None:
    page.goto(f"/explore#model={model}")
    settle(page)
    assert fits(page)
    page.get_by_test_id("map-canvas").tap(position={"x": 100, "y": 120})
    page.wait_for_url(re.compile("&z="))
    page.get_by_test_id("path-b-set").tap()
    expect(page.get_by_test_id("path-b-picture")).to_be_visible()
    settle(page)
    assert fits(page)


def test_without_the_service_and_with_it_again(page: Page, watched: Watched) -> None:
    page.goto(VIEW)
    settle(page)
    slider, trouble = page.get_by_test_id("directions-slider-0"), page.get_by_test_id("trouble")
    page.route("**/*", lambda route: route.abort())
    slider.press("PageUp")
    expect(trouble).to_contain_text("The service does not answer")
    page.get_by_test_id("try-again").click()
    settle(page)
    expect(trouble).to_have_count(1)  # for all parts
    page.unroute_all()
    page.get_by_test_id("try-again").click()
    after = settle(page)
    expect(trouble).to_have_count(0)
    page.reload()
    assert settle(page) == after
    page.context.set_offline(True)
    slider.press("PageUp")
    expect(trouble).to_have_count(1)
    page.context.set_offline(False)  # the browser says so, and the parts ask by themselves
    expect(trouble).to_have_count(0)
    assert settle(page) != after


def test_a_full_queue_is_asked_again(page: Page, watched: Watched) -> None:
    page.goto(VIEW)
    before = settle(page)
    problem = {"detail": "the queue is full", "code": "overloaded"}
    page.route("**/decode?*", lambda route: route.fulfill(status=429, headers={"retry-after": "1"}, json=problem), times=1)
    page.get_by_test_id("directions-slider-0").press("PageUp")
    assert settle(page) != before
    expect(page.get_by_test_id("trouble")).to_have_count(0)
    watched.expect("429: POST")


def test_a_model_without_a_collection(page: Page) -> None:
    page.goto("/explore#model=tiny-rgb")
    settle(page)
    expect(page.get_by_test_id("collection")).to_have_value("")
    expect(page.get_by_test_id("trouble")).to_have_count(0)
    assert page.get_by_test_id("path-linear-frame-0").is_visible()
    assert "collection" in page.get_by_test_id("neighbors").inner_text()


def test_an_address_of_nonsense(page: Page) -> None:
    page.goto("/explore#model=nobody&z=1,2&x=%00&view=a&lasso=1&steps=-1&nothing=1&__proto__=2")
    expect(page.get_by_test_id("trouble").first).to_contain_text("there is no model 'nobody'")
    page.get_by_test_id("model").select_option("mnist")
    page.get_by_test_id("map-canvas").wait_for()
    settle(page)
