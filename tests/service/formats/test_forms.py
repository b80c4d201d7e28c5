"""Forms as clients send them, and forms that are broken on purpose."""

import contextlib
import gc
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.formats.errors import Undecodable
from service.formats.forms import Part, TooManyParts, parse_form

MANY = settings(max_examples=300, deadline=None, derandomize=True)

TYPE = "multipart/form-data; boundary=xyz"


def sent(files: Any, data: Any = None) -> tuple[bytes, str]:
    """(body, content type) as httpx sends a form."""
    request = httpx.Request("POST", "http://test", files=files, data=data)
    return request.read(), request.headers["content-type"]


def form(*parts: bytes, end: bytes = b"--xyz--\r\n") -> bytes:
    return b"".join(b"--xyz\r\n" + part + b"\r\n" for part in parts) + end


def part(name: str, data: bytes, *more: str) -> bytes:
    return "\r\n".join((f'Content-Disposition: form-data; name="{name}"', *more, "", "")).encode() + data


# --- forms that clients send


def test_a_form_comes_as_its_parts_in_their_order() -> None:
    pictures = [("image", (f"{i}.png", bytes([i]) * 1000, "image/png")) for i in range(3)]
    body, content_type = sent(pictures, {"seed": "7", "method": "slerp"})
    assert parse_form(body, content_type, 5) == [
        Part("seed", None, b"7"),
        Part("method", None, b"slerp"),
        *(Part("image", f"{i}.png", bytes([i]) * 1000) for i in range(3)),
    ]


def test_a_form_as_curl_sends_it() -> None:
    boundary = "-" * 24 + "5f2c1d0e9b8a7c6d"
    body = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="image"; filename="seven.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
        "\x89PNG\r\n\x1a\n--not the boundary\r\n"
        f"\r\n--{boundary}--\r\n"
    ).encode("latin-1")
    (only,) = parse_form(body, f"multipart/form-data; boundary={boundary}", 1)
    assert only == Part("image", "seven.png", b"\x89PNG\r\n\x1a\n--not the boundary\r\n")


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/form-data; boundary="xyz"',
        "multipart/form-data;boundary=xyz",
        "multipart/form-data; charset=utf-8; boundary=xyz",
        "Multipart/Form-Data; Boundary=xyz",
    ],
)
def test_the_boundary_is_stated_in_many_ways(content_type: str) -> None:
    assert parse_form(form(part("z", b"1")), content_type, 1) == [Part("z", None, b"1")]


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\0" * 100, b"--xy", b"--xyz", bytes(range(256)), b"x" * 100_000])
def test_any_bytes_travel_in_a_part(data: bytes) -> None:
    assert parse_form(form(part("a", data), part("b", b"end")), TYPE, 2) == [Part("a", None, data), Part("b", None, b"end")]


def test_names_may_hold_any_letters() -> None:
    body, content_type = sent([("Größe", ("sieben ß.png", b"7"))])
    (only,) = parse_form(body, content_type, 1)
    assert (only.name, only.filename) == ("Größe", "sieben ß.png")
    (broken,) = parse_form(form(b'Content-Disposition: form-data; name="\xff"\r\n\r\n1'), TYPE, 1)
    assert broken.name == "\N{REPLACEMENT CHARACTER}"


def test_an_empty_filename_is_still_a_file() -> None:
    """A browser sends this for a file field that was left empty."""
    (only,) = parse_form(form(part("image", b"").replace(b'"image"', b'"image"; filename=""')), TYPE, 1)
    assert only == Part("image", "", b"")


def test_other_headers_of_a_part_do_not_matter() -> None:
    (only,) = parse_form(form(part("a", b"1", "X-Name: b", "Content-Type: text/plain; name=c", "content-id: d")), TYPE, 1)
    assert only == Part("a", None, b"1")
    (nameless,) = parse_form(form(b"Content-Disposition: form-data\r\n\r\n1"), TYPE, 1)
    assert nameless == Part("", None, b"1")


# --- forms that are broken


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "", "multipart/form-data; x=y"]
)
def test_a_form_needs_a_boundary(content_type: str) -> None:
    with pytest.raises(Undecodable, match="must have a boundary"):
        parse_form(form(part("z", b"1")), content_type, 1)


def test_a_truncated_form_is_undecodable() -> None:
    body = form(part("a", b"12345"), part("b", b"6"))
    whole = len(body) - len(b"\r\n")
    for length in range(whole):
        with pytest.raises(Undecodable, match="form"):
            parse_form(body[:length], TYPE, 2)
    assert len(parse_form(body[:whole], TYPE, 2)) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        form(part("a", b"1")).replace(b"xyz", b"abc"),
        form(b"no colon\r\n\r\n1"),
        form(b": no name\r\n\r\n1"),
        form(b"Content-Type: text/plain\r\n\r\n1"),
        form(b'Content-Disposition: attachment; name="a"\r\n\r\n1'),
        form(part("a", b"1", "Content-Length: 2")),
        form(part("a", b"1", "X-Huge: " + "x" * 1_000_000)),
        form(part("a", b"1", *(f"X-{i}: x" for i in range(10_000)))),
        form(part("a", b"1", "b\0d: x")),
    ],
)
def test_a_broken_form_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable, match="form"):
        parse_form(body, TYPE, 5)


def test_too_many_parts_are_refused_while_counting() -> None:
    assert len(parse_form(form(*[part("a", b"")] * 5), TYPE, 5)) == 5
    with pytest.raises(TooManyParts, match="more than 5 parts"):
        parse_form(form(*[part("a", b"")] * 6, end=b"and the rest was never read"), TYPE, 5)


@MANY
@given(content_type=st.text(st.characters(max_codepoint=255), max_size=40), body=st.binary(max_size=80))
def test_any_type_and_body_are_parts_or_undecodable(content_type: str, body: bytes) -> None:
    for stated in (content_type, f"multipart/form-data; boundary={content_type}", TYPE):
        with contextlib.suppress(Undecodable):
            assert len(parse_form(body, stated, 3)) <= 3


@MANY
@given(data=st.data())
def test_a_form_with_spoiled_bytes_is_parts_or_undecodable(data: st.DataObject) -> None:
    body = bytearray(form(part("a", b"12345", "Content-Type: image/png"), part("b", b"6")))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Undecodable):
        assert len(parse_form(bytes(body), TYPE, 3)) <= 3


@pytest.mark.parametrize("broken", [form(part("a", b"x" * 1000), end=b""), b"--xyz\r\n" + b"h" * 1000, b"nothing", b""])
def test_a_broken_form_leaves_nothing_to_the_garbage_collector(broken: bytes) -> None:
    """It is rarely run, and a form may have megabytes."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with contextlib.suppress(Undecodable):
                parse_form(broken, TYPE, 5)
        assert gc.collect() == 0
    finally:
        gc.enable()
