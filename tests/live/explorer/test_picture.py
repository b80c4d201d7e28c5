"""The part "Picture" of /explore: pictures of every origin, what is said of them, and the picture of z."""

import base64
import io
import re
import subprocess

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.live.chromium import Watched
from tests.live.explorer.on_page import InFlight, expect_pixels, pixels_of, state, stroke
from tests.live.pictures import encoded
from tests.live.server import ROOT

SEVEN = [(0.3, 0.28), (0.7, 0.28), (0.45, 0.8)]
NATS = re.compile(r"KL [0-9]+\.[0-9] nats in all; the model's test pictures have [0-9]+ to [0-9]+")


def digit(i: int) -> NDArray[np.uint8]:
    digits: NDArray[np.uint8] = np.load(ROOT / "tests/data/digits.npz")["images"]
    one: NDArray[np.uint8] = digits[i].reshape(28, 28)
    return one


def begin(page: Page, model: str = "mnist") -> dict[str, str]:
    """Open the page and take the first example; what the address says then."""
    page.goto(f"/explore#model={model}")
    page.get_by_test_id("picture-example-0").click()
    return next_picture(page)


def colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[..., None].repeat(3, -1)


def next_picture(page: Page, x: str | None = None) -> dict[str, str]:
    """Wait until the address has a picture, another one than x; what it says then."""
    changed = "(old) => ![null, old].includes(new URLSearchParams(location.hash.slice(1)).get('x'))"
    page.wait_for_function(changed, arg=x)
    return state(page)


def decoded(client: httpx.Client, z: str, model: str = "mnist") -> NDArray[np.uint8]:
    answer = client.post(f"/decode?model={model}&format=png", json={"z": [[float(value) for value in z.split(",")]]})
    return np.asarray(Image.open(io.BytesIO(answer.raise_for_status().content)).convert("RGB"))


def draw(page: Page, *strokes: list[tuple[float, float]]) -> None:
    """Draw strokes, given as shares of the canvas, with the pointer."""
    for one in strokes:
        stroke(page, page.get_by_test_id("picture-canvas"), one)


def take(page: Page, file: bytes) -> None:
    page.get_by_test_id("picture-file").set_input_files({"name": "picture.png", "mimeType": "image/png", "buffer": file})


def test_a_drawing_is_encoded_and_a_reload_shows_the_same(page: Page, client: httpx.Client) -> None:
    x = begin(page)["x"]
    caption, canvas, of_z = (page.get_by_test_id(f"picture-{name}") for name in ("caption", "canvas", "decoded"))
    draw(page, SEVEN)
    said, url = next_picture(page, x), page.url
    expect(page.get_by_test_id("picture-words")).to_contain_text("of the held-out pictures")
    expect(page.get_by_test_id("picture-kl")).to_have_text(NATS)
    expect(caption).to_have_text("picture of z: the reconstruction")
    original = Image.open(io.BytesIO(base64.b64decode(said["x"])))
    assert original.size == (28, 28)
    np.testing.assert_array_equal(pixels_of(canvas), np.asarray(original.convert("RGB")))
    np.testing.assert_array_equal(pixels_of(of_z), decoded(client, said["z"]))
    assert said["z"] == said["home"]
    shown = pixels_of(of_z).mean(-1)
    assert shown[7:9, 10:18].mean() > 100 > 50 > shown[14:20, 2:7].mean()  # a bar above, nothing at the lower left
    slider = page.get_by_test_id("directions-slider-0")
    slider.focus()
    page.keyboard.press("PageUp")
    expect(caption).to_have_text("picture of z, which was moved")
    expect(page).not_to_have_url(url)
    moved = state(page)
    assert (moved["x"], moved["home"]) == (said["x"], said["home"])
    expect_pixels(of_z, decoded(client, moved["z"]))
    page.get_by_test_id("directions-start").click()  # the sliders start anew, and the picture stays
    expect(page).to_have_url(re.compile("&start="))
    expect(page.get_by_test_id("directions-slider-0-value")).to_contain_text("0.00")
    expect(caption).to_have_text("picture of z, which was moved")
    moved = state(page)
    assert (moved["x"], moved["home"], moved["start"]) == (said["x"], said["home"], moved["z"])
    before = pixels_of(canvas)
    table = page.get_by_test_id("picture-posterior")
    rows = table.inner_text()
    page.reload()
    expect(table).to_contain_text("nats together")
    expect_pixels(of_z, decoded(client, moved["z"]))
    expect_pixels(canvas, before)
    assert table.inner_text() == rows
    assert state(page) == moved
    page.get_by_test_id("picture-back").click()
    page.wait_for_function("(z) => new URLSearchParams(location.hash.slice(1)).get('z') === z", arg=said["z"])


def test_it_begins_with_an_example_and_the_keyboard_takes_others(page: Page, client: httpx.Client) -> None:
    examples = client.get("/models/mnist/examples").raise_for_status().json()["images"]
    page.goto("/explore")
    expect(page.get_by_test_id("picture-example-0")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_test_id("undo")).to_be_disabled()
    assert next_picture(page)["x"] == examples[0]
    page.get_by_test_id("picture-example-0").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("picture-example-1")).to_have_attribute("aria-pressed", "true")
    said = next_picture(page, examples[0])
    assert said["x"] == examples[1]
    expect_pixels(page.get_by_test_id("picture-decoded"), decoded(client, said["z"]))
    page.goto("about:blank")
    page.goto(f"/explore#model=mnist&z={said['z']}")  # a point without a picture stays without
    page.get_by_test_id("picture-example-0").wait_for()
    expect_pixels(page.get_by_test_id("picture-decoded"), decoded(client, said["z"]))
    assert "x" not in state(page)


def test_a_second_stroke_is_added_and_each_is_undone(page: Page) -> None:
    x = begin(page)["x"]
    canvas = page.get_by_test_id("picture-canvas")
    draw(page, SEVEN)
    x, url = next_picture(page, x)["x"], page.url
    seven = pixels_of(canvas)
    draw(page, [(0.3, 0.55), (0.7, 0.55)])
    next_picture(page, x)
    assert (pixels_of(canvas) >= seven).all()
    page.get_by_test_id("undo").click()
    expect(page).to_have_url(url)
    expect_pixels(canvas, seven)
    page.get_by_test_id("picture-clear").click()
    expect(page).not_to_have_url(url)
    assert "x" not in state(page)
    expect_pixels(canvas, np.zeros_like(seven))
    page.get_by_test_id("undo").click()
    expect(page).to_have_url(url)
    expect_pixels(canvas, seven)


def test_what_is_drawn_last_wins(page: Page) -> None:
    """However slow the service is, one request for the drawing is in flight, and the page ends with the whole of it."""
    x = begin(page)["x"]
    encodes, held = InFlight(page, lambda request: "/encode?" in request.url), list[Route]()
    page.route("**/encode?*", lambda route: route.continue_() if held else held.append(route))
    draw(page, SEVEN)
    held[0].continue_()  # the first request; the others are answered at once
    said = next_picture(page, x)
    assert len(encodes.all) > 1
    assert encodes.most == 1
    original = Image.open(io.BytesIO(base64.b64decode(said["x"]))).convert("RGB")
    expect_pixels(page.get_by_test_id("picture-canvas"), np.asarray(original))
    assert np.asarray(original).mean(-1)[6:9, 9:19].min() > 0  # the first line
    assert np.asarray(original).mean(-1)[20:22, 12:15].max() > 200  # the end of the last one


def test_a_file_of_any_size_is_seen_as_the_model_sees_it(page: Page, watched: Watched, client: httpx.Client) -> None:
    x = begin(page)["x"]
    large = encoded(np.pad(digit(1), ((0, 0), (4, 4))).repeat(5, 0).repeat(5, 1))
    take(page, large)
    said, url = next_picture(page, x), page.url
    seen = client.post("/reconstruct?model=mnist&compare=true", content=large).json()
    assert said["x"] == seen["originals"][0]
    mu = client.post("/encode?model=mnist", content=base64.b64decode(said["x"])).json()["mu"][0]
    assert [float(value) for value in said["z"].split(",")] == mu
    take(page, b"no picture")
    expect(page.get_by_test_id("picture").get_by_test_id("trouble")).to_have_text(
        "This file is not a picture (PNG, JPEG, WebP, GIF, BMP or TIFF)."
    )
    assert page.url == url
    watched.expect("415: POST")


def test_a_file_is_inverted_before_bars_are_added(page: Page, client: httpx.Client) -> None:
    """A tall file, dark on light, is what the service makes of the file itself, and can be had as it came."""
    file = encoded(255 - np.pad(digit(0), ((6, 6), (0, 0))).repeat(5, 0).repeat(5, 1))

    def seen(invert: str) -> str:
        url = f"/reconstruct?model=mnist&compare=true&invert={invert}"
        return str(client.post(url, content=file).raise_for_status().json()["originals"][0])

    x = begin(page)["x"]
    warning, inverted, words = (page.get_by_test_id(f"picture-{name}") for name in ("warning", "inverted", "words"))
    take(page, file)
    assert next_picture(page, x)["x"] == seen("yes")
    expect(inverted).to_contain_text("Inverted, because most of its border is light")
    expect(warning).to_have_count(0)
    expect(words).not_to_contain_text("Very")
    page.get_by_test_id("picture-as-it-came").click()
    assert next_picture(page, seen("yes"))["x"] == seen("no")
    expect(inverted).to_have_count(0)
    expect(warning.first).to_contain_text("The picture looks inverted.")
    page.get_by_test_id("picture-invert-it").click()
    assert next_picture(page, seen("no"))["x"] == seen("yes")
    expect(warning).to_have_count(0)


def test_a_link_is_inverted_as_it_is(page: Page) -> None:
    page.goto(f"/explore#{httpx.QueryParams({'model': 'mnist', 'x': base64.b64encode(encoded(255 - digit(0))).decode()})}")
    words = page.get_by_test_id("picture-words")
    expect(words).to_contain_text("Very unusual: more unusual than 99.6")
    page.get_by_test_id("picture-invert-it").click()
    expect(words).not_to_contain_text("Very")
    expect(page.get_by_test_id("picture-warning")).to_have_count(0)
    expect_pixels(page.get_by_test_id("picture-canvas"), colours(digit(0)))


@pytest.mark.parametrize("way", [pytest.param("drop", marks=pytest.mark.soak), "drop elsewhere", "paste"])
def test_a_file_is_dropped_or_pasted(page: Page, way: str) -> None:
    begin(page, "mnist-2d")
    content = base64.b64encode(encoded(digit(2))).decode()
    page.evaluate(
        """([way, content]) => {
            const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "x.png", { type: "image/png" }));
            const options = { bubbles: true, cancelable: true };
            const event = way === "paste" ? new ClipboardEvent("paste", { clipboardData: data, ...options })
                                          : new DragEvent("drop", { dataTransfer: data, ...options });
            document.querySelector(way === "drop" ? "[data-testid=picture-canvas]" : "h1").dispatchEvent(event);
            if (!event.defaultPrevented) throw Error("the browser would leave the page");
        }""",
        [way, content],
    )
    expect_pixels(page.get_by_test_id("picture-canvas"), colours(digit(2)))


@pytest.mark.parametrize("options", [{"viewport": {"width": 1280, "height": 2400}}], ids=["tall"])
def test_its_pictures_become_ends_of_the_path(page: Page) -> None:
    said = begin(page, "mnist-2d")
    # On a lower page Playwright would have to scroll between the ends of the drag.
    page.wait_for_load_state("networkidle")
    page.get_by_test_id("picture-reconstruction").drag_to(page.get_by_test_id("path-a"))
    page.get_by_test_id("picture-z").focus()
    page.keyboard.press("b")
    expect(page).to_have_url(re.compile("&a=.*&b="))
    assert (state(page)["a"], state(page)["b"]) == (said["z"], said["z"])


def test_examples_become_ends_by_keys(page: Page, client: httpx.Client) -> None:
    """An example has no point yet. It is below the pointer, or has the focus: what was moved last counts."""
    examples = client.get("/models/mnist-2d/examples").raise_for_status().json()["images"]
    begin(page, "mnist-2d")
    page.get_by_test_id("picture-example-3").focus()
    page.keyboard.press("a")
    page.get_by_test_id("picture-example-5").hover()
    page.keyboard.press("b")
    expect(page).to_have_url(re.compile("&a=.*&b="))
    for end, i in (("a", 3), ("b", 5)):
        mu = client.post("/encode?model=mnist-2d", content=base64.b64decode(examples[i])).json()["mu"][0]
        assert [float(value) for value in state(page)[end].split(",")] == mu


def test_the_commands_print_what_is_shown(page: Page) -> None:
    said = begin(page)
    expect(page.get_by_test_id("picture-words")).to_contain_text("of the held-out pictures")
    commands = page.get_by_test_id("picture-copy-curl").get_attribute("data-content") or ""
    encode, score, errors = [
        subprocess.run(["bash", "-c", one], capture_output=True, check=True).stdout for one in commands.split("\n")
    ]
    assert said["z"] in encode.decode()
    p_value = float(re.findall(r'"p_value":\[([^\]]+)\]', score.decode())[0])
    expect(page.get_by_test_id("picture-words")).to_contain_text(f"than {int(100 * (1 - p_value))}\u00a0% of")
    source = page.get_by_test_id("picture-errors").locator("img").get_attribute("src") or ""
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == errors
    # The original stands above the error map, out of sight.
    assert Image.open(io.BytesIO(errors)).height > 2 * 28
    ends = "[...document.querySelectorAll('.errors, .errors img')].map((one) => one.getBoundingClientRect().bottom)"
    box, shown = page.evaluate(ends)
    assert abs(box - shown) < 0.5
    of_z = page.get_by_test_id("picture-z-copy-curl").get_attribute("data-content") or ""
    npy = subprocess.run(["bash", "-c", of_z], capture_output=True, check=True).stdout
    expect_pixels(page.get_by_test_id("picture-decoded"), np.load(io.BytesIO(npy))[0].repeat(3, -1))
    page.get_by_test_id("directions-slider-0").press("PageUp")  # the reconstruction stands beside the error map now
    image = page.get_by_test_id("picture-reconstruction").locator("img").get_attribute("src") or ""
    last = (page.get_by_test_id("picture-copy-curl").get_attribute("data-content") or "").split("\n")[-1]
    answer = subprocess.run(["bash", "-c", last], capture_output=True, check=True).stdout.decode()
    assert image.removeprefix("data:image/png;base64,") in answer


def test_the_originals_of_a_collection_can_be_taken(page: Page, client: httpx.Client) -> None:
    client.put("/collections/kept", json={"model": "mnist-2d", "keep": "picture"}).raise_for_status()
    item = base64.b64encode(encoded(digit(5))).decode()
    client.post("/collections/kept/items", json={"items": [{"id": "a/b c", "image": item}]}).raise_for_status()
    page.goto("/explore#model=mnist-2d&collection=kept")
    page.get_by_test_id("picture-kept").locator("summary").click()
    page.get_by_test_id("picture-kept-item").click()
    expect_pixels(page.get_by_test_id("picture-canvas"), colours(digit(5)))
