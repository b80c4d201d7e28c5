"""JSON of strangers: what is read can be written again, and nothing else is read."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.plain_json import MAX_DEPTH, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
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
