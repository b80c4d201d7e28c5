"""/docs in a browser: every example works when it is pressed, in the order of the page, and a chosen file is sent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browser import MISSING, Browser, browsing
from .server import ROOT, Server, serving

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

# Remembers the status of each answer to the page.
WATCH = """
window.answers = [];
window.requests = 0;
const ask = window.fetch;
window.fetch = async (...request) => {
    window.requests += 1;
    const answer = await ask(...request);
    window.answers.push([String(answer.url), answer.status, await answer.clone().text()]);
    return answer;
};
"""
CHOOSE = """
const set = Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, "value").set;
const select = document.querySelector(`#${arguments[0]} select.content-type`);
set.call(select, arguments[1]);
select.dispatchEvent(new Event("change", {bubbles: true}));
"""
CLICK = """
const [block, before] = arguments;
window.clicked ??= {};
if (window.requests == before && Date.now() - (window.clicked[before] ?? 0) > 2000) {
    window.clicked[before] = Date.now();
    document.querySelector(`#${block} .execute`).click();
}
return window.requests > before;
"""
# An operation can be executed once Swagger UI has resolved its references.
EXECUTE = """
const block = document.querySelector(`#${arguments[0]}`);
const path = block.querySelector(".opblock-summary-path").dataset.path;
const method = block.querySelector(".opblock-summary-method").innerText.toLowerCase();
const resolved = ui.specSelectors.specResolvedSubtree(["paths", path, method]);
return block.querySelector(".execute") !== null && resolved?.get("operationId") !== undefined;
"""


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    with serving("--models", "mnist,fashion-mnist", variables={"VAE_ADMIN": "true"}) as running:
        yield running


@pytest.fixture
def page(service: Server, tmp_path: Path) -> Iterator[Browser]:
    """/docs with every operation folded."""
    with browsing(tmp_path) as browser:
        browser.open(f"{service.url}/docs")
        browser.wait("return document.querySelectorAll('.opblock').length > 20")
        browser.run(WATCH)
        yield browser


def blocks(browser: Browser) -> list[str]:
    """The operations in the order of the page."""
    found: list[str] = browser.run("return [...document.querySelectorAll('.opblock')].map(one => one.id)")
    return found


def fold(browser: Browser, block: str) -> None:
    """Unfold an operation, or fold it again: a page of unfolded operations takes seconds for each click."""
    browser.run("document.querySelector(`#${arguments[0]} .opblock-summary-control`).click()", block)


def press(browser: Browser, block: str) -> tuple[str, int, str]:
    """Press Execute; (address, status, text) of the answer."""
    if not browser.run(f"return document.querySelector('#{block} .execute')"):
        fold(browser, block)
    browser.wait(EXECUTE, block)
    before = browser.run("return window.answers.length")
    browser.wait(CLICK, block, before)  # A click is lost while the page is still rendering.
    url, status, text = browser.wait("return window.answers.length > arguments[0] && window.answers.at(-1)", before)
    return url, status, text


def test_every_example_works(page: Browser) -> None:
    names = blocks(page)
    assert names.index("operations-items-add_items") < names.index("operations-items-search_collection")
    assert [name.rpartition("-")[2] for name in names if "-deletion-" in name][-1] == "delete_collection"
    for name in names:
        if name == "operations-inference-decompress":  # It takes nothing but a file, and only /compress makes one.
            continue
        url, status, text = press(page, name)
        assert status == 200, (name, url, text)
        fold(page, name)


@pytest.mark.parametrize("block", ["inference-encode", "inference-reconstruct", "items-add_items", "items-search_collection"])
def test_a_file_is_chosen_and_sent(page: Browser, block: str) -> None:
    name = f"operations-{block}"
    assert press(page, "operations-collections-make_collection")[1] == 200
    fold(page, name)
    page.wait(EXECUTE, name)
    page.run(CHOOSE, name, "multipart/form-data")
    field: dict[str, Any] = page.wait("return document.querySelector(`#${arguments[0]} input[type=file]`)", name)
    page.choose_file(field, ROOT / "examples" / "seven.png")
    _, status, text = press(page, name)
    assert status == 200, text
    expected = {"encode": '"mu":[[0.131', "add_items": "seven.png", "reconstruct": "PNG"}
    assert expected.get(block.rpartition("-")[2], "{") in text


def test_both_ends_of_a_path_are_files(page: Browser) -> None:
    name = "operations-inference-interpolate"
    fold(page, name)
    page.wait(EXECUTE, name)
    page.run(CHOOSE, name, "multipart/form-data")
    find = (
        "const found = document.querySelectorAll(`#${arguments[0]} input[type=file]`); return found.length == 2 && [...found]"
    )
    for field, file in zip(page.wait(find, name), ("seven.png", "two.png"), strict=True):
        page.choose_file(field, ROOT / "examples" / file)
    assert press(page, name)[1] == 200
