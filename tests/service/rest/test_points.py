"""Points in bodies: the ends of a path, lists of points, pictures or latents; and collections that requests name."""

import io
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from service.engine.errors import TooLarge
from service.formats.errors import BadInput, Undecodable, Unsupported, Unusable
from service.formats.npy import npy
from service.formats.raw_items import RawItems
from service.inference.inference import Inference
from service.operations.items import Entries
from service.operations.service import Service
from service.rest.bodies import Body
from service.rest.parameters import BadParameter
from service.rest.points import ends_of, listed_points, points_of, weighted_points
from service.store.interface import Collection
from tests.service.rest.test_bodies import LATENTS, NPY, PNG, form, of_json, read

Z = [1.0, 2.0, 3.0]
SOME = Collection("some", "grey", "d" * 64, 3)


@pytest.fixture
def inference(app: FastAPI) -> Inference:
    service: Service = app.state.service
    return Inference(service.pipeline.catalog.get("grey"))


# --- ends of a path


def as_list(ends: Entries, i: int) -> Any:
    return ends.raw[i] if ends.raw[i] is not None else ends.ids[i] if ends.ids[i] is not None else ends.mu[i].tolist()


@pytest.mark.parametrize(
    ("body", "start", "end"),
    [
        (of_json({"start": {"image": "AAAA"}, "end": {"image": "BBBB"}, "steps": 3}), "AAAA", "BBBB"),
        (of_json({"start": {"z": [1, 2, 3]}, "end": {"image": "BBBB"}}), [1, 2, 3], "BBBB"),
        (of_json({"start": {"id": "seven"}, "end": {"mu": [1, 2, 3]}}), "seven", [1, 2, 3]),
        (form([("end", ("e.png", b"E")), ("start", ("s.png", b"S"))], {"steps": "3"}), b"S", b"E"),
        (form([("start", (None, b"[1, 2, 3]")), ("end", ("e.png", b"E"))]), [1, 2, 3], b"E"),
    ],
)
def test_each_end_is_a_picture_a_latent_or_an_item(body: Body, start: Any, end: Any) -> None:
    found = ends_of(body, 3, collection=SOME)
    assert [as_list(found, i) for i in range(2)] == [start, end]


GOOD = {"z": [1, 2, 3]}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, r"'end' must be \{\"image\": \"<base64>\"\}, \{\"z\": \[...\]\}, \{\"mu\": \[...\]\} or \{\"id\": \"...\"\}"),
        ([1, 2, 3], "'end' must be"),
        ("AAAA", "'end' must be"),
        ({}, "'end' must be"),
        ({"z": [1, 2, 3], "image": "AAAA"}, "'end' must be"),
        ({"Z": [1, 2, 3]}, "'end' must be"),
        ({"z": [1, 2, 3], "mu": [1, 2, 3]}, "'end' must be"),
        ({"mu": [1, 2]}, "mu of (start|end) has 2 numbers, but the model grey takes 3; name another with model="),
        ({"id": ""}, "an id must be a string of 1 to 512 characters"),
        ({"id": "seven", "z": [1, 2, 3]}, "'end' must be"),
        ({"image": 7}, "the image of 'end' must be a string"),
        ({"z": [1]}, "z of (start|end) has 1 number, but the model grey takes 3"),
        ({"z": [[1, 2, 3]]}, "z of (start|end) has 1 number"),
        ({"z": None}, "z of (start|end) must be a list of 3 numbers, not null"),
        ({"z": [1, 2, True]}, "booleans"),
        ({"z": [1, 2, 1e6]}, "finite"),
    ],
)
def test_an_end_that_is_neither_says_what_it_needs(bad: object, message: str) -> None:
    with pytest.raises(Unusable, match=message):
        ends_of(of_json({"start": GOOD, "end": bad}), 3, "grey")
    with pytest.raises(Unusable, match=message.replace("'end'", "'start'")):
        ends_of(of_json({"start": bad, "end": GOOD}), 3, "grey")


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (of_json({"start": GOOD}), Unusable, "'end' must be"),
        (form([("start", (None, b"[1, 2, 3]"))]), Unusable, "exactly one field 'end', but it has 0"),
        (form([("start", (None, b"[1, 2, 3]"))] * 2), Unusable, "exactly one field 'start', but it has 2"),
        (form([("start", (None, b"[1, 2"))]), Undecodable, "start is neither a file nor a JSON list of numbers"),
        (form([("start", (None, b"7"))]), Unusable, "start must be a file or a JSON list"),
        (read(b""), Undecodable, "send JSON or a form with start and end"),
        (read(PNG), Unsupported, "not as a picture"),
        (read(LATENTS), Unsupported, "not as npy"),
    ],
)
def test_a_body_without_both_ends_says_what_it_needs(body: Body, error: type[BadInput], message: str) -> None:
    with pytest.raises(error, match=message):
        ends_of(body, 3)


def test_npy_files_are_no_latents_of_a_form() -> None:
    """A file is a picture; its bytes are looked at when it is decoded."""
    out = io.BytesIO()
    np.save(out, np.ones(3, np.float32))
    found = ends_of(form([("start", ("z.npy", out.getvalue())), ("end", ("e.png", PNG))]), 3)
    assert found.raw == [out.getvalue(), PNG]


# --- lists of points


def test_a_list_of_points_has_any_kind_in_any_order() -> None:
    rows = [{"image": "AAAA"}, {"z": Z}, {"mu": Z, "sigma": [1, 1, 2]}, {"id": "seven", "image": None}]
    found = listed_points(of_json({"points": rows}), "points", 3, SOME)
    assert (found.raw, found.ids) == (["AAAA", None, None, None], [None, None, None, "seven"])
    assert found.mu.tolist() == [[0, 0, 0], Z, Z, [0, 0, 0]]
    assert found.has_sigma.tolist() == [False, False, True, False]
    assert found.sigma[2].tolist() == [1, 1, 2]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (7, 'point 1: must be an object like {"image": "<base64>"}, {"z": [...]}, {"mu": [...], "sigma": [...]} or {"id"'),
        ({}, "point 1: needs exactly one of image, z, mu and id, but has none"),
        ({"z": Z, "mu": Z}, "point 1: needs exactly one of image, z, mu and id, but has z and mu"),
        ({"z": Z, "sigma": Z}, "point 1: sigma can be given only with mu, not with z"),
        ({"mu": Z, "sigma": [1, 0, 1]}, "point 1: each sigma must be above 0; leave sigma out of a point that has none"),
        ({"z": Z, "wieght": 2}, "point 1: unknown key 'wieght'; known are image, z, mu, sigma, id"),
        ({"z": [1, 2]}, "point 1: z must be a list of 3 numbers, not a list of 2"),
        ({"z": "1, 2, 3"}, "point 1: z must be a list of 3 numbers, not"),
        ({"z": [1, 2, "3"]}, "point 1: z contains strings"),
        ({"z": [1, 2, 2e4]}, "point 1: latents must be finite and between -10000 and 10000"),
        ({"image": 7}, "point 1: the image must be a string"),
        ({"id": "x" * 513}, "point 1: an id must be a string of 1 to 512 characters"),
    ],
)
def test_errors_say_which_point_is_at_fault(row: object, message: str) -> None:
    with pytest.raises(Unusable) as caught:
        listed_points(of_json({"points": [{"z": Z}, row, {"z": Z}]}), "points", 3, SOME)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (of_json({"points": []}), Unusable, "needs 'points', a list of one or more objects"),
        (of_json({"points": {"z": Z}}), Unusable, "needs 'points', a list of one or more objects"),
        (of_json({}), Unusable, "needs 'points', a list of one or more objects"),
        (read(b""), Undecodable, "the body is empty: send JSON with 'points'"),
        (read(LATENTS), Unsupported, "send the points as JSON, not as npy"),
        (read(PNG), Unsupported, "send the points as JSON, not as a picture"),
        (of_json({"points": [{"z": Z}] * 5}), TooLarge, "5"),
        (of_json({"points": [{"id": "seven"}]}), BadParameter, "collection is missing: a point has an id"),
    ],
)
def test_a_body_without_a_list_of_points_says_what_it_needs(body: Body, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        listed_points(body, "points", 3, None)


def test_weights_are_one_unless_they_are_given() -> None:
    body = of_json({"terms": [{"z": Z}, {"z": Z, "weight": -2.5}, {"z": Z, "weight": None}]})
    points, weights = weighted_points(body, "terms", 3, None, -100)
    assert points.mu.tolist() == [Z] * 3
    assert weights.tolist() == [1, -2.5, 1]


@pytest.mark.parametrize("weight", ["2", True, 101, -1, [1], 10**400])
def test_a_weight_that_is_none_is_refused(weight: object) -> None:
    body = Body("json", b"", 4, values={"terms": [{"z": Z}, {"z": Z, "weight": weight}]})
    with pytest.raises(Unusable, match="point 1: weight must be a number from 0 to 100, not"):
        weighted_points(body, "terms", 3, None, 0)


# --- pictures or latents


async def test_pictures_come_as_encode_takes_them(inference: Inference) -> None:
    for body, count in (
        (read(PNG), 1), (read(NPY), 2), (form([("image", ("a", PNG))] * 3), 3), (of_json({"images": ["A", "B"]}), 2),
        (of_json({"image": "A"}), 1),
    ):  # fmt: skip
        found = points_of(body, inference, None)
        assert isinstance(found, RawItems)
        assert len(found) == count


async def test_latents_come_as_decode_takes_them_and_points_in_a_list(inference: Inference) -> None:
    for body in (read(LATENTS), of_json({"z": [[1, 1, 1]] * 2}), of_json({"mu": [[1, 1, 1]] * 2})):
        found = points_of(body, inference, None)
        assert isinstance(found, Entries)
        np.testing.assert_array_equal(found.mu, np.ones((2, 3)))
        assert not found.has_sigma.any()
    listed = points_of(of_json({"points": [{"z": Z}, {"id": "seven"}]}), inference, SOME)
    assert isinstance(listed, Entries)
    assert listed.ids == [None, "seven"]


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (read(b""), Undecodable, "the body is empty"),
        (of_json({"steps": 3}), Unusable, "needs one of images, image, z, mu, points, but has none of them"),
        (of_json({"z": [Z], "images": ["A"]}), Unusable, "but has images and z"),
        (of_json({"z": [Z], "points": [{"z": Z}]}), Unusable, "but has z and points"),
        (of_json({"z": [Z], "mu": [Z]}), Unusable, "has both 'z' and 'mu'"),
        (read(npy(np.ones((2, 4), np.float32))), Unusable, r"z has the shape \(2, 4\), but the model grey takes"),
        (read(npy(np.ones((5, 3), np.float32))), TooLarge, "5"),
        (read(npy(np.ones((2, 3, 3, 3, 3), np.float32))), Unusable, "the pictures are float32"),
    ],
)
async def test_a_body_with_neither_says_what_it_needs(
    inference: Inference, body: Body, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        points_of(body, inference, None)


# --- ids, over HTTP


async def test_ends_may_be_items_of_a_collection(client: AsyncClient) -> None:
    (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
    items = [{"id": "a", "mu": Z}, {"id": "b", "mu": [0, 0, 1]}]
    (await client.post("/collections/some/items", json={"items": items})).raise_for_status()
    ends: dict[str, Any] = {"start": {"id": "a"}, "end": {"id": "b"}}
    found = await client.post("/interpolate?include=z&steps=3&collection=some", json=ends)
    stated = await client.post("/interpolate?include=z&steps=3", json={"start": {"z": Z}, "end": {"z": [0, 0, 1]}})
    assert found.content == stated.content
    twice = await client.post(
        "/interpolate?include=z&steps=3", json={"collection": "some", "start": {"id": "a"}, "end": {"id": "a"}}
    )
    assert twice.json()["z"] == [Z] * 3

    for query, ends, status, code, message in (
        ("", {"start": {"id": "a"}, "end": {"z": Z}}, 422, "invalid_parameter", "collection is missing"),
        ("?collection=none", {"start": {"id": "a"}, "end": {"z": Z}}, 404, "unknown_collection", "none"),
        ("?collection=a/b", {"start": {"id": "a"}, "end": {"z": Z}}, 404, "unknown_collection", "a/b"),
        ("?collection=some", {"start": {"z": Z}, "end": {"id": "c"}}, 404, "unknown_item", "point 1: the collection"),
        ("?collection=some&model=colour", {"start": {"id": "a"}, "end": {"id": "b"}}, 409, "model_mismatch", "colour"),
        ("?collection=some&model=colour", {"start": {"z": Z}, "end": {"z": Z}}, 409, "model_mismatch", "colour"),
    ):  # fmt: skip
        answer = await client.post(f"/interpolate{query}", json=ends)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert message in answer.json()["detail"]


async def test_the_model_of_the_collection_answers(client: AsyncClient) -> None:
    (await client.put("/collections/some", json={"model": "colour"})).raise_for_status()
    ends = {"start": {"z": [0] * 4}, "end": {"z": [1] * 4}}
    answer = await client.post("/interpolate?collection=some", json=ends)
    assert answer.headers["x-model"].startswith("colour@")
    assert answer.content == (await client.post("/interpolate?model=colour", json=ends)).content
