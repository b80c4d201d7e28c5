"""The part "Directions" of /explore: its pictures and points are those that the HTTP API gives for the same numbers."""

import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.live.chromium import Watched
from tests.live.explorer.on_page import InFlight, expect_pixels, numbers
from tests.live.server import Server

SLIDER = "directions-slider-0"


def opened(page: Page, address: str) -> None:
    page.goto(f"/explore#{address}")
    page.get_by_test_id(SLIDER).wait_for()
    page.wait_for_load_state("networkidle")


def point(page: Page, name: str = "z") -> list[float]:
    return numbers(page, name)


def decoded(service: Server, latents: list[list[float]]) -> np.ndarray:
    headers = {"accept": "application/x-npy"}
    answer = httpx.post(f"{service.url}/decode?model=mnist", json={"z": latents}, headers=headers, timeout=60)
    pictures: np.ndarray = np.load(io.BytesIO(answer.raise_for_status().content))[..., 0]
    return pictures


def value(page: Page, testid: str = SLIDER) -> str:
    return page.get_by_test_id(f"{testid}-value").inner_text().removeprefix("moved by ").split()[0].rstrip(",")


def test_keys_move_a_slider_and_its_pictures(page: Page, service: Server) -> None:
    opened(page, "model=mnist")
    kl = httpx.get(f"{service.url}/models/mnist").json()["metrics"]["kl_per_dim"]
    dim = int(np.argmax(kl))
    expect(page.locator(f"label[for={SLIDER}]")).to_have_text(f"dimension {dim}")
    slider = page.get_by_test_id(SLIDER)
    slider.focus()
    for key in ("PageUp", "PageUp", "ArrowRight", "ArrowRight", "PageDown"):
        page.keyboard.press(key)
    assert value(page) == "+2.00"
    expect(page.get_by_test_id(f"{SLIDER}-percent")).to_have_text("further right than 98 % of pictures")
    z = point(page)
    assert z == [2.0 if i == dim else 0.0 for i in range(20)]
    expect_pixels(page.get_by_test_id("directions-canvas"), decoded(service, [z])[0])
    steps = [[float(step) if i == dim else 0.0 for i in range(20)] for step in range(-3, 4)]
    expect_pixels(page.get_by_test_id(f"{SLIDER}-previews"), np.concatenate(decoded(service, steps), axis=1))
    page.keyboard.press("Home")
    assert value(page) == "0.00"
    for amount in ("+2.00", "+2.20", "+2.10", "+2.00", "+1.00", "0.00"):
        page.keyboard.press("Control+z")
        assert value(page) == amount


def test_a_drag_is_undone_at_once_and_asks_for_one_picture_at_a_time(page: Page, service: Server) -> None:
    opened(page, "model=mnist")
    page.get_by_test_id(SLIDER).scroll_into_view_if_needed()
    box = page.get_by_test_id(SLIDER).bounding_box()
    assert box is not None
    previews = InFlight(page, lambda request: latents_of(request) == 1)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for i in range(60):
        page.mouse.move(x + 2 * i, y)
    page.mouse.up()
    moved = value(page)
    assert float(moved) > 1
    expect_pixels(page.get_by_test_id("directions-canvas"), decoded(service, [point(page)])[0])
    assert len(previews.all) > 1
    assert previews.most == 1
    page.get_by_test_id("undo").click()
    assert value(page) == "0.00"


def latents_of(request: Any) -> int:
    """How many latents a request of this part decodes."""
    is_ours = request.url.endswith("/decode?model=mnist") and request.headers.get("content-type") == "application/json"
    return len(json.loads(request.post_data)["z"]) if is_ours else 0


def test_all_previews_are_one_request_and_lead_to_their_points(page: Page, service: Server, watched: Watched) -> None:
    opened(page, "model=mnist")
    assert [count for one in watched.responses if (count := latents_of(one.request)) > 1].count(56) == 1
    page.get_by_test_id("directions-slider-2-step-6").click()
    page.get_by_test_id("directions-slider-1-step-1").click()
    assert (value(page, "directions-slider-2"), value(page, "directions-slider-1")) == ("+3.00", "−2.00")
    z = point(page)
    picture = decoded(service, [z])[0]
    expect_pixels(page.get_by_test_id("directions-canvas"), picture)
    assert sorted(z)[0] == -2
    assert sorted(z)[-1] == 3
    page.reload()
    page.get_by_test_id(SLIDER).wait_for()
    expect_pixels(page.get_by_test_id("directions-canvas"), picture)
    page.get_by_test_id("directions-start").click()
    assert (point(page, "start"), value(page, "directions-slider-2")) == (z, "0.00")
    page.get_by_test_id(SLIDER).press("PageDown")
    page.get_by_test_id("directions-home").click()
    assert point(page) == z


def test_local_components_are_those_of_the_start(page: Page, service: Server) -> None:
    home = [0.25] * 20
    opened(page, f"model=mnist&home={','.join(map(str, home))}&directions=local")
    rows = httpx.post(f"{service.url}/traverse?model=mnist&dims=local:8", json={"z": [home]}, timeout=60).json()["rows"]
    page.get_by_test_id(SLIDER).press("PageUp")
    np.testing.assert_allclose(point(page), np.array(home) + rows[0]["direction"], atol=1e-6)
    expect(page.locator(".slider")).to_have_count(8)


@pytest.fixture
def collection(service: Server) -> str:
    """A collection with a direction between latents."""
    url = f"{service.url}/collections/directed"
    httpx.put(url, json={"model": "mnist"}).raise_for_status()
    latents = np.random.default_rng(0).normal(size=(2, 20, 20)).tolist()
    sides = {"positive": {"z": latents[0]}, "negative": {"z": latents[1]}}
    httpx.put(f"{url}/directions/across", json=sides).raise_for_status()
    return "directed"


def test_a_step_along_a_named_direction_is_that_of_an_edit(page: Page, service: Server, collection: str) -> None:
    opened(page, f"model=mnist&collection={collection}&directions=named")
    expect(page.get_by_test_id("directions-named")).to_be_checked()
    expect(page.locator(f"label[for={SLIDER}]")).to_have_text("across")
    page.get_by_test_id(f"{SLIDER}-step-5").click()
    asked = {"points": [{"z": [0] * 20}], "collection": collection, "directions": {"across": 2}, "include": "z"}
    edited = httpx.post(f"{service.url}/edit", json=asked, timeout=60).raise_for_status().json()["z"][0]
    np.testing.assert_allclose(point(page), edited, atol=1e-6)
    assert value(page) == "+2.00"


def test_without_named_directions_it_says_how_to_make_one(page: Page) -> None:
    opened(page, "model=mnist-2d&directions=named")
    expect(page.get_by_test_id("directions-named")).to_be_disabled()
    expect(page.get_by_test_id("directions-top")).to_be_checked()
    expect(page.locator(".slider")).to_have_count(2)
    page.get_by_test_id("directions-how").locator("summary").click()
    expect(page.get_by_test_id("directions-command")).to_contain_text("/directions/")


@pytest.mark.parametrize("z", ["1,2,3", ",".join(["0"] * 19 + ["1e6"])], ids=["of another model", "too far away"])
def test_points_that_cannot_be_shown_are_left_out_and_named_once(page: Page, z: str) -> None:
    opened(page, f"model=mnist&z={z}")
    said = "z in this address must have 20 numbers for 'mnist', from -10000 to 10000"
    expect(page.get_by_test_id("trouble")).to_have_text(said)
    assert value(page) == "0.00"
