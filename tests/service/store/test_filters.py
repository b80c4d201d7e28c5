"""The language of filters means the same in every engine: it is asked for what a slow evaluation in Python finds."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.store.filters import MAX_CHARACTERS, BadFilter, parse_filter, usable_key
from service.store.postgres.filters import fields_of, pgvector_where
from service.store.sqlite.filters import sqlite_where
from tests.service.store.gaussians import matches
from tests.service.store.postgres_server import Postgres

KEYS = ["a", "b", "ü", "👨‍👩‍👧", "a.b", "a.b.0", "$", "it's", "[0]", "%s", "#>", "0", "a.", ".a"]
PATHS = [*KEYS, "a.a", "a.ü", "b.it's", "b.[0]", "ü.$", "b.a.b", "a.0", "b.%s.#>", "a..b"]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
INTEGERS = st.integers(-(1 << 63), (1 << 64) - 1)
EDGES = [0, -0.0, 1, 1.0, 2**53, 2**53 + 1, float(2**53), 2**60, float(2**60), 2**63 - 1, 2**63, 2**64 - 1, 1e308, 5e-324, 0.1]
NUMBERS = INTEGERS | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(EDGES)
SCALARS = NUMBERS | TEXT | st.none() | st.booleans() | st.sampled_from(["a", "A", "1", "true", "null", "ä"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | TEXT, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3), min_size=1, max_size=8)
TESTS = st.one_of(
    SCALARS,
    st.dictionaries(st.sampled_from(["eq", "ne"]), SCALARS, min_size=1),
    st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), NUMBERS | TEXT, min_size=1, max_size=2),
    st.builds(lambda values: {"in": values}, st.lists(SCALARS, max_size=4) | st.lists(SCALARS, min_size=7, max_size=11)),
    st.builds(lambda value: {"contains": value}, SCALARS),
    st.builds(lambda there: {"exists": there}, st.booleans()),
)


def scalars(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every text, number, boolean and null with the path of the objects around it, or of the list that it is in."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key and usable_key(key):
                yield from scalars(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for one in value:
            yield from scalars(one, path)
    else:
        yield path, value


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Metadata of some items, and a filter that often has one of their values in it."""
    rows = draw(ROWS)
    own = [(key, value) for row in rows for key, value in scalars(row)]
    wanted = draw(st.dictionaries(st.sampled_from(PATHS), TESTS, min_size=1, max_size=2))
    if len(own) > 0 and draw(st.booleans()):
        key, value = draw(st.sampled_from(own))
        operators = ["eq", "ne", "contains"]
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            operators += ["gt", "gte", "lt", "lte"]
        part = value[1:3] if isinstance(value, str) and draw(st.booleans()) else value
        wanted[key] = {draw(st.sampled_from(operators)): part}
    return rows, wanted


@pytest.fixture(scope="module")
def sqlite() -> Iterator[sqlite3.Connection]:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE items (n INTEGER, metadata TEXT)")
        yield connection
    connection.close()


@pytest.fixture(scope="module")
def pgvector(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres.create("filters"), autocommit=True) as connection:
        connection.execute("CREATE UNLOGGED TABLE items (n integer, fields jsonb)")
        yield connection


@given(case=cases())
@example(case=([{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": None}, {}], {"a": 1}))
@example(case=([{"a": float(2**60)}, {"a": 2**60}, {"a": 2**60 + 1}], {"a": {"lte": 2**60}}))
@example(case=([{"a": 2**64 - 1}, {"a": 2**64 - 2}, {"a": float(2**64)}], {"a": 2**64 - 1}))
@example(case=([{"a": 9.007199254740993e15}, {"a": 2**53 + 1}, {"a": 2**53}], {"a": {"in": [2**53 + 1, "x", None]}}))
@example(
    case=([{"a": [float(2**60), 2**64 - 1]}, {"a": [2**60 + 1]}, {"a": {"b": [1e300]}}], {"a": {"in": [2**60, 2**64 - 1]}})
)
@example(case=([{"a": {"b": 1e300}}, {"a": {"b": 2**64 - 1}}, {"a.b": 3, "a": {"b": 1e300}}], {"a.b": {"gte": float(2**64)}}))
@example(case=([{"a": {"b": 1}, "a.b": 2}, {"a": {"b": 2}}, {"a.b": None, "a": {"b": 2}}, {"a": [{"b": 2}]}], {"a.b": 2}))
@example(case=([{"a": {"b": 1}, "a.b": None}, {"a": {"b": None}}, {"a": None}, {"a": "b"}], {"a.b": {"exists": True}}))
@example(
    case=([{"a": ["x", "xy"]}, {"a": "axy"}, {"a": []}, {"a": [["xy"]]}, {"a": {"xy": 1}}, {}], {"a": {"contains": "xy"}})
)
@example(case=([{"a": ""}, {"a": "b"}, {"a": [""]}, {"a": ["b"]}, {"a": None}], {"a": {"contains": ""}}))
@example(case=([{"a": [1.0, "x"]}, {"a": 2.0}, {"a": None}, {"a": "11"}, {}], {"a": {"in": [*range(11), None, True]}}))
@example(case=([{"a": [None]}, {"a": [[None]]}, {"a": None}, {"a": [0, False]}], {"a": {"ne": None}}))
@example(case=([{"a": "aä😀b"}, {"a": "a\u0301"}, {"a": "A"}], {"a": {"contains": "ä😀"}}))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_every_engine_finds_what_the_language_says(
    sqlite: sqlite3.Connection, pgvector: psycopg.Connection[Any], case: tuple[list[dict[str, Any]], dict[str, Any]]
) -> None:
    rows, wanted = case
    texts = [orjson.dumps(row) for row in rows]
    conditions = parse_filter(orjson.loads(orjson.dumps(wanted)))
    expected = [i for i, row in enumerate(rows) if all(matches(row, condition) for condition in conditions)]
    sqlite.execute("DELETE FROM items")
    sqlite.executemany("INSERT INTO items VALUES (?, ?)", [(i, text.decode()) for i, text in enumerate(texts)])
    where, parameters = sqlite_where(conditions)
    found = sqlite.execute(f"SELECT n FROM items WHERE 1{where} ORDER BY n", parameters).fetchall()
    assert [n for (n,) in found] == expected, "sqlite"
    with pgvector.transaction(force_rollback=True), pgvector.cursor() as cursor:
        cursor.executemany("INSERT INTO items VALUES (%s, %s)", [(i, fields_of(text)) for i, text in enumerate(texts)])
        words, values = pgvector_where(conditions)
        cursor.execute(f"SELECT n FROM items WHERE true{words} ORDER BY n", values)
        assert [n for (n,) in cursor.fetchall()] == expected, "pgvector"


@pytest.mark.parametrize("key", ["", "x" * 201, 'a"b', "a\\b", "a\nb", "\x7f"])
def test_keys_that_no_filter_has(key: str) -> None:
    assert not usable_key(key)
    with pytest.raises(BadFilter, match="not a valid key"):
        parse_filter({key: 1})


@pytest.mark.parametrize(("word", "instead"), [("and", "all conditions of a filter must hold anyway"), ("or", 'use .*"in"')])
def test_no_word_joins_conditions(word: str, instead: str) -> None:
    with pytest.raises(BadFilter, match=f"there is no '{word}': .*{instead}"):
        parse_filter({word: [{"label": 7}]})
    assert parse_filter({word: 7})


def test_the_texts_of_a_filter_are_bounded_together() -> None:
    long = "x" * (MAX_CHARACTERS // 4)
    assert len(parse_filter({"a": {"in": [long] * 3}, "b": long})) == 2
    for value in ({"a": long * 4 + "x"}, {"a": {"in": [long] * 5}}, {"a": {"gt": long, "lt": long}, "b": {"in": [long] * 3}}):
        with pytest.raises(BadFilter, match="characters together"):
            parse_filter(value)
