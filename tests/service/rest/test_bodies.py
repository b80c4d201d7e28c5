"""What a body is and what it brings, in every dress that clients give it."""

import json
from typing import Any

import httpx
import numpy as np
import pytest

from service.engine.errors import TooLarge
from service.formats import png
from service.formats.errors import BadInput, Undecodable, Unsupported, Unusable
from service.formats.forms import TooManyParts
from service.formats.npy import npy
from service.formats.raw_items import RawItems
from service.http.call import Call
from service.rest.bodies import Body, latents_of, pictures_of, read_body
from service.rest.parameters import BadParameter
from service.rest.point_schemas import BarycenterParameters, CombineParameters
from service.rest.schemas import DecodeParameters, EncodeParameters, InterpolateParameters, SampleParameters

PNG = png.write(np.zeros((8, 8, 1), np.uint8))
NPY = npy(np.zeros((2, 8, 8), np.uint8))
LATENTS = npy(np.ones((2, 3), np.float32))
SHAPE = (8, 8, 1)


def call(body: bytes, content_type: str | None = None) -> Call:
    return Call({} if content_type is None else {"content-type": content_type}, "", body)


def read(body: bytes, content_type: str | None = None, max_items: int = 4) -> Body:
    return read_body(call(body, content_type), max_items)


def form(files: Any, data: Any = None, max_items: int = 4) -> Body:
    """A body as httpx sends a form."""
    request = httpx.Request("POST", "http://test", files=files, data=data)
    return read(request.read(), request.headers["content-type"], max_items)


def of_json(value: object) -> Body:
    return read(json.dumps(value).encode(), "application/json")


# --- what a body is

CURL = "application/x-www-form-urlencoded"  # what curl --data-binary says of any body


@pytest.mark.parametrize(
    ("body", "content_type", "kind"),
    [
        (b"", None, "empty"),
        (b"", "image/png", "empty"),
        (b"", "application/json", "empty"),
        (PNG, CURL, "picture"),
        (PNG, None, "picture"),
        (PNG, "application/octet-stream", "picture"),
        (PNG, "application/json", "picture"),
        (PNG, "image/jpeg", "picture"),
        (b"\xff\xd8\xff\xe0", "text/plain", "picture"),
        (NPY, CURL, "npy"),
        (NPY, "image/png", "npy"),
        (b'{"z": []}', CURL, "json"),
        (b' \r\n\t{"z": []}', None, "json"),
        (b'{"z": []}', "application/json; charset=utf-8", "json"),
        (b'{"z": []}', "Application/JSON", "json"),
        (b'{"z": []}', "text/plain", "json"),
        (b'{"z": []}', "image/png", "json"),
        (b"hello", "image/png", "picture"),
        (b"hello", "IMAGE/X-ANYTHING; q=1", "picture"),
        (b"hello", "application/x-npy", "npy"),
    ],
)
def test_the_first_bytes_decide_what_a_body_is_then_its_type(body: bytes, content_type: str | None, kind: str) -> None:
    assert read(body, content_type).kind == kind


def test_what_is_called_json_is_read_as_json() -> None:
    with pytest.raises(Undecodable, match="not JSON"):
        read(b"hello", "application/json")


def test_a_form_is_known_by_its_type() -> None:
    assert form([("image", ("a.png", PNG))]).kind == "form"
    with pytest.raises(Undecodable, match="boundary"):
        read(b"--xyz", "multipart/form-data")


@pytest.mark.parametrize("content_type", [None, CURL, "application/octet-stream", "text/plain", "application/xml"])
@pytest.mark.parametrize("body", [b"hello", b"<svg/>", b"seed: 7", b" " * 100, b"%PDF-1.7", b"--xyz\r\n"])
def test_what_neither_bytes_nor_type_tell_is_unsupported(body: bytes, content_type: str | None) -> None:
    with pytest.raises(Unsupported, match="the body is not a picture, a form, JSON or npy") as caught:
        read(body, content_type)
    assert (content_type or "not stated") in str(caught.value)
    assert f"first bytes are {str(body[:8])[1:]}" in str(caught.value)


def test_parameters_and_values_of_curl_d_are_told_what_to_be() -> None:
    for body in (b"n=3", b"n=3&seed=7", b"text=a%20b+c", b"n="):
        with pytest.raises(Unsupported, match="send the parameters in the query or as JSON; URL-encoded forms are not read"):
            read(body, CURL)
    with pytest.raises(Unusable, match="the JSON body must be an object, not a string"):
        read(b'"a"', CURL)
    for body, claimed in ((PNG, CURL), (PNG, "image/png"), (NPY, CURL), (b"II*\0\x08\0\0\0\x0d", CURL)):
        with pytest.raises(Undecodable, match="curl -d has removed all line ends and zeros from the file"):
            read(body.translate(None, b"\0\r\n"), claimed)


def test_a_form_may_have_its_parameters_beside_as_many_pictures_as_allowed() -> None:
    pictures = [("image", ("a.png", PNG))] * 4
    assert len(form(pictures, {f"p{i}": "1" for i in range(20)}).parts) == 24
    with pytest.raises(TooManyParts):
        form(pictures, {f"p{i}": "1" for i in range(21)})


# --- parameters beside the payload


def test_parameters_of_json_are_what_is_no_payload() -> None:
    assert of_json({"images": ["AAAA"], "seed": 7, "include": ["kl"]}).parameters(EncodeParameters) == (
        {"seed": 7, "include": ["kl"]},
        {},
    )
    assert read(PNG).parameters(EncodeParameters) == ({}, {})
    assert of_json({"n": 3, "images": []}).parameters(SampleParameters) == ({"n": 3, "images": []}, {})


def test_parameters_of_a_form_are_its_other_fields() -> None:
    body = form([("image", ("a.png", PNG)), ("image", (None, PNG))], {"seed": "7", "model": "größer"})
    assert body.parameters(EncodeParameters) == ({}, {"seed": "7", "model": "größer"})


def test_a_field_of_a_form_given_twice_is_refused() -> None:
    with pytest.raises(BadParameter, match="seed is given twice"):
        form([("image", ("a.png", PNG))], {"seed": ["7", "7"]}).parameters(EncodeParameters)


@pytest.mark.parametrize("field", ["images", "file", "seed", ""])
def test_a_file_in_another_field_is_refused_with_the_right_one(field: str) -> None:
    with pytest.raises(BadParameter, match=f"unknown file field '{field}'; the fields for files are: 'image'"):
        form([(field, ("a.png", PNG))]).parameters(EncodeParameters)
    with pytest.raises(BadParameter, match="the fields for files are: 'start', 'end'"):
        form([(field, ("a.png", PNG))]).parameters(InterpolateParameters)
    with pytest.raises(BadParameter, match="this request takes no files in a form; send JSON, or npy as the body"):
        form([(field, ("a.png", PNG))]).parameters(DecodeParameters)
    with pytest.raises(BadParameter, match="no files in a form; send the terms as JSON"):
        form([(field, ("a.png", PNG))]).parameters(CombineParameters)
    with pytest.raises(BadParameter, match="no files in a form; send the points as JSON"):
        form([(field, ("a.png", PNG))]).parameters(BarycenterParameters)


# --- pictures


def test_pictures_come_in_five_dresses() -> None:
    assert pictures_of(read(PNG), SHAPE) == RawItems([PNG], alone=True)
    assert pictures_of(of_json({"image": "AAAA"}), SHAPE) == RawItems(["AAAA"], alone=True)
    assert pictures_of(of_json({"images": ["AAAA", "BBBB"]}), SHAPE) == RawItems(["AAAA", "BBBB"])
    assert pictures_of(form([("image", ("a.png", PNG)), ("image", ("b.png", b"B"))]), SHAPE) == RawItems([PNG, b"B"])
    assert pictures_of(form([("image", (None, PNG))]), SHAPE) == RawItems([PNG])
    rows = pictures_of(read(NPY), SHAPE).rows
    assert rows is not None
    assert (rows.shape, len(pictures_of(read(NPY), SHAPE))) == ((2, 1, 8, 8), 2)


def test_pictures_are_counted_before_they_are_decoded() -> None:
    assert len(pictures_of(of_json({"images": ["!"] * 1000}), SHAPE)) == 1000


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (read(b""), Undecodable, "the body is empty: send a picture, a form, JSON or npy"),
        (of_json({}), Unusable, "has no 'images'"),
        (of_json({"image": ["AAAA"]}), Unusable, "'image' must be a string"),
        (of_json({"image": "AAAA", "images": None}), Unusable, "both 'images' and 'image'"),
        (of_json({"images": []}), Unusable, "'images' must be a list of one or more base64 pictures"),
        (of_json({"images": "AAAA"}), Unusable, "'images' must be a list"),
        (of_json({"images": None}), Unusable, "'images' must be a list"),
        (of_json({"images": {"0": "AAAA"}}), Unusable, "'images' must be a list"),
        (form([("picture", (None, PNG))]), Unusable, "the form has no field 'image'"),
        (read(npy(np.zeros((0, 8, 8), np.uint8))), Unusable, "at least one picture is needed"),
        (read(npy(np.zeros((2, 9, 8), np.uint8))), Unusable, r"\(2, 9, 8"),
        (read(NPY[:-1]), Undecodable, "127 bytes of data"),
    ],
)
def test_a_body_without_pictures_says_what_it_needs(body: Body, error: type[BadInput], message: str) -> None:
    with pytest.raises(error, match=message):
        pictures_of(body, SHAPE)


# --- latents


def test_latents_come_as_json_or_npy() -> None:
    rows = [[1, 1, 1], [1, 1, 1]]
    for body in (of_json({"z": rows}), of_json({"mu": rows}), read(LATENTS), read(LATENTS, CURL)):
        np.testing.assert_array_equal(latents_of(body, 3), np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (read(b""), Undecodable, "the body is empty"),
        (read(PNG), Unsupported, "latents must be sent as JSON or npy, not as a picture"),
        (form([("z", (None, b"[[1, 1, 1]]"))]), Unsupported, "not as a form"),
        (of_json({"Z": [[1, 1, 1]]}), Unusable, "has no 'z'"),
        (of_json({"z": [[1, 1, 1]], "mu": [[1, 1, 1]]}), Unusable, "both 'z' and 'mu'"),
        (of_json({"mu": [[1, 1]]}), Unusable, r"mu has the shape \(1, 2\), but the model grey .*; name another with model="),
        (of_json({"z": []}), Unusable, "one or more latents"),
        (of_json({"z": 1}), Unusable, "must be a list"),
        (of_json({"z": [1, 1, 1]}), Unusable, r"shape \(3,\), but the model grey takes .* \(N, 3\): a list of latents"),
        (of_json({"z": [[1, 1]]}), Unusable, r"\(1, 2\)"),
        (read(npy(np.ones((0, 3)))), Unusable, "at least one latent is needed"),
        (read(b"hello", "application/x-npy"), Undecodable, "header of the npy file is corrupt"),
    ],
)
def test_a_body_without_latents_says_what_it_needs(body: Body, error: type[BadInput], message: str) -> None:
    with pytest.raises(error, match=message):
        latents_of(body, 3, "grey")


def test_more_latents_than_allowed_are_counted_before_they_are_looked_at() -> None:
    assert len(latents_of(of_json({"z": [[1, 1, 1]] * 4}), 3)) == 4
    with pytest.raises(TooLarge, match="5 items, at most 4"):
        latents_of(of_json({"z": [["not", "a", "number"]] * 5}), 3)
