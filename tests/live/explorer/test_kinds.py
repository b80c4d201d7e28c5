"""The page with models of drawings, texts and table rows: what is drawn, written or filled in; and conditions."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, expect

from models import checkpoint
from models.golden import write_golden
from tests.live.chromium import Watched, grave_findings
from tests.live.explorer.on_page import InFlight, expect_pixels, printed, state, stroke
from tests.live.server import WEIGHTS, Server, serving
from tests.service.kinds.tiny_models import DATA, save_kinds

BIRDS = "/explore#model=penguins&collection=birds"
COLUMNS = ["species", "island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex", "year"]
UNKNOWN = re.compile("NaN|undefined|null")


@pytest.fixture(scope="module")
def service(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service of a tiny model of each kind with examples, and the penguins as a collection."""
    directory = tmp_path_factory.mktemp("kinds")
    for name, rows in save_kinds(directory).items():
        write_golden(directory / name, checkpoint.read(directory / name), rows)
    (directory / "mnist-labelled").symlink_to(WEIGHTS / "mnist-labelled")
    with serving("--models-dir", str(directory), "--models", "strokes,lines,penguins,grey,mnist-labelled") as running:
        with httpx.Client(base_url=running.url, timeout=60) as client:
            client.put("/collections/birds?model=penguins").raise_for_status()
            client.post("/collections/birds/items", content=(DATA / "penguins.csv").read_bytes()).raise_for_status()
        yield running


def seen(client: httpx.Client, model: str, z: str) -> NDArray[np.uint8]:
    """What a point of the address is decoded to, as the service shows it: grey (H, W) or (H, W, 3)."""
    body = {"z": [[float(value) for value in z.split(",")]]}
    answer = client.post(f"/decode?model={model}&view=picture&format=npy", json=body).raise_for_status()
    pixels: NDArray[np.uint8] = np.load(io.BytesIO(answer.content))[0]
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def data_of(client: httpx.Client, model: str, said: dict[str, str], key: str) -> Any:
    """What z of the address is decoded to, as data."""
    z = [[float(value) for value in said["z"].split(",")]]
    return client.post(f"/decode?model={model}", json={"z": z}).raise_for_status().json()[key][0]


def next_item(page: Page, old: str | None = None) -> dict[str, str]:
    """Wait until the address has an item, another one than before; what it says then."""
    changed = "(old) => ![null, old].includes(new URLSearchParams(location.hash.slice(1)).get('x'))"
    page.wait_for_function(changed, arg=old)
    return state(page)


def take(page: Page, name: str, content: str) -> None:
    page.get_by_test_id("picture-file").set_input_files({"name": name, "mimeType": "", "buffer": content.encode()})


def test_a_drawing_is_sent_as_lines_and_a_link_shows_the_same(page: Page, client: httpx.Client) -> None:
    encodes = InFlight(page, lambda request: "/encode" in request.url)
    page.goto("/explore#model=strokes")
    pad, of_z = page.get_by_test_id("picture-canvas"), page.get_by_test_id("picture-decoded")
    page.get_by_test_id("picture-example-0").wait_for()
    stroke(page, pad, [(0.2, 0.2), (0.8, 0.2), (0.5, 0.8)])
    first, url = next_item(page), page.url
    points = json.loads(first["x"])
    assert [pen for _, _, pen in points] == [0] * (len(points) - 1) + [1]
    assert len(points) < 24
    assert points[1][0] > 30 > abs(points[1][1])  # to the right; in units of the training data, whose drawings have 100
    bodies = [json.loads(one.post_data or "") for one in encodes.all]
    assert bodies[0]["sketch"].startswith("M")
    assert bodies[-1] == {"sketch": points}
    expect_pixels(of_z, seen(client, "strokes", first["z"]))
    stroke(page, pad, [(0.3, 0.6), (0.7, 0.6)])
    second = next_item(page, first["x"])
    assert [pen for _, _, pen in json.loads(second["x"])].count(1) == 2
    drawn = pad.locator("path").get_attribute("d") or ""
    assert drawn.count("M") == 2
    page.get_by_test_id("undo").click()
    expect(page).to_have_url(url)
    assert drawn.startswith(pad.locator("path").get_attribute("d") or "nothing")  # where it was drawn
    page.goto("about:blank")
    page.goto(f"/explore#{httpx.QueryParams(second)}")
    expect(page.get_by_test_id("picture-caption")).to_have_text("picture of z: the reconstruction")
    expect_pixels(of_z, seen(client, "strokes", second["z"]))
    assert (pad.locator("path").get_attribute("d") or "").count("M") == 2
    expect(page.get_by_test_id("picture-words")).to_contain_text("nothing to compare with")
    assert state(page) == second
    npy = np.load(io.BytesIO(printed(page.get_by_test_id("picture-z-copy-curl"))))
    np.testing.assert_array_equal(npy[0, ..., 0], seen(client, "strokes", second["z"]))


def test_a_cell_is_changed_and_its_neighbours_and_scores_follow(page: Page, watched: Watched, client: httpx.Client) -> None:
    page.goto(BIRDS)
    page.get_by_test_id("picture-example-0").click()
    before = next_item(page)
    row = json.loads(before["x"])
    assert list(row) == COLUMNS
    cells, summary = page.get_by_test_id("picture-cells"), page.get_by_test_id("neighbors-summary")
    expect(summary).to_contain_text("The 12 nearest items. Distances (l2)")
    nearest = summary.inner_text()
    mass = page.get_by_test_id(f"picture-cell-{COLUMNS.index('body_mass_g')}")
    expect(mass).to_have_value(f"{row['body_mass_g']}")
    mass.fill("6000" if row["body_mass_g"] < 4500 else "2800")
    mass.blur()
    after = next_item(page, before["x"])
    expect(summary).not_to_have_text(nearest)
    expect(page.get_by_test_id("picture-words")).to_contain_text(re.compile(r"The least likely cell: \w+\."))
    parts = client.post("/score?model=penguins", json={"row": json.loads(after["x"])}).json()["scores"]["surprise"]["columns"]
    expect(cells.locator("tbody tr td:last-child")).to_have_text([f"{parts[0][name]:.1f}" for name in COLUMNS])
    page.get_by_test_id("picture-cell-0").select_option("missing")
    said = next_item(page, after["x"])
    assert json.loads(said["x"]) == {**json.loads(after["x"]), "species": None}
    filled = client.post("/reconstruct?model=penguins", json={"row": json.loads(said["x"])}).json()
    assert filled["filled"] == [["species"]]
    expect(page.get_by_test_id("picture-made-0")).to_have_text(filled["rows"][0]["species"])
    expect(page.get_by_test_id("picture-made-0")).to_have_class("filled")
    expect_pixels(page.get_by_test_id("picture-decoded"), seen(client, "penguins", said["z"]))
    mass.fill("heavy")
    mass.blur()
    trouble = page.get_by_test_id("picture").get_by_test_id("trouble")
    expect(trouble).to_contain_text("column 'body_mass_g'")
    watched.expect("422: POST")
    assert state(page) == said
    page.reload()
    expect(page.get_by_test_id("picture-made-0")).to_have_text(filled["rows"][0]["species"])
    expect(page.get_by_test_id("neighbors-item-0")).to_be_visible()
    assert state(page) == said
    assert not UNKNOWN.search(page.locator("main").inner_text())


def test_a_text_is_written_and_is_one_step_to_undo(page: Page, client: httpx.Client) -> None:
    page.goto("/explore#model=lines")
    page.get_by_test_id("picture-example-1").click()
    before, url = next_item(page), page.url
    field, made = page.get_by_test_id("picture-text"), page.get_by_test_id("picture-data")
    expect(field).to_have_value(json.loads(before["x"]))
    field.fill("")
    field.press_sequentially("the digits")
    page.wait_for_function("() => new URLSearchParams(location.hash.slice(1)).get('x') === '\"the digits\"'")
    said = state(page)
    text = data_of(client, "lines", said, "texts")
    expect(made).to_have_text(text)
    expect_pixels(page.get_by_test_id("picture-decoded"), seen(client, "lines", said["z"]))
    page.get_by_test_id("undo").click()
    expect(field).to_have_value(json.loads(before["x"]))
    expect(page).to_have_url(url)
    field.fill("the digits")
    next_item(page, before["x"])
    page.reload()
    expect(field).to_have_value("the digits")
    expect(made).to_have_text(text)
    assert state(page) == said
    expect(page.locator("#picture-title")).to_have_text("Text")
    page.get_by_test_id("picture-clear").click()
    expect(field).to_have_value("")


@pytest.mark.parametrize(
    ("model", "name", "content", "items", "said"),
    [
        ("strokes", "a.svg", '<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h9v9"/></svg>', 1, ""),
        ("lines", "a.txt", "the digits\n", 1, ""),
        (
            "penguins",
            "a.csv",
            "species,body_mass_g\nGentoo,5000\nAdelie,NA\n",
            2,
            "The file has 2 rows, of which this is the first.",
        ),
    ],
)
def test_files(page: Page, model: str, name: str, content: str, items: int, said: str) -> None:
    page.goto(f"/explore#model={model}")
    page.get_by_test_id("picture-example-0").wait_for()
    take(page, name, content)
    item = json.loads(next_item(page)["x"])
    if model == "strokes":
        assert [[round(dx), round(dy), pen] for dx, dy, pen in item] == [[0, 0, 0], [100, 0, 0], [0, 100, 1]]
    elif model == "lines":
        assert item == "the digits"
    else:
        assert {name: cell for name, cell in item.items() if cell is not None} == {"species": "Gentoo", "body_mass_g": 5000}
    warning = page.get_by_test_id("picture-warning")
    expect(warning).to_have_count(items - 1)
    assert said in "".join(warning.all_inner_texts())


@pytest.mark.parametrize("options", [{"viewport": {"width": 390, "height": 800}}], ids=["narrow"])
@pytest.mark.parametrize("model", ["strokes", "lines", "penguins"])
def test_it_is_accessible_and_does_not_scroll_sideways(page: Page, model: str) -> None:
    page.goto(f"/explore#model={model}")
    page.get_by_test_id("picture-example-0").click()
    next_item(page)
    page.wait_for_load_state("networkidle")
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1], "it scrolls sideways"
    assert grave_findings(page) == []


def test_items_of_other_kinds_in_a_link_are_left_out(page: Page) -> None:
    links = [
        ("strokes", "[[1]]"),
        ("penguins", "[]"),
        ("grey", '"text"'),
        ("lines", '"'),
        ("strokes", '{"a": 1}'),
        ("lines", "AAAA"),
    ]
    for model, x in links:  # the page stays, only the fragment of its address changes
        page.goto(f"/explore#{httpx.QueryParams({'model': model, 'x': x})}")
        expect(page.get_by_test_id("model")).to_have_value(model)
        expect(page.get_by_test_id("picture-caption")).to_have_text("picture of z")
        expect(page.get_by_test_id("trouble")).to_have_count(0)
    page.wait_for_load_state("networkidle")


def test_neighbours_and_a_dragged_example_are_ends_of_the_path(page: Page, client: httpx.Client) -> None:
    page.goto(BIRDS)
    page.get_by_test_id("neighbors-item-0").focus()
    page.keyboard.press("a")
    page.get_by_test_id("picture-example-2").focus()
    page.keyboard.press("b")
    expect(page).to_have_url(re.compile("&a=.*&b="))
    example = client.get("/models/penguins/examples").json()["rows"][2]
    mu = client.post("/encode?model=penguins", json={"row": example}).json()["mu"][0]
    assert [float(value) for value in state(page)["b"].split(",")] == mu
    expect(page.get_by_test_id("path-linear-frame-11")).to_be_visible()


def test_a_conditional_model_is_told_the_label(page: Page, client: httpx.Client) -> None:
    page.goto("/explore#model=mnist-labelled")
    page.get_by_test_id("picture-example-0").click()
    said = next_item(page)
    of_z, words = page.get_by_test_id("picture-decoded"), page.get_by_test_id("picture-caption")
    body = {"z": [[float(value) for value in said["z"].split(",")]]}

    def told(label: str) -> NDArray[np.uint8]:
        answer = client.post(f"/decode?model=mnist-labelled&label={label}&format=npy", json=body).raise_for_status()
        pixels: NDArray[np.uint8] = np.load(io.BytesIO(answer.content))[0, ..., 0]
        return pixels

    expect_pixels(of_z, told("0"))
    expect(words).to_have_text("picture of z: the reconstruction")
    page.get_by_test_id("label").select_option("7")
    expect_pixels(of_z, told("7"))
    expect(words).to_have_text("picture of z")
    assert {**state(page), "label": "7"} == {name: value for name, value in {**said, "label": "7"}.items() if name != "x"}
    page.reload()
    expect_pixels(of_z, told("7"))
    expect(page.get_by_test_id("label")).to_have_value("7")
    page.wait_for_load_state("networkidle")
