"""Weighted lists and entity tags in request headers."""

import pytest

from service.http.header_values import accepts_gzip, qualities, tag_matches


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip, deflate, br", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("*", True),
        ("br, *;q=0.1", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("gzip;q=much", False),
        ("gzipped", False),
    ],
)
def test_gzip_is_sent_to_those_who_accept_it(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) == accepted


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
