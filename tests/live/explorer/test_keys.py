"""API keys of /explore: asked for, kept for the session, refused, and changed."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.live.chromium import Watched
from tests.live.server import Server, serving

KEY = "a-key-that-is-long-enough-to-be-one"
NO_STORE = "another-key-that-is-long-enough"
FOREIGN = "schlüssel-“that-is-long-enough”"


@pytest.fixture(scope="module")
def service(browser: Browser) -> Iterator[Server]:
    keys = f"viewer infer,store {KEY}; guest infer {NO_STORE}; other infer,store {FOREIGN}"
    with serving("--models", "mnist-2d", variables={"VAE_API_KEYS": keys}) as running:
        yield running


def enter(page: Page, key: str) -> None:
    form = page.get_by_test_id("key")
    form.get_by_role("textbox").fill(key)
    form.get_by_role("button").click()


def test_a_key_that_cannot_be_one_is_asked_for_again(page: Page, watched: Watched) -> None:
    page.goto("/explore")
    form = page.get_by_test_id("key")
    enter(page, f"{KEY}\u200b")
    expect(form.get_by_test_id("trouble")).to_contain_text("no invisible characters")
    assert page.evaluate("sessionStorage.length") == 0
    enter(page, f"“{KEY}”")
    expect(page.get_by_test_id("trouble")).to_contain_text("key")
    form.wait_for()
    enter(page, f" {KEY} ")
    page.get_by_test_id("map-canvas").wait_for()
    expect(form).to_have_count(0)
    page.wait_for_load_state("networkidle")
    watched.expect("401: GET")


def test_a_key_has_any_characters_that_the_service_allows(page: Page, watched: Watched) -> None:
    page.goto("/explore")
    enter(page, FOREIGN)
    page.get_by_test_id("map-canvas").wait_for()
    expect(page.get_by_test_id("trouble")).to_have_count(0)
    page.wait_for_load_state("networkidle")
    watched.expect("401: GET")


def test_a_key_that_may_not_read_collections_is_changed(page: Page, watched: Watched) -> None:
    page.goto("/explore#model=mnist-2d")
    enter(page, NO_STORE)
    page.get_by_test_id("map-canvas").wait_for()
    expect(page.get_by_test_id("trouble")).to_contain_text(
        "collections of this model cannot be read: the key of 'guest' lacks the scope"
    )
    for part in ("map-legend", "neighbors"):
        expect(page.get_by_test_id(part)).to_contain_text("collections of this model cannot be read")
    expect(page.locator("body")).not_to_contain_text("There is no collection")
    expect(page.get_by_test_id("directions-how")).to_have_count(0)
    page.get_by_test_id("key-change").click()
    enter(page, KEY)
    page.get_by_test_id("neighbors-item-0").wait_for()
    expect(page.get_by_test_id("trouble")).to_have_count(0)
    page.wait_for_load_state("networkidle")
    watched.expect("401: GET", "403: GET")


def test_training_latents_are_shown_when_the_store_fails(page: Page, watched: Watched) -> None:
    problem = {"code": "store_failed", "detail": "the store cannot be read"}
    page.route("**/collections?*", lambda route: route.fulfill(status=500, json=problem))
    page.goto("/explore#model=mnist-2d")
    enter(page, KEY)
    page.get_by_test_id("neighbors-item-0").wait_for()
    expect(page.get_by_test_id("collection")).to_have_value("training:mnist-2d")
    expect(page.get_by_test_id("trouble")).to_contain_text("cannot be read: the store cannot be read")
    page.wait_for_load_state("networkidle")
    watched.expect("401: GET", "500: GET")
