"""Request headers by name, weighted lists and entity tags."""

import pytest

from service.asgi import Headers
from service.http.header_values import best_coding, by_name, qualities, tag_matches


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip, deflate", "gzip"),
        ("br;q=0.5, GZIP;q=1.0", "gzip"),
        ("br;q=0, gzip;q=0.1", "gzip"),
        ("*", "br"),
        ("br;q=0, *;q=0.1", "gzip"),
        ("", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("gzip; q=0.000, br;q=0, *", None),
        ("*;q=0", None),
        ("gzip;q=much", None),
        ("gzipped", None),
    ],
)
def test_the_coding_is_one_that_the_caller_takes(header: str, coding: str | None) -> None:
    assert best_coding(header, ("br", "gzip")) == coding


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ([], {}),
        ([(b"a", b"1"), (b"b", b"\xe9")], {"a": "1", "b": "\xe9"}),
        ([(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"a", b"")], {"a": "1, 3, ", "b": "2"}),
    ],
)
def test_headers_that_are_sent_several_times_are_joined(raw: Headers, found: dict[str, str]) -> None:
    assert by_name(raw) == found


def test_qualities() -> None:
    assert qualities("text/html, image/*;v=1;q=0.8,*/*;q=.1") == {"text/html": 1, "image/*": 0.8, "*/*": 0.1}


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ('W/"a1"', True),
        ('"a1"', True),
        ('"b", W/"a1"', True),
        (" * ", True),
        ("", False),
        ("a1", False),
        ('"a"', False),
        ('"ba1"', False),
        ('W/"b", "*"', False),
    ],
)
def test_a_copy_is_known_by_its_tag(wanted: str, matches: bool) -> None:
    assert tag_matches(wanted, 'W/"a1"') == matches
    assert tag_matches(wanted, '"a1"') == matches
