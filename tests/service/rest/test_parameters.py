"""Parameters from query and body."""

import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from service.http.call import Call
from service.latents.noise import MAX_SEED
from service.rest.parameters import AskedTooMuch, BadParameter, check_count, read_parameters
from service.rest.schemas import (
    DecodeParameters,
    EncodeParameters,
    InterpolateParameters,
    Parameters,
    ReconstructParameters,
    SampleParameters,
)

OPERATIONS: list[type[Parameters]] = [
    EncodeParameters,
    DecodeParameters,
    SampleParameters,
    ReconstructParameters,
    InterpolateParameters,
]


@pytest.mark.parametrize(
    ("stated", "content_type"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        (" image/png ;q=1", "image/png"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_content_type_is_read_without_its_parameters(stated: str | None, content_type: str) -> None:
    headers = {} if stated is None else {"content-type": stated}
    assert Call(headers, "", b"").content_type == content_type


# --- parameters

GIVEN = {"n": 5, "seed": 7, "temperature": 0.5, "include": "z", "layout": "row", "model": "mnist", "timeout_ms": 100}
EXPECTED = SampleParameters(
    n=5, seed=7, temperature=0.5, include=frozenset({"z"}), layout="row", model="mnist", timeout_ms=100
)


def test_parameters_mean_the_same_wherever_they_stand() -> None:
    strings = {name: str(value) for name, value in GIVEN.items()}
    assert read_parameters(SampleParameters, urlencode(strings)) == EXPECTED
    assert read_parameters(SampleParameters, "", GIVEN) == EXPECTED
    assert read_parameters(SampleParameters, "", None, strings) == EXPECTED


def test_parameters_may_stand_in_two_places() -> None:
    body = {name: GIVEN[name] for name in ("n", "include", "timeout_ms")}
    rest = urlencode({name: value for name, value in GIVEN.items() if name not in body})
    assert read_parameters(SampleParameters, rest, body) == EXPECTED
    assert read_parameters(SampleParameters, rest, None, {k: str(v) for k, v in body.items()}) == EXPECTED


@pytest.mark.parametrize("kind", OPERATIONS)
def test_without_parameters_all_have_their_defaults(kind: type[Parameters]) -> None:
    assert read_parameters(kind, "") == read_parameters(kind, "", {}, {}) == kind()
    assert read_parameters(kind, "model=x") != kind()
    assert read_parameters(kind, "") == kind()


@pytest.mark.parametrize(("values", "fields"), [({"seed": 1}, None), (None, {"seed": "1"})])
def test_of_a_parameter_in_query_and_body_the_query_wins(values: Any, fields: Any) -> None:
    assert read_parameters(SampleParameters, "seed=2&n=2", values, fields) == SampleParameters(seed=2, n=2)


@pytest.mark.parametrize(("values", "fields"), [({"seed": -1}, None), (None, {"seed": "-1"})])
def test_what_does_not_count_must_be_right_too(values: Any, fields: Any) -> None:
    with pytest.raises(BadParameter, match="seed must be at least 0"):
        read_parameters(SampleParameters, "seed=2", values, fields)


@pytest.mark.parametrize("given", [({"n": 5.0}, {}), ({}, {"n": "5"})])
def test_too_many_items_in_the_body_are_too_many_whatever_the_query_says(given: Any) -> None:
    check_count("n", 4, ({"n": None}, {}), 4)
    with pytest.raises(AskedTooMuch, match="n is 5; at most 4 pictures"):
        check_count("n", 1, given, 4)


def test_in_json_a_whole_number_may_have_a_point() -> None:
    assert read_parameters(SampleParameters, "", {"n": 3.0, "temperature": 2}) == SampleParameters(n=3, temperature=2.0)
    with pytest.raises(BadParameter, match="n must be a whole number"):
        read_parameters(SampleParameters, "", {"n": 3.5})


@pytest.mark.parametrize(
    ("query", "include"),
    [
        ("include=kl,z", {"kl", "z"}),
        ("include=kl&include=z", {"kl", "z"}),
        ("include=%20kl%20,%20z,", {"kl", "z"}),
        ("include=kl,kl", {"kl"}),
        ("include=", set()),
    ],
)
def test_several_fields_are_separated_by_commas_or_stated_one_by_one(query: str, include: set[str]) -> None:
    assert read_parameters(EncodeParameters, query).include == include


@pytest.mark.parametrize("query", ["include=%1C%09", "include=z%09", "include=%C2%A0z"])
def test_only_spaces_may_stand_beside_fields(query: str) -> None:
    with pytest.raises(BadParameter, match="include"):
        read_parameters(SampleParameters, query)


@pytest.mark.parametrize("include", ["kl,z", ["kl", "z"]])
def test_several_fields_are_a_list_or_a_string_in_json(include: object) -> None:
    assert read_parameters(EncodeParameters, "", {"include": include}).include == {"kl", "z"}


@pytest.mark.parametrize(
    ("kind", "query", "message"),
    [
        (SampleParameters, "sead=7", "unknown parameter 'sead'; did you mean seed?"),
        (SampleParameters, "temprature=1", "unknown parameter 'temprature'; did you mean temperature?"),
        (
            DecodeParameters,
            "quux=1",
            "unknown parameter 'quux'; the parameters are dtype, format, label, layout, max_length, model, pixels, "
            "scale, seed, temperature, timeout_ms, view",
        ),
    ],
)
def test_an_unknown_parameter_is_refused_with_a_suggestion(kind: type[Parameters], query: str, message: str) -> None:
    with pytest.raises(BadParameter) as caught:
        read_parameters(kind, query)
    assert str(caught.value) == message
    name, _, value = query.partition("=")
    with pytest.raises(BadParameter, match=f"unknown parameter '{name}'"):
        read_parameters(kind, "", {name: value})
    with pytest.raises(BadParameter, match=f"unknown parameter '{name}'"):
        read_parameters(kind, "", None, {name: value})


@pytest.mark.parametrize(
    ("kind", "query", "message"),
    [
        (SampleParameters, "n=0", "n must be at least 1, not 0"),
        (SampleParameters, "n=two", "n must be a whole number, not 'two'"),
        (SampleParameters, "n=1.5", "n must be a whole number, not '1.5'"),
        (SampleParameters, "n=", "n must be a whole number, not ''"),
        (SampleParameters, "seed=-1", "seed must be at least 0, not -1"),
        (SampleParameters, f"seed={MAX_SEED + 1}", f"seed must be at most {MAX_SEED}, not {2**53}"),
        (SampleParameters, "seed=1&seed=1", "seed is given twice"),
        (SampleParameters, "temperature=nan", "temperature must be a finite number, not nan"),
        (SampleParameters, "temperature=-1", "temperature must be at least 0, not -1"),
        (SampleParameters, "timeout_ms=0", "timeout_ms must be above 0, not 0"),
        (EncodeParameters, "format=png", "format must be 'json' or 'npy', not 'png'"),
        (EncodeParameters, "include=kl,logits", "include must be 'logvar', 'kl', 'kl_per_dim' or 'z', not 'logits'"),
        (InterpolateParameters, "steps=1", "steps must be at least 2, not 1"),
        (InterpolateParameters, "method=cubic", "method must be 'linear', 'slerp', 'matched' or 'graph', not 'cubic'"),
        (
            ReconstructParameters,
            "compare=perhaps",
            "compare must be true or false, not 'perhaps'",
        ),
        (DecodeParameters, "layout=" + "x" * 500, f"layout must be 'grid', 'row' or 'column', not '{'x' * 80}'"),
    ],
)
def test_a_bad_value_is_explained(kind: type[Parameters], query: str, message: str) -> None:
    with pytest.raises(BadParameter) as caught:
        read_parameters(kind, query)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SampleParameters, {"n": True}),
        (SampleParameters, {"n": "5"}),
        (SampleParameters, {"n": 5.5}),
        (SampleParameters, {"n": None}),
        (SampleParameters, {"seed": False}),
        (SampleParameters, {"seed": 1.5}),
        (SampleParameters, {"temperature": True}),
        (SampleParameters, {"temperature": "1"}),
        (SampleParameters, {"include": 7}),
        (SampleParameters, {"include": ["z", 7]}),
        (SampleParameters, {"include": {"z": True}}),
        (SampleParameters, {"model": 7}),
        (SampleParameters, {"timeout_ms": True}),
        (ReconstructParameters, {"compare": 1}),
        (ReconstructParameters, {"compare": "true"}),
        (InterpolateParameters, {"method": ["linear"]}),
    ],
)
def test_json_values_must_have_their_type(kind: type[Parameters], value: dict[str, Any]) -> None:
    with pytest.raises(BadParameter, match=f"^{next(iter(value))}(: | must be )"):
        read_parameters(kind, "", value)


@pytest.mark.parametrize("text", ["1", "1.0", "0", "100"])
def test_a_whole_number_of_json_is_a_number(text: str) -> None:
    assert read_parameters(SampleParameters, "", {"temperature": json.loads(text)}).temperature == float(text)


def test_null_in_json_is_what_is_not_given() -> None:
    values = {"seed": None, "model": None, "format": None, "timeout_ms": None}
    assert read_parameters(SampleParameters, "", values) == SampleParameters()


@pytest.mark.parametrize("query", ["%", "%zz", "&&&", "=", "=1", "a;b", "\x00", "%00=%ff", "model=%ff%fe", "é=1"])
def test_odd_queries_are_read_or_refused(query: str) -> None:
    with contextlib.suppress(BadParameter):
        assert isinstance(read_parameters(SampleParameters, query), SampleParameters)


def test_an_object_is_no_list_of_words() -> None:
    with pytest.raises(BadParameter, match=r"include must be a list of words, or a text with commas, not \{"):
        read_parameters(EncodeParameters, "", {"include": {"z": 1}}, {})
