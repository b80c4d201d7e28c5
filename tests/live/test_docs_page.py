"""/docs: every example works, in the order of the page. A browser sends it when it is pressed, and sends a chosen file."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Response, expect

from .chromium import browsing, grave_findings, watching
from .documented_request import DocumentedRequest, documented_requests
from .server import ROOT, Server, serving

# An operation can be executed once Swagger UI has resolved its references.
RESOLVED = """block => {
const path = block.querySelector(".opblock-summary-path").dataset.path;
const method = block.querySelector(".opblock-summary-method").innerText.toLowerCase();
const resolved = ui.specSelectors.specResolvedSubtree(["paths", path, method]);
return block.querySelector(".execute") !== null && resolved?.get("operationId") !== undefined;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as running:
        yield running


@pytest.fixture(scope="module")
def service(browser: Browser) -> Iterator[Server]:
    with serving("--models", "mnist,fashion-mnist", variables={"VAE_ADMIN": "true"}) as running:
        yield running


@pytest.fixture
def page(browser: Browser, service: Server) -> Iterator[Page]:
    """/docs with every operation folded."""
    with watching(browser, service.url, viewport={"width": 1200, "height": 2000}) as (page, watched):
        page.goto("/docs")
        page.locator(".opblock").nth(20).wait_for()
        yield page
        watched.troubles = [trouble for trouble in watched.troubles if not trouble.startswith("warning")]  # by Swagger UI


def unfold(page: Page, name: str) -> Locator:
    """Return an operation that is ready to be executed."""
    block = page.locator(f"#operations-{name}")
    block.locator(".opblock-summary-control").evaluate("button => button.click()")
    page.wait_for_function(RESOLVED, arg=block.element_handle(), polling=50)  # not with every frame, which takes long here
    return block


def press(page: Page, block: Locator) -> Response:
    """Press Execute; the answer."""
    with page.expect_response(lambda response: response.request.resource_type == "fetch") as caught:
        block.locator(".execute").evaluate("button => button.click()")
    return caught.value


def references(node: Any) -> Iterator[str]:
    """Yield all $ref in a part of the OpenAPI document."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if name == "$ref":
            yield value
        else:
            yield from references(value)


def excerpt(document: dict[str, Any], identifiers: list[str]) -> dict[str, Any]:
    """Return a document with some operations only, and with what they refer to."""
    paths: dict[str, Any] = {}
    for path, item in document["paths"].items():
        if kept := {method: one for method, one in item.items() if one["operationId"] in identifiers}:
            paths[path] = kept
    components = {"securitySchemes": document["components"].get("securitySchemes", {})}
    to_do = list(references(paths))
    while to_do:
        _, _, kind, name = to_do.pop().split("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = document["components"][kind][name]
            to_do += references(components[kind][name])
    return document | {"paths": paths, "components": components}


ONLY_A_FILE = "decompress"  # It takes nothing but a file, and only /compress makes one.
# Together they have every method, every type of a body and of an answer, and every place of a value.
PRESSED = (
    *("encode", "sample", "make_collection", "add_items", "list_items", "get_item", "change_item", "delete_item"),
    *("reload_model", "get_metrics"),
)


def test_every_example_works(service: Server) -> None:
    """The requests are those of the browser: the next test compares them."""
    with httpx.Client(base_url=service.url, timeout=60) as client:
        requests = documented_requests(client.get("/openapi.json").raise_for_status().json())
        names = [request.operation for request in requests]
        assert names.index("add_items") < names.index("search_collection")
        assert [name for name in names if name.startswith("delete_")][-1] == "delete_collection"
        for request in requests:
            if request.operation != ONLY_A_FILE:
                headers = {"accept": request.accept}
                if request.content_type:
                    headers["content-type"] = request.content_type
                body = None if request.body is None else json.dumps(request.body)
                answer = client.request(request.method, request.path, headers=headers, content=body)
                assert answer.status_code == 200, (request, answer.text)


def sent(answer: Response, name: str) -> DocumentedRequest:
    """What the browser has sent for an operation."""
    request, headers = answer.request, answer.request.headers
    url = httpx.URL(request.url)
    body = json.loads(request.post_data) if request.post_data else None
    path = url.raw_path.decode()
    return DocumentedRequest(name, request.method, path, headers["accept"], headers.get("content-type"), body)


@pytest.mark.parametrize("pressed", [PRESSED, pytest.param(None, marks=pytest.mark.soak)], ids=["a few", "all"])
def test_a_pressed_example_is_sent(page: Page, service: Server, pressed: tuple[str, ...] | None) -> None:
    """With four operations on a page: Swagger UI reads all of the document again for each operation that is unfolded.

    They are folded again and have no styles, so that little is drawn.
    """
    document = httpx.get(f"{service.url}/openapi.json").json()
    names: list[str] = page.evaluate(
        "[...document.querySelectorAll('.opblock')].map(one => one.id.slice('operations-'.length))"
    )
    expected = {request.operation: request for request in documented_requests(document)}
    assert [name.rpartition("-")[2] for name in names] == list(expected)
    wanted = set(pressed or expected) - {ONLY_A_FILE}
    names = [name for name in names if name.rpartition("-")[2] in wanted]
    assert len(names) == len(wanted)
    part = document
    page.route("**/openapi.json", lambda route: route.fulfill(json=part))
    page.route("**/*.css", lambda route: route.fulfill(body="", content_type="text/css"))
    for first in range(0, len(names), 4):
        some = names[first : first + 4]
        part = excerpt(document, [name.rpartition("-")[2] for name in some])
        page.goto("/docs")
        for name in some:
            block, operation = unfold(page, name), name.rpartition("-")[2]
            answer = press(page, block)
            assert answer.status == 200, (name, answer.url, answer.text())
            assert sent(answer, operation) == expected[operation]
            block.locator(".opblock-summary-control").evaluate("button => button.click()")


SOAK = (pytest.param(block, marks=pytest.mark.soak) for block in ("inference-encode", "items-search_collection"))


@pytest.mark.parametrize("block", ["inference-reconstruct", "items-add_items", *SOAK])
def test_a_file_is_chosen_and_sent(page: Page, block: str) -> None:
    assert press(page, unfold(page, "collections-make_collection")).status == 200
    unfolded = unfold(page, block)
    unfolded.locator("select.content-type").first.select_option("multipart/form-data")
    unfolded.locator("input[type=file]").set_input_files(ROOT / "examples" / "seven.png")
    assert press(page, unfolded).status == 200
    shown = unfolded.locator(".live-responses-table")
    if block == "inference-reconstruct":
        expect(shown.locator("img")).to_be_visible()
    else:
        expect(shown).to_contain_text({"encode": '"mu"', "add_items": "seven.png"}.get(block.rpartition("-")[2], "{"))


def test_both_ends_of_a_path_are_files(page: Page) -> None:
    unfolded = unfold(page, "inference-interpolate")
    unfolded.locator("select.content-type").first.select_option("multipart/form-data")
    fields = unfolded.locator("input[type=file]")
    fields.nth(1).wait_for()
    for field, file in zip(fields.all(), ("seven.png", "two.png"), strict=True):
        field.set_input_files(ROOT / "examples" / file)
    assert press(page, unfolded).status == 200


def test_what_is_ours_is_accessible(page: Page) -> None:
    """The rest is Swagger UI's: its colours, and its links within buttons."""
    assert {rule for rule, _ in grave_findings(page)} <= {"color-contrast", "nested-interactive"}
    assert page.locator("html").get_attribute("lang") == "en"
    expect(page.get_by_role("main")).to_be_visible()
