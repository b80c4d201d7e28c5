"""/explore as a whole: what is sent, on screens of two widths, for screen readers, with API keys, and under another path."""

import re

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from service.explorer.pages import files
from tests.live.chromium import Watched, grave_findings, watching
from tests.live.server import serving

PARTS = ("map", "picture", "path", "directions", "neighbors")
MOST_BYTES = 60_000
KEY = "a-key-that-is-long-enough-to-be-one"
FILES = files()
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def wait_for_parts(page: Page) -> None:
    """Until all parts are there and have their first answers."""
    for part in PARTS:
        page.get_by_test_id(part).wait_for()
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize(
    ("model", "options"),
    [
        pytest.param(
            model, {"viewport": {"width": width, "height": 800}}, id=f"{model}-{width}", marks=[pytest.mark.soak] * soak
        )
        for model, width, soak in (("mnist", 1280, 1), ("mnist", 390, 0), ("mnist-2d", 1280, 0), ("mnist-2d", 390, 1))
    ],
)
def test_it_opens_on_wide_and_narrow_screens(page: Page, model: str) -> None:
    page.goto(f"/explore#model={model}")
    wait_for_parts(page)
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1], "it scrolls sideways"
    expect(page.get_by_test_id("model")).to_have_value(model)


# The light page is looked at in test_journeys, with more on it.
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"color_scheme": "light"}, id="light", marks=pytest.mark.soak),
        pytest.param({"color_scheme": "dark"}, id="dark"),
    ],
)
def test_it_is_accessible(page: Page) -> None:
    page.goto("/explore")
    wait_for_parts(page)
    assert grave_findings(page) == []
    assert page.locator("html").get_attribute("lang") == "en"


def test_it_waits_for_a_service_that_starts(page: Page, watched: Watched) -> None:
    """However long that takes: it asks more often than a full queue is asked."""
    refused = 0

    def starting(route: Route) -> None:
        nonlocal refused
        if refused == 6:
            route.continue_()
            return
        refused += 1
        route.fulfill(status=503, headers={"retry-after": "0.05"}, json={"code": "starting", "detail": "try again"})

    page.route("**/models", starting)
    page.goto("/explore#model=mnist")
    expect(page.get_by_test_id("waiting")).to_contain_text("The service starts: its models are loading")
    wait_for_parts(page)
    expect(page.get_by_test_id("waiting")).to_have_text("")
    expect(page.get_by_test_id("trouble")).to_have_count(0)
    assert refused == 6
    watched.expect("503: GET")


def test_it_is_small_as_it_is_sent(page: Page, watched: Watched) -> None:
    page.goto("/explore")
    wait_for_parts(page)
    files = [one for one in watched.responses if httpx.URL(one.url).path.startswith("/explore")]
    sent = {httpx.URL(one.url).path: one.request.sizes()["responseBodySize"] for one in files}
    assert sum(sent.values()) < MOST_BYTES, sent
    assert all(one.headers["content-encoding"] == "br" for one in files)
    assert {httpx.URL(one.url).path for one in files} >= {"/explore", "/explore/style.css", "/explore/main.js"}


def address(name: str) -> str:
    """The path at which the service has a file of the page."""
    return "/explore" if name == "index.html" else f"/explore/{name}"


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_sent_once(client: httpx.Client, file: str) -> None:
    first = client.get(address(file)).raise_for_status()
    content = FILES[file].content
    assert first.content == content
    plain = client.get(address(file), headers={"accept-encoding": "identity"}).raise_for_status()
    assert (plain.content, "content-encoding" in plain.headers) == (content, False)
    assert {"etag": first.headers["etag"], "vary": "accept-encoding"}.items() <= plain.headers.items()
    again = client.get(address(file), headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert client.get(address(file), headers={"if-none-match": 'W/"another"'}).status_code == 200
    head = client.head(address(file))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == first.headers["content-type"]
    refused = client.post(address(file))
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in refused.headers["allow"]


def test_every_file_has_a_type_that_is_sent(client: httpx.Client) -> None:
    types = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}
    for file in FILES:
        assert client.get(address(file)).headers["content-type"].startswith(types[file.rpartition(".")[2]]), file
    for path in (
        "/explore/nothing.js",
        "/explore/map.js",
        "/explore/../pages.py",
        "/explore/%2e%2e/pages.py",
        "/explore/vendor",
    ):
        assert client.get(path).status_code == 404


def test_scripts_come_from_the_service_only(client: httpx.Client) -> None:
    answer = client.get("/explore")
    rules = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))
    assert (rules["script-src"], rules["connect-src"], rules["default-src"]) == ("'self'", "'self'", "'none'")
    assert answer.headers["x-frame-options"] == "DENY"
    for name, file in FILES.items():
        if name.endswith((".html", ".js", ".css")) and "vendor" not in name:
            assert re.findall(rb"https?://[^\s\"')]+", file.content) == [], name
    assert "<script>" not in answer.text
    assert not re.search(r"\son\w+=", answer.text)


def test_a_link_to_the_front_page_keeps_the_view(page: Page) -> None:
    page.goto("/#model=mnist-2d")
    wait_for_parts(page)
    assert httpx.URL(page.url).path == "/explore"
    expect(page.get_by_test_id("model")).to_have_value("mnist-2d")


def test_it_asks_for_a_key_and_keeps_it_for_the_session(browser: Browser) -> None:
    keys = f"viewer infer,store {KEY}"
    with (
        serving("--models", "mnist-2d", variables={"VAE_API_KEYS": keys}) as service,
        watching(browser, service.url) as opened,
    ):
        page, watched = opened
        assert httpx.get(service.url, headers=BROWSER).status_code == 307
        assert httpx.get(f"{service.url}/docs").status_code == 401
        page.goto("/explore")
        form, trouble = page.get_by_test_id("key"), page.get_by_test_id("trouble").first
        form.wait_for()
        watched.expect("401: GET")
        form.get_by_role("textbox").fill("wrong")
        page.keyboard.press("Enter")
        expect(trouble).to_contain_text("key")
        form.wait_for()
        watched.expect("401: GET")
        form.get_by_role("textbox").fill(KEY)
        page.keyboard.press("Enter")
        wait_for_parts(page)
        expect(form).to_have_count(0)
        expect(trouble).to_have_count(0)
        kept = page.evaluate("[JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]")
        assert KEY in kept[0]
        assert (kept[1], kept[2]) == ("{}", "")
        assert KEY not in page.url
        page.reload()
        wait_for_parts(page)
        expect(form).to_have_count(0)
    assert KEY not in service.log


def test_under_another_path(browser: Browser) -> None:
    with serving("--models", "mnist-2d", "--root-path", "/vae") as service, watching(browser, service.url) as (page, watched):
        for start in ("/vae", "/vae/", "/vae/explore"):
            page.goto(start)
            wait_for_parts(page)
            assert httpx.URL(page.url).path == "/vae/explore"
        assert {httpx.URL(one.url).path.split("/")[1] for one in watched.responses} == {"vae"}
