"""One service for all tests, a browser for each file of them, and a page for each test.

`page` is Playwright's page of one test; "/explore#model=mnist" is enough of an address. A test fails with what its page did
wrong: errors of scripts, failed answers, requests to other hosts. A test that wants one says so: watched.expect("429").
A file that needs another service has a fixture `service` of its own.
"""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.live.chromium import Watched, browsing, watching
from tests.live.explorer.map_page import Stored, store_digits
from tests.live.server import Server, serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as running:
        yield running


@pytest.fixture(scope="session")
def shared_service() -> Iterator[Server]:
    """A service of the models of 20 and of 2 dimensions."""
    with serving("--models", "mnist,mnist-2d") as running:
        yield running


@pytest.fixture(scope="module")
def service(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Server]:
    """The shared service, with an empty store for each file. It is not started if there is no browser."""
    running: Server = request.getfixturevalue("shared_service")
    yield running
    with httpx.Client(base_url=running.url, timeout=60) as client:
        for collection in client.get("/collections").raise_for_status().json()["collections"]:
            client.delete(f"/collections/{collection['name']}").raise_for_status()


@pytest.fixture(scope="module")
def client(service: Server) -> Iterator[httpx.Client]:
    """A client of the service, with paths for addresses."""
    with httpx.Client(base_url=service.url, timeout=60) as one:
        yield one


@pytest.fixture(scope="module")
def stored(service: Server) -> Stored:
    """256 digits, which the service has stored as the collection "digits" of its model of two dimensions."""
    return store_digits(service.url)


@pytest.fixture
def options() -> dict[str, object]:
    """How the page is opened; a test can change it: @pytest.mark.parametrize("options", [{"viewport": ...}])."""
    return {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture
def page_and_watched(browser: Browser, service: Server, options: dict[str, object]) -> Iterator[tuple[Page, Watched]]:
    with watching(browser, service.url, **options) as both:
        yield both


@pytest.fixture
def page(page_and_watched: tuple[Page, Watched]) -> Page:
    """An empty page."""
    return page_and_watched[0]


@pytest.fixture
def watched(page_and_watched: tuple[Page, Watched]) -> Watched:
    """What the page of this test says and loads."""
    return page_and_watched[1]
