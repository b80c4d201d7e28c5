"""JSON of strangers: what is read can be written again, and nothing else is read."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.files.plain_json import MAX_DEPTH, parse_json, plain

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)

TEXT = st.text(st.characters(exclude_categories=()))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_json_can_hold(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_is_not_a_number_becomes_null(word: bytes) -> None:
    assert parse_json(b'{"a":[' + word + b"]}") == {"a": [None]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b'["\\ud83d\\ud83d\\ude00"]', "surrogate"),
        (b"[1e999]", "too large"),
        (b"[" * 33 + b"]" * 33, "nested"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested"),
        (b"[" * 900 + b"]" * 900, "nested"),
        (b"[" * 100_000, "nested"),
        (b"9" * 5000, "digits"),
        (b"\xff", "decode"),
        (b"{", "Expecting"),
    ],
)
def test_what_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(content)


def test_pairs_of_surrogates_and_depth_within_the_bound() -> None:
    assert parse_json(b'["\\ud83d\\ude00"]') == ["\U0001f600"]
    deep = parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert orjson.loads(orjson.dumps(deep)) == deep


@given(ANYTHING)
def test_a_plain_value_can_be_written(value: Any) -> None:
    written = json.dumps(plain(value), allow_nan=False, ensure_ascii=False).encode()
    if written == json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"):
        assert json.loads(written) == value


@given(ANYTHING)
def test_the_lenient_reader_takes_all_that_the_strict_one_takes_and_leaves_it_alone(value: Any) -> None:
    content = json.dumps(value).encode()
    try:
        strict = parse_json(content)
    except ValueError:
        parse_json(content, lenient=True)
    else:
        assert parse_json(content, lenient=True) == strict


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'{"a":["\\ud800", 1e999, -Infinity]}', {"a": ["\ufffd", None, None]}),
        (b'{"\\udfff":1}', {"\ufffd": 1}),
        (b'["\\ud83d\\ude00"]', ["\U0001f600"]),
    ],
)
def test_what_the_lenient_reader_replaces(content: bytes, value: object) -> None:
    assert parse_json(content, lenient=True) == value


def test_what_lies_too_deep_is_left_out() -> None:
    found = parse_json(b"[" * 300 + b"]" * 300, lenient=True)
    for _ in range(MAX_DEPTH - 1):
        (found,) = found
    assert found == [None]
    for lenient in (True, False):
        with pytest.raises(ValueError, match="nested"):
            parse_json(b"[" * 100_000, lenient)
