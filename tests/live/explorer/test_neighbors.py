"""The part "Neighbours" of /explore: what a search finds, and what to do where there is nothing to find."""

import base64
import json
import subprocess

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.live.chromium import Watched
from tests.live.explorer.on_page import state
from tests.live.server import ROOT, Server

SEVEN = ROOT / "examples/seven.png"
SUMMARY = "neighbors-summary"


@pytest.fixture(scope="module")
def collection(service: Server) -> str:
    """A collection of 60 drawn digits, six of each label, as posteriors."""
    url = f"{service.url}/collections/drawn"
    httpx.put(url, json={"model": "mnist", "metric": "w2", "sigma_weight": 6}).raise_for_status()
    items = []
    for label in range(10):
        drawn = httpx.get(f"{service.url}/sample?model=mnist&label={label}&n=6&seed={label}", timeout=60).json()["images"]
        items += [{"id": f"{label}/{i}", "image": image, "metadata": {"label": label}} for i, image in enumerate(drawn)]
    httpx.post(f"{url}/items", json={"items": items}, timeout=60).raise_for_status()
    return "drawn"


def opened(page: Page, address: str) -> None:
    page.goto(f"/explore#{address}")
    page.get_by_test_id(SUMMARY).wait_for()
    page.wait_for_load_state("networkidle")


def test_a_picture_is_searched_with_its_sigma_and_the_same_is_had_by_curl(
    page: Page, service: Server, watched: Watched, collection: str
) -> None:
    encoded = httpx.post(f"{service.url}/encode?model=mnist", content=SEVEN.read_bytes(), timeout=60).json()
    mu = ",".join(map(str, encoded["mu"][0]))
    x = httpx.QueryParams({"x": base64.b64encode(SEVEN.read_bytes()).decode()})
    opened(page, f"model=mnist&collection={collection}&z={mu}&home={mu}&{x}")
    url = f"{service.url}/collections/{collection}/search?k=12"
    found = httpx.post(url, content=SEVEN.read_bytes(), timeout=60).json()
    assert found["metric"] == "w2"
    sevens = sum(one["metadata"]["label"] == 7 for one in found["neighbors"])
    assert sevens >= 4
    expect(page.get_by_test_id(SUMMARY)).to_contain_text(f"{sevens} of the 12 nearest have the label 7. Distances (w2): ")
    for i, one in enumerate(found["neighbors"]):
        label = f"label {one['metadata']['label']}, distance {one['distance']:.2f}"
        expect(page.get_by_test_id(f"neighbors-item-{i}")).to_have_attribute("aria-label", label)
    received = [one for one in watched.responses if "/search?" in one.url][-1].body()
    command = page.get_by_test_id("neighbors-copy-curl").get_attribute("data-content")
    assert command is not None
    assert subprocess.run(["bash", "-c", command], capture_output=True, timeout=60).stdout == received


def test_a_point_has_no_sigma_and_items_lead_on(page: Page, service: Server, watched: Watched, collection: str) -> None:
    z = [0.5] * 20
    opened(page, f"model=mnist&collection={collection}&z={','.join(map(str, z))}")
    expect(page.get_by_test_id("neighbors")).to_contain_text("This point was moved, so only its position is compared (l2).")
    asked = {"mu": z, "metric": "l2", "k": 12, "include": ["mu"]}
    found = httpx.post(f"{service.url}/collections/{collection}/search", json=asked, timeout=60).json()["neighbors"]
    second, third = (",".join(map(str, one["mu"])) for one in found[1:3])
    page.get_by_test_id("neighbors-item-2").press("a")
    page.get_by_test_id("neighbors-item-1").click()
    label = found[1]["metadata"]["label"]
    expect(page.get_by_test_id("neighbors-item-0")).to_have_attribute("aria-label", f"label {label}, distance 0.00")
    expect(page.get_by_test_id("picture-item")).to_contain_text(f"z is item {found[1]['id']} (label {label}) of {collection}")
    expect(page.get_by_test_id("neighbors")).not_to_contain_text("only its position")
    said = state(page)
    assert (said["z"], said["home"], said["a"], said["item"]) == (second, second, third, found[1]["id"])
    by_id = httpx.post(f"{service.url}/collections/{collection}/search", json={"id": said["item"], "k": 12}, timeout=60).json()
    assert by_id["metric"] == "w2"
    low, high = by_id["neighbors"][0]["distance"], by_id["neighbors"][-1]["distance"]
    expect(page.get_by_test_id(SUMMARY)).to_contain_text(f"Distances (w2): {low:.2f} to {high:.2f}.")
    page.get_by_test_id("directions-slider-0").press("PageUp")
    expect(page.get_by_test_id("neighbors")).to_contain_text("so only its position is compared (l2)")
    page.get_by_test_id("neighbors-metric").select_option("jeffreys")
    expect(page.get_by_test_id("neighbors").get_by_test_id("trouble")).to_contain_text("jeffreys needs a sigma")
    watched.expect("422: POST")


def test_filters_are_chosen_or_written(page: Page, watched: Watched, collection: str) -> None:
    opened(page, f"model=mnist&collection={collection}")
    page.get_by_test_id("neighbors-chip-3").click()
    expect(page.get_by_test_id(SUMMARY)).to_contain_text("6 of the 6 nearest have the label 3")
    field = page.get_by_test_id("neighbors-filter")
    assert json.loads(field.input_value()) == {"label": 3}
    field.fill('{"label": {"in": [1, 2]}, "lable": 3}')
    field.press("Enter")
    expect(page.get_by_test_id("neighbors")).to_contain_text("No item has the key 'lable'; did you mean 'label'?")
    expect(page.get_by_test_id(SUMMARY)).to_have_text("No item was found.")
    field.fill("{label")
    field.press("Enter")
    expect(page.get_by_test_id("neighbors").get_by_test_id("trouble")).to_contain_text("filter must be a JSON object")
    watched.expect("422: POST")
    page.get_by_test_id("neighbors-chip-all").click()
    expect(page.get_by_test_id(SUMMARY)).to_contain_text("of the 12 nearest")


def test_an_unknown_collection_is_not_chosen(page: Page, collection: str) -> None:
    page.goto("/explore#model=mnist&collection=nobody")
    expect(page.get_by_test_id("trouble")).to_have_text("this model has no collection 'nobody'; choose another one")
    expect(page.get_by_test_id("neighbors-none")).to_contain_text("No collection is chosen")
    page.get_by_test_id("collection").select_option(collection)
    expect(page.get_by_test_id(SUMMARY)).to_contain_text("of the 12 nearest")


def test_without_a_collection_it_says_how_to_make_one(page: Page) -> None:
    page.route("**/collections?*", lambda route: route.fulfill(json={"collections": []}))
    page.goto("/explore#model=mnist-2d")
    expect(page.get_by_test_id("neighbors-command")).to_contain_text("service.store load --collection mine --model mnist-2d")
