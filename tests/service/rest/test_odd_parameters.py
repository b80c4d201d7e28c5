"""Odd texts for every parameter of every operation, in the query, a form, JSON and the headers: never a fault of ours."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.formats import png
from service.rest.parameters import BadParameter, read_parameters
from service.rest.schemas import SampleParameters
from service.rest.search_schemas import SearchParameters

Operations = list[tuple[str, str, list[str]]]
Share = Callable[[Sequence[Any]], Sequence[Any]]

ODD: list[str] = [
    *("3.0", "3.5", "1e3", "1e400", "nan", "inf", "-inf", "-0", "-1", "+3", "٣", "３", " 3", "3\n", "3_0", "0x3", "", " "),
    *("true", "null", "[]", "{}", "[3]", '"3"', "9" * 30, "9" * 4299, "9" * 5000, "3." + "0" * 400, "\0", "\x7f", "\u2028"),
    *("\ufffd", "%", "a,,b", "json", "mnist@sha256:", "{" * 200, '{"a":1e400}', '{"a":"\\ud800"}'),
]
# in JSON they may be other things than texts
VALUES: list[Any] = [
    3.0,
    3.5,
    -0.0,
    1e308,
    10**18,
    10**19,
    -1,
    True,
    None,
    [],
    {},
    [3],
    "3",
    "٣",
    [None],
    {"a": {"b": []}},
    2**63,
    [[]],
    "\0",
]
PICTURE = png.write(np.zeros((8, 8, 1), np.uint8))
Z = [0.5, 0.5, 0.5]
# what each operation needs beside its parameters: a JSON object, or the files of a form
JSON: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/decode"): {"z": [Z]},
    ("POST", "/sample"): {},
    ("POST", "/interpolate"): {"start": {"z": Z}, "end": {"z": Z}},
    ("POST", "/combine"): {"terms": [{"z": Z}]},
    ("POST", "/barycenter"): {"points": [{"z": Z}]},
    ("POST", "/traverse"): {"z": [Z], "steps": 2},
    ("PUT", "/collections/some"): {},
    ("POST", "/collections/some/items"): {"items": [{"id": "a", "mu": Z}]},
    ("POST", "/collections/some/search"): {"mu": Z},
    ("POST", "/collections/some/delete"): {"ids": ["b"]},
    ("PATCH", "/collections/some/items/a"): {"note": None},
    ("PUT", "/collections/some/directions/smile"): {"positive": {"mu": [Z, Z]}, "negative": {"mu": [[0.0] * 3] * 2}},
    ("POST", "/edit"): {"z": [Z], "collection": "some", "directions": {"smile": 1}},
}
FORMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/encode"): ("image",),
    ("POST", "/reconstruct"): ("image",),
    ("POST", "/traverse"): ("image",),
    ("POST", "/score"): ("image",),
    ("POST", "/interpolate"): ("start", "end"),
    ("POST", "/collections/some/items"): ("image",),
    ("POST", "/collections/some/search"): ("image",),
    ("POST", "/edit"): ("image",),
}
HEADERS = (
    "accept",
    "x-timeout-ms",
    "x-request-id",
    "traceparent",
    "if-none-match",
    "content-type",
    "origin",
    "x-seed",
    "range",
)
SHARE = 5
PLACES = {"{name}": "some", "{id}": "a", "{direction}": "smile"}


@pytest.fixture
def operations(app: FastAPI) -> Operations:
    """(method, path, names of the parameters) of all that the page lists, and what it does not list."""
    found: Operations = []
    for path, methods in app.openapi()["paths"].items():
        for method, described in methods.items():
            names = [one["name"] for one in described.get("parameters", ()) if one["in"] == "query"]
            filled = path
            for place, value in PLACES.items():
                filled = filled.replace(place, value)
            found.append((method.upper(), filled, [*names, "timeout_ms", "what_is_this"]))
    assert len(found) > 15
    return found


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.soak)], ids=["shares", "all"])
def of(request: pytest.FixtureRequest) -> Share:
    """Return the next share of some values: one in five, in turn, so that all are tried with a fifth of the parameters each.

    Parameters of one type have one way to be read. All values with all parameters are the soak test.
    """
    if request.param:
        return lambda values: values
    turns = count()
    return lambda values: values[next(turns) % SHARE :: SHARE]


def check(answer: httpx.Response, *what: Any) -> None:
    assert answer.status_code < 500 or answer.status_code == 504, (*what, answer.text)
    if answer.status_code >= 400:
        assert answer.json()["detail"], what


async def request(client: httpx.AsyncClient, method: str, path: str, query: Mapping[str, str], **more: Any) -> httpx.Response:
    if not more and (method, path) in JSON:
        more["content"] = json.dumps(JSON[method, path])
    if not more and (method, path) in FORMS:
        more["files"] = [(name, ("a.png", PICTURE)) for name in FORMS[method, path]]
    asked = "&".join(f"{quote(name)}={quote(value)}" for name, value in query.items())
    return await client.request(method, f"{path}?{asked}", **more)


@pytest.fixture
async def some(client: httpx.AsyncClient) -> httpx.AsyncClient:
    (await client.put("/collections/some")).raise_for_status()
    return client


async def test_in_the_query(some: httpx.AsyncClient, operations: Operations, of: Share) -> None:
    for method, path, names in operations:
        if method != "DELETE":
            for name in names:
                for odd in of(ODD):
                    check(await request(some, method, path, {name: odd}), method, path, name, odd)


async def test_in_a_form(some: httpx.AsyncClient, operations: Operations, of: Share) -> None:
    for method, path, names in operations:
        for name in names if (method, path) in FORMS else ():
            for odd in of(ODD):
                files = [(field, ("a.png", PICTURE)) for field in FORMS[method, path]]
                for query in ({}, {name: "3"}):
                    answer = await request(some, method, path, query, files=files, data={name: odd})
                    check(answer, method, path, name, odd, query)


async def test_in_json(some: httpx.AsyncClient, operations: Operations, of: Share) -> None:
    for method, path, names in operations:
        for name in [*names, *JSON[method, path]] if (method, path) in JSON else ():
            for odd in of([*ODD, *VALUES]):
                for query in ({}, {name: "3"}):
                    content = json.dumps({**JSON[method, path], name: odd})
                    check(await request(some, method, path, query, content=content), method, path, name, odd, query)


async def test_in_what_is_worked_on(some: httpx.AsyncClient) -> None:
    """Items, queries and ends of paths in JSON; the ends of a path as texts of a form; the names of files."""
    for odd in [*ODD, *VALUES]:
        for name in ("id", "mu", "sigma", "metadata", "image"):
            one = {"mu": Z, name: odd} if name != "image" else {"image": odd}
            nested = {"mu": Z, "metadata": {str(odd): odd, "a": [odd]}}
            for added in ({"items": [one]}, {"items": [nested]}):
                check(await some.post("/collections/some/items", content=json.dumps(added)), name, odd)
            for body in (one, {"queries": [one]}, {"mu": Z, "filter": {"a": odd}}, {"mu": Z, "filter": {"a": {"in": [odd]}}}):
                check(await some.post("/collections/some/search", content=json.dumps(body)), name, odd)
        for end in (odd, {"z": odd}, {"image": odd}, {"z": [odd] * 3}):
            check(await some.post("/interpolate", content=json.dumps({"start": end, "end": {"z": Z}})), odd)
        for side in (
            odd,
            {"a": odd},
            {"filter": odd},
            {"ids": odd},
            {"ids": [odd]},
            {"images": [odd]},
            {"mu": [[odd] * 3] * 2},
        ):
            sides = json.dumps({"positive": side, "negative": {"mu": [Z, Z]}})
            check(await some.put("/collections/some/directions/smile", content=sides), odd, side)
        for amounts in (odd, {"smile": odd}, {str(odd): 1}):
            edit = json.dumps({"z": [Z], "collection": "some", "directions": amounts})
            check(await some.post("/edit", content=edit), odd, amounts)
        check(await some.post("/encode", content=json.dumps({"images": [odd]})), odd)
        check(await some.post("/decode", content=json.dumps({"z": [[odd] * 3]})), odd)
    for odd in ODD:
        ends = {"start": odd, "end": json.dumps(Z)}
        check(await some.post("/interpolate", files={"x": ("", b"")}, data=ends), odd)
        check(await some.post("/interpolate", files=[(name, (None, text)) for name, text in ends.items()]), odd)
        check(await some.post("/collections/some/items", files={"image": (odd, PICTURE)}), odd)
        check(await some.post("/encode", files={odd: (odd, PICTURE)}), odd)


async def test_in_paths(some: httpx.AsyncClient) -> None:
    for odd in (*ODD, "%ff", "%ed%a0%80", "%00", "a%2fb"):
        text = odd if odd.startswith("%") else quote(odd, safe="")
        for method, path in (
            ("GET", "/collections/{}"), ("PUT", "/collections/{}"), ("GET", "/collections/{}/items"), ("GET", "/{}"),
            ("GET", "/collections/some/items/{}"), ("DELETE", "/collections/some/items/{}"), ("GET", "/models/{}"),
            ("GET", "/collections/some/directions/{}"), ("DELETE", "/collections/some/directions/{}"),
        ):  # fmt: skip
            if len(text) < 5000:
                check(await some.request(method, path.format(text)), method, path, odd)


async def test_in_headers(some: httpx.AsyncClient) -> None:
    for name in HEADERS:
        for odd in (*ODD, "\xff", "\xed\xa0\x80", "q=nan", "image/png;q=1e999", "text/html;q=inf,*/*;q=nan"):
            value = odd.encode("utf-8" if ord(max(odd, default=" ")) > 255 else "latin-1")
            for method, path in (("GET", "/sample"), ("POST", "/encode"), ("GET", "/models")):
                content = PICTURE if method == "POST" else None
                answer = await some.request(method, path, headers=[(name.encode(), value)], content=content)
                check(answer, method, path, name, odd)


async def test_a_whole_number_may_have_zeros_behind_its_point(some: httpx.AsyncClient) -> None:
    files = [(name, ("a.png", PICTURE)) for name in ("start", "end")]
    answer = await some.post("/interpolate", files=files, data={"steps": "3.0"})
    assert len(answer.raise_for_status().json()["images"]) == 3
    assert (await some.post("/interpolate?steps=3", files=files, data={"steps": "99.0"})).status_code == 422


def test_an_empty_filter_in_the_query_does_not_override_the_body() -> None:
    read = read_parameters(SearchParameters, "filter={}&k=2", {"filter": {"label": 7}, "k": 3})
    assert [condition.key for condition in read.filter] == ["label"]
    assert read.k == 2
    assert not read_parameters(SearchParameters, "filter={}").filter


@pytest.mark.parametrize(("value", "shown"), [(True, "true"), (7.5, "7.5"), ([7.5], "[7.5]"), ([], "[]")])
def test_a_label_is_a_text_or_a_whole_number(value: object, shown: str) -> None:
    assert read_parameters(SampleParameters, "", {"label": 7}) == read_parameters(SampleParameters, "label=7")
    assert read_parameters(SampleParameters, "", {"label": [7, "a"]}) == read_parameters(SampleParameters, 'label=[7,"a"]')
    with pytest.raises(
        BadParameter, match=re.escape(f"label must be a text, a whole number, or a list of these, not {shown}")
    ):
        read_parameters(SampleParameters, "", {"label": value})
