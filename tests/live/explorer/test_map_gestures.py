"""The part "Map" of /explore by keyboard, by the wheel, and by fingers."""

import pytest
from playwright.sync_api import Page, expect

from tests.live.explorer.map_page import SEEN, VIEW, Map, Stored


def test_the_keyboard_alone(page: Page, stored: Stored) -> None:
    shown = Map(page, SEEN)
    shown.canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    shown.change(lambda: page.keyboard.press("+"))
    unit = 8 / shown.canvas.bounding_box()["width"]  # type: ignore[index]
    assert shown.numbers("a") == pytest.approx([10 * unit, 40 * unit], abs=0.001)
    assert "z" in shown.fields()
    view = shown.numbers("view")
    assert view[2] == pytest.approx(8 / 1.5, rel=0.01)
    page.keyboard.press("l")
    for key in ("Space", *["Shift+ArrowLeft"] * 4, "Space", *["Shift+ArrowDown"] * 4, "Space", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_test_id("map-chosen-count")).to_contain_text("items in the area")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("map-chosen")).to_have_count(0)


def test_the_wheel_scrolls_the_page(page: Page, stored: Stored) -> None:
    shown = Map(page, SEEN)
    page.mouse.move(*shown.pixels(0, 1, VIEW))
    page.mouse.wheel(0, 100)
    expect(page.get_by_test_id("map-notice")).to_contain_text("Ctrl + scroll")
    page.wait_for_function("() => scrollY === 100")
    assert shown.numbers("view") == list(VIEW)
    page.keyboard.down("Control")  # a pinch on a touchpad comes like this, too
    shown.change(lambda: page.mouse.wheel(0, 100))
    page.keyboard.up("Control")
    assert shown.numbers("view")[2] > 8
    assert page.evaluate("scrollY") == 100


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("options", [PHONE], ids=["phone"])
def test_one_finger_scrolls_and_two_move_the_map(page: Page, stored: Stored) -> None:
    shown = Map(page, SEEN)
    screen = page.context.new_cdp_session(page)

    def touch(*paths: list[tuple[float, float]]) -> None:
        """Move fingers along paths of as many places."""
        for number, places in enumerate(zip(*paths, strict=True)):
            points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
            screen.send("Input.dispatchTouchEvent", {"type": "touchMove" if number else "touchStart", "touchPoints": points})
            page.wait_for_timeout(20)
        screen.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    x, y = shown.pixels(0, 0, VIEW)
    touch([(x, y - 20 * min(step, 7)) for step in range(20)])  # at rest in the end, else the page goes on to scroll
    page.wait_for_function("() => scrollY > 80")
    expect(page.get_by_test_id("map-notice")).to_contain_text("Two fingers")
    assert shown.numbers("view") == list(VIEW)
    assert "z" not in shown.fields()
    page.evaluate("scrollTo(0, 0)")
    steps = range(8)
    shown.change(lambda: touch([(x - 5 * i, y - 10 * i) for i in steps], [(x + 50 + 5 * i, y - 10 * i) for i in steps]))
    moved = shown.numbers("view")
    assert moved[2] < 6, "the fingers moved apart"
    assert moved[1] < -0.3, "and up"
    assert page.evaluate("scrollY") == 0
    page.get_by_test_id("map-lasso").tap()
    x, y = shown.pixels(moved[0], moved[1], (moved[0], moved[1], moved[2]))
    shown.change(lambda: touch([(x, y), (x + 50, y), (x + 50, y + 60), (x, y + 90)]))
    assert "lasso" in shown.fields()
