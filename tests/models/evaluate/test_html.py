"""HTML: every number with its key and exact value, words escaped, pictures inside."""

import base64
from pathlib import Path

import pytest
from PIL import Image

from models.evaluate.html import figure, number, render, rounded, row, table

METRICS = {"a": 1 / 3, "count": 7, "inner": {"share": 0.98765}}


def test_numbers_carry_their_key_and_their_exact_value() -> None:
    assert number(METRICS, "a") == f'<data data-key="a" value="{1 / 3!r}">0.33</data>'
    assert number(METRICS, "count") == '<data data-key="count" value="7">7</data>'
    assert number(METRICS, "inner.share", 1, True) == '<data data-key="inner.share" value="0.98765">98.8 %</data>'
    with pytest.raises(KeyError):
        number(METRICS, "inner.missing")


@pytest.mark.parametrize(
    ("value", "digits", "percent", "text"),
    [(1234.567, 2, False, "1234.57"), (-0.5, 1, False, "-0.5"), (3, 2, False, "3"), (1.0, 1, True, "100.0 %")],
)
def test_rounded(value: float, digits: int, percent: bool, text: str) -> None:
    assert rounded(value, digits, percent) == text


def test_words_are_escaped(tmp_path: Path) -> None:
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    page = render(
        "<b>",
        "",
        [("R & D", table([row("x < y", number(METRICS, "a"), "<i>")])), ("P", figure(tmp_path / "a.png", '"', "<u>"))],
    )
    assert not any(tag in page for tag in ("<b>", "<i>", "<u>", "R & D", "x < y"))
    assert all(text in page for text in ("&lt;b&gt;", "R &amp; D", "x &lt; y", "&lt;i&gt;", "&lt;u&gt;", 'alt="&quot;"'))


def test_pictures_are_inside(tmp_path: Path) -> None:
    for suffix, media_type in (("png", "image/png"), ("webp", "image/webp")):
        path = tmp_path / f"a.{suffix}"
        Image.new("L", (3, 2)).save(path)
        encoded = base64.b64encode(path.read_bytes()).decode()
        assert f'src="data:{media_type};base64,{encoded}"' in figure(path, "a", "b")
