"""Bounds of a whole request: the pixels of all its pictures, the lists of its JSON."""

import io

import httpx
import numpy as np
import orjson
import pytest
from fastapi import FastAPI
from PIL import Image

from service.engine.errors import TooLarge
from service.formats.errors import Unusable
from service.formats.forms import Part
from service.formats.json_size import COUNTED_AT_ONCE, LONGEST_UNICODE, MOST_SPACES, TooManyValues
from service.formats.npy import npy
from service.http.call import Call
from service.rest.bodies import Body, latents_of, pictures_of, read_body
from service.rest.points import ends_of


def picture(side: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (side, side)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(("count", "status"), [(4, 200), (5, 413)])
async def test_many_large_pictures(app: FastAPI, count: int, status: int) -> None:
    """The fixture's application takes 10,000 pixels a picture: four such pictures in one request, not five."""
    files = [("image", ("large.png", picture(100), "image/png"))] * count
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post("/encode", files=files)
    assert answer.status_code == status
    if status == 413:
        assert answer.json()["code"] == "too_many_pixels"
        assert answer.json()["item"] == 4


async def test_a_flood_of_lists_is_not_parsed(app: FastAPI) -> None:
    """It is refused by its brackets, whatever else is wrong with it."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post("/decode", content=b'{"z": [' + b"[0]," * 1000 + b"no JSON")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_items")


@pytest.mark.parametrize(
    "body",
    [
        b'{"z": [[' + b"0," * 1_200_000 + b"no JSON",
        b'{"z": [' + b'{"a":0},' * 10_000 + b"no JSON",
        b'{"z": [' + b"[]," * 30_000 + b"no JSON",
    ],
    ids=["numbers", "objects", "lists"],
)
def test_a_flood_of_values_in_a_long_body_is_not_parsed(body: bytes) -> None:
    with pytest.raises((TooManyValues, TooLarge)):
        read_body(Call({}, "", body), 32)


def test_as_many_latents_as_a_request_may_have_are_no_flood() -> None:
    z = [[0.5] * 1000] * 32
    assert read_body(Call({}, "", orjson.dumps({"z": z})), 32).values == {"z": z}


@pytest.mark.parametrize("deep", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [1_000, 100_000])
async def test_deep_json_is_refused(app: FastAPI, deep: bytes, depth: int) -> None:
    body = b'{"z": ' + deep * depth
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post("/decode", content=body[:99_000])
    assert answer.status_code in (400, 413)
    assert answer.json()["code"] in ("undecodable", "too_many_items")


@pytest.mark.parametrize("path", ["/decode", "/encode", "/collections/c/search"])
@pytest.mark.parametrize("name", ["model", "format", "filter", "metric"])
async def test_long_texts_of_parameters_are_not_repeated(app: FastAPI, path: str, name: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post(path, json={name: "a" * 90_000})
    assert answer.status_code in (404, 422)
    assert len(answer.content) < 10_000


def test_arrays_are_counted_before_they_are_looked_at() -> None:
    for array in (np.zeros((33, 3), np.uint8), np.full((33, 3), np.nan, np.float32)):
        with pytest.raises(TooLarge):
            latents_of(read_body(Call({}, "", npy(array)), 32), 3)
        with pytest.raises(TooLarge):
            pictures_of(read_body(Call({}, "", npy(array[:, None, None, :1])), 32), (1, 1, 1))


def test_json_beyond_ascii_is_shorter() -> None:
    long = {"images": ["é" * (LONGEST_UNICODE // 2)]}
    with pytest.raises(TooManyValues, match="beyond ASCII"):
        read_body(Call({}, "", orjson.dumps(long)), 32)
    assert read_body(Call({}, "", orjson.dumps({"images": ["e" * LONGEST_UNICODE]})), 32).values


@pytest.mark.parametrize("space", [b" ", b"\n", b"\t\r"])
def test_json_of_spaces_is_not_parsed(space: bytes) -> None:
    with pytest.raises(TooManyValues, match="spaces and line ends"):
        read_body(Call({}, "", b'{"seed":' + space * (MOST_SPACES // len(space) + 1) + b"1}"), 32)


@pytest.mark.parametrize(
    ("escape", "is_taken"), [(rb"\u002B", True), (rb"\/", True), (rb"\ud83d\ude00", False), (rb"\u00e9", False)]
)
@pytest.mark.parametrize("before", [0, COUNTED_AT_ONCE - 3, LONGEST_UNICODE])
def test_in_long_bodies_escapes_are_those_of_ascii(escape: bytes, is_taken: bool, before: int) -> None:
    body = b'{"images": ["' + b"a" * before + escape + b"a" * (LONGEST_UNICODE - before) + b'"]}'
    if is_taken:
        assert read_body(Call({}, "", body), 32).kind == "json"
    else:
        with pytest.raises(TooManyValues, match="beyond ASCII"):
            read_body(Call({}, "", body), 32)


@pytest.mark.parametrize("value", [b"[" + b"[]," * 1000 + b"0]", b'["' + b"a" * LONGEST_UNICODE + b'\xc3\xa9"]'])
def test_fields_of_a_form_have_the_bounds_of_json(value: bytes) -> None:
    body = Body("form", b"", 32, parts=[Part("start", None, value), Part("end", None, b"[0]")])
    with pytest.raises((TooLarge, TooManyValues)):
        ends_of(body, 1)


@pytest.mark.parametrize(
    "body",
    [
        Body("json", b"", 32, values={"start": {"z": [0, 1]}, "end": {"z": [0]}}),
        Body("form", b"", 32, parts=[Part("start", None, b"[0, 1]"), Part("end", None, b"[0]")]),
    ],
)
def test_a_bad_end_of_a_path_is_named(body: Body) -> None:
    with pytest.raises(Unusable, match="start has 2 numbers, but the model takes 1"):
        ends_of(body, 1)
