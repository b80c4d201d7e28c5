"""The format of an answer for curl, programs and browsers."""

import pytest

from service.rest.negotiation import Format, answer_format, is_browser

PICTURES: tuple[Format, ...] = ("json", "npy", "png")
FRAMES: tuple[Format, ...] = ("json", "npy", "png", "webp", "gif")
POSTERIORS: tuple[Format, ...] = ("json", "npy")

BROWSERS = {
    "Chrome, address bar": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7",
    "Chrome, <img>": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Firefox, address bar": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Firefox, <img>": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "Firefox 92 to 127, <img>": "image/avif,image/webp,*/*",
    "Safari, address bar": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Safari, <img>": "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/svg+xml,"
    "image/*;q=0.8,*/*;q=0.5",
}


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_browser_gets_a_picture_where_there_is_one(browser: str) -> None:
    assert answer_format(None, BROWSERS[browser], PICTURES) == "png"
    assert answer_format(None, BROWSERS[browser], POSTERIORS) == "json"


@pytest.mark.parametrize("browser", [name for name in BROWSERS if "127" not in name])
def test_a_browser_gets_frames_as_one_png(browser: str) -> None:
    assert answer_format(None, BROWSERS[browser], FRAMES) == "png"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/json, text/plain, */*", "json"),  # what axios sends
        ("application/json, text/javascript, */*; q=0.01", "json"),
        ("image/png", "png"),
        ("IMAGE/PNG", "png"),
        ("image/*", "png"),
        ("image/webp", "webp"),
        ("image/avif, image/webp", "webp"),
        ("image/jpeg", "png"),
        ("image/jpeg, application/json;q=0.5", "png"),
        ("image/jpeg, application/json", "json"),
        ("image/jpeg, image/png;q=0", "json"),
        ("image/gif;q=0.9, image/webp;q=0.8", "gif"),
        ("application/x-npy", "npy"),
        ("application/x-npy, */*;q=0.1", "npy"),
        ("application/x-npy;q=0.9,application/json;q=0.5", "npy"),
        ("application/json;q=0.5 , application/x-npy ; q=0.9", "npy"),
        ("application/json,application/x-npy", "json"),
        ("application/x-npy,application/json", "json"),  # the first of equals is the service's choice
        ("application/json;q=0.9,application/x-npy;q=1", "npy"),
        ("application/json;q=0,application/x-npy", "npy"),
        ("image/png;q=0,application/x-npy;q=0.1", "npy"),
        ("image/png;q=0, */*", "json"),
        ("text/html;q=0", "json"),
        ("image/*;q=0, application/json", "json"),
        ("application/json, image/*;q=0.5", "json"),
        ("application/x-npy, text/html;q=0.5", "npy"),
        ("application/x-npy;q=much", "json"),
        ("text/plain", "json"),
        ("application/*", "json"),
        (",,;;q=,", "json"),
    ],
)
def test_the_best_of_accept_is_answered(accept: str, form: Format) -> None:
    assert answer_format(None, accept, FRAMES) == form


@pytest.mark.parametrize("chosen", FRAMES)
@pytest.mark.parametrize("accept", ["", "*/*", "image/png", "application/x-npy", BROWSERS["Chrome, <img>"]])
def test_what_is_chosen_wins_over_accept(chosen: Format, accept: str) -> None:
    assert answer_format(chosen, accept, FRAMES) == chosen


def test_what_is_not_offered_is_not_answered() -> None:
    assert answer_format(None, "image/png", POSTERIORS) == "json"
    assert answer_format(None, "image/gif", POSTERIORS) == "json"


@pytest.mark.parametrize("accept", ["image/webp", "image/gif", "image/avif", "image/*", "image/jpeg", "image/svg+xml"])
def test_a_program_that_wants_another_picture_gets_png_as_it_is(accept: str) -> None:
    assert answer_format(None, accept, PICTURES) == "png"
    assert not is_browser(accept)


@pytest.mark.parametrize("browser", BROWSERS.values())
def test_browsers_are_known(browser: str) -> None:
    assert is_browser(browser)
