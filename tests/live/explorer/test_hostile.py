"""What must not break /explore: odd metadata, addresses that cannot be used, foreign drags, unusable keys."""

import re

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.live.chromium import Watched
from tests.live.explorer.on_page import state
from tests.live.server import Server

LONG = "long " * 600
# More values than colours: from the ends of what a number can be, and so near to each other that three digits are too few.
WIDE = [1.7e308, -1.7e308, 5e-324, *range(9)]
NEAR = [9007199254740993 + 4 * i for i in range(12)]


@pytest.fixture(scope="module")
def odd(service: Server) -> None:
    """A collection "odd" whose metric needs a sigma that its items do not have, with metadata that nobody expects."""
    with httpx.Client(base_url=service.url, timeout=60) as client:
        client.put("/collections/odd", json={"model": "mnist-2d", "metric": "jeffreys"}).raise_for_status()
        metadata = [
            {
                "kind": "__proto__" if i % 2 else "constructor",
                "__proto__": "toString",
                "long": f"{i % 2} {LONG}",
                "k" * 3000: "x",
                "a,b": i % 2,
                "": i % 2,
                "wide": wide,
                "near": near,
                **{f"more {n}": None for n in range(8)},
                "label": i % 3,
            }
            for i, (wide, near) in enumerate(zip(WIDE, NEAR, strict=True))
        ]
        items = [{"id": f"{i}", "mu": [i % 4 - 1.5, i // 4 - 1], "metadata": one} for i, one in enumerate(metadata)]
        client.post("/collections/odd/items", json={"items": items}).raise_for_status()


def legend(page: Page, key: str) -> list[str]:
    """What the legend of the map says of the values of a key."""
    page.goto(f"/explore#model=mnist-2d&collection=odd&color={key}")
    page.reload()
    classes = page.locator("[data-testid^=map-class-]")
    classes.first.wait_for()
    return [one.strip() for one in classes.all_inner_texts()]


@pytest.mark.usefixtures("odd")
def test_values_with_names_of_the_language_have_colours(page: Page) -> None:
    assert legend(page, "kind") == ["__proto__", "constructor"]
    assert legend(page, "__proto__") == ["toString"]
    expect(page.get_by_test_id("map-canvas")).to_have_attribute("data-points", str(len(WIDE)))


@pytest.mark.usefixtures("odd")
def test_ranges_of_numbers_are_told_apart(page: Page) -> None:
    wide, near = legend(page, "wide"), legend(page, "near")
    assert len(set(wide)) == len(wide) > 1
    assert len(set(near)) == len(near) > 1
    for name in wide + near:
        low, high = map(float, name.split(" to "))
        assert -1.8e308 < low < high < 1.8e308
    assert (wide[0].split(" to ")[0], wide[-1].split(" to ")[1]) == ("-1.7e+308", "1.7e+308")


@pytest.mark.usefixtures("odd")
def test_items_without_sigma_can_be_pointed_at(page: Page) -> None:
    page.goto("/explore#model=mnist-2d&collection=odd&lasso=-9,-9,9,-9,9,9,-9,9")
    expect(page.get_by_test_id("map-chosen-count")).to_contain_text(f"{len(WIDE)} items")
    page.get_by_test_id("map-chosen-0").wait_for()
    page.get_by_test_id("map-canvas").hover()
    page.get_by_test_id("map-nearest-item").wait_for()
    expect(page.get_by_test_id("map").get_by_test_id("trouble")).to_have_count(0)


@pytest.mark.usefixtures("odd")
def test_keys_that_cannot_be_asked_for_are_left_out(page: Page) -> None:
    page.goto("/explore#model=mnist-2d&collection=odd&color=a,b")
    expect(page.get_by_test_id("map-left-out")).to_contain_text("3 keys are left out")
    expect(page.get_by_test_id("map-color")).to_have_value("label")
    expect(page.locator("[data-testid^=neighbors-chip-]")).to_have_text(["all", "0", "1", "2"])


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize("options", [{"viewport": {"width": width, "height": 800}} for width in (1280, 390)], ids=str)
def test_long_metadata_does_not_widen_the_page(page: Page) -> None:
    assert len(legend(page, "long")) == 2
    page.get_by_test_id("map-canvas").hover()
    page.get_by_test_id("map-nearest-item").wait_for()
    page.get_by_test_id("neighbors-item-0").wait_for()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    tallest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.map-card, .legend, .neighbors li')].map((one) => one.offsetHeight))"
    )
    assert tallest < 800


def test_a_part_that_fails_leaves_the_others_and_recovers(page: Page, watched: Watched) -> None:
    nonsense = {"plane": {"origin": [0, 0], "axes": [[1, 0], [0, 1]]}, "points": 7, "ids": 7, "count": 7}
    page.route(re.compile(r"/map\?"), lambda route: route.fulfill(json=nonsense))
    page.goto("/explore#model=mnist-2d")
    page.get_by_test_id("map-again").wait_for()
    expect(page.get_by_test_id("map")).to_contain_text("This part of the page has failed")
    for part in ("picture", "path", "directions", "neighbors"):
        page.get_by_test_id(part).wait_for()
    page.unroute_all()
    page.get_by_test_id("model").select_option("mnist")
    page.get_by_test_id("map-canvas").wait_for()
    watched.expect("console")


BAD_FIELDS = [
    *("seed=-1", "seed=1.5", "seed=1e300", "seed=", "steps=2", "steps=33", "steps=x", "frame=-1", "frame=32", "graph=2"),
    *("metric=nope", "metric=constructor", "plane=pc", "plane=1", "plane=1,2,3", "directions=constructor", "hide=all"),
    *(
        "z=",
        "z=1e39,0",
        "z=1,,2",
        "z=NaN,1",
        "view=1,2",
        "view=1,2,0",
        "view=0,0,1e99",
        "lasso=1,2,3,4",
        "lasso=1,2,3,4,5,6,7",
    ),
]


def test_fields_that_cannot_be_used_are_left_out(page: Page) -> None:
    page.goto("/explore#model=mnist-2d")
    page.get_by_test_id("map-canvas").wait_for()
    for field in BAD_FIELDS:
        page.evaluate("field => { location.hash = '#model=mnist-2d&' + field; }", field)
        page.wait_for_function("(dispatchEvent(new Event('pagehide')), location.hash) === '#model=mnist-2d'")
    page.wait_for_load_state("networkidle")
    expect(page.get_by_test_id("trouble")).to_have_count(0)


FOREIGN = [
    *(("latent", text) for text in ('{"length":20}', "5", "{}", '"abc"', "notjson", "[1]", "[1,null]", "[1e39,0]", "[]")),
    ("picture", "no base64!"),
]
DROP = """([target, type, text]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.setData(`application/x-${type}`, text);
    const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
    document.querySelector(`[data-testid=${target}]`).dispatchEvent(drop);
}"""


@pytest.mark.parametrize("target", ["path-a", "picture-drop"])
def test_what_another_page_drags_here_is_checked(page: Page, target: str) -> None:
    page.goto("/explore#model=mnist-2d&z=0,0&home=0,0&a=0,0&b=1,1")
    place = page.get_by_test_id(target)
    trouble = place.get_by_test_id("trouble")
    place.wait_for()
    for kind, text in FOREIGN:
        page.evaluate(DROP, [target, kind, text])
        expect(trouble).to_contain_text("no point of this model, which has 2 numbers")
        page.evaluate(DROP, [target, "latent", "[0.5,0.25]"])
        expect(trouble).to_have_count(0)
    field = "a" if target == "path-a" else "z"
    page.wait_for_url(re.compile(f"{field}=0.5,0.25"))


def test_the_newest_drop_wins_at_an_end(page: Page, watched: Watched) -> None:
    page.goto("/explore#model=mnist-2d&a=0,0&b=1,1")
    trouble = page.get_by_test_id("path-a").get_by_test_id("trouble")
    page.get_by_test_id("path-a-picture").wait_for()
    page.evaluate(DROP, ["path-a", "picture", "bm8gcGljdHVyZQ=="])
    trouble.wait_for()
    held: list[Route] = []
    page.route("**/encode*", lambda route: held.append(route))
    with page.expect_request("**/encode*"):
        page.evaluate(DROP, ["path-a", "picture", "bm8gcGljdHVyZQ=="])
    page.evaluate(DROP, ["path-a", "latent", "[2,2]"])
    page.wait_for_url(re.compile("a=2,2"))
    with page.expect_response("**/encode*") as late:
        held[0].fulfill(json={"mu": [[3, 3]]})
    late.value.finished()
    expect(trouble).to_have_count(0)
    assert state(page)["a"] == "2,2"
    watched.expect("POST")


def test_it_says_that_an_answer_is_late(page: Page) -> None:
    held: list[Route] = []
    page.clock.install()
    page.route("**/models", lambda route: held.append(route))
    page.goto("/explore#model=mnist-2d")
    page.get_by_test_id("waiting").get_by_text("Loading").wait_for()
    page.clock.fast_forward(6000)
    expect(page.get_by_test_id("waiting")).to_contain_text("Still waiting")
    held[0].continue_()
    page.get_by_test_id("map-canvas").wait_for()
    expect(page.get_by_test_id("waiting")).to_have_text("")


def test_a_model_that_is_unloaded_is_no_longer_offered(page: Page, service: Server, watched: Watched) -> None:
    """Whichever request of the page meets it first: then the map is gone, so nothing here waits for it."""
    page.goto("/explore#model=mnist-2d")
    expect(page.get_by_test_id("map-view")).to_have_attribute("aria-busy", "false")
    page.get_by_test_id("map-canvas").hover()
    page.get_by_test_id("map-nearest-item").wait_for()
    box = page.get_by_test_id("map-canvas").bounding_box()
    assert box is not None
    answer = httpx.get(f"{service.url}/models", timeout=60).json()
    answer["models"] = [one for one in answer["models"] if one["name"] != "mnist-2d"]
    gone = {"code": "unknown_model", "detail": "there is no model 'mnist-2d'"}
    page.route("**/models", lambda route: route.fulfill(json=answer))
    page.route("**/decode*", lambda route: route.fulfill(status=404, json=gone))
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    page.get_by_text("there is no model 'mnist-2d'; choose another one").wait_for()
    expect(page.get_by_test_id("trouble")).to_have_count(1)
    page.unroute_all()
    page.get_by_test_id("model").select_option("mnist")
    page.get_by_test_id("map-canvas").wait_for()
    watched.expect("404: POST")
