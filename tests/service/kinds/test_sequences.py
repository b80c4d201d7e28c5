"""What only drawings and texts have: steps with their temperature and length, continuations, SVG and plain text."""

import time
import xml.etree.ElementTree as ET
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.engine.errors import DeadlineExceeded
from service.inference.inference import Inference
from service.rest import bodies
from service.rest.kinds import wire, wire_of
from service.rest.kinds.texts import TextsWire
from tests.service.kinds.kind_requests import BY_MODEL, SQUARE, TRIANGLE

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEQUENCES = ["strokes", "lines"]


async def data(client: httpx.AsyncClient, path: str, **more: Any) -> list[Any]:
    answer = await (client.post(path, **more) if more else client.get(path))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return list(found["strokes"] if "strokes" in found else found["texts"])


@pytest.mark.parametrize("model", SEQUENCES)
async def test_steps_are_drawn_with_the_seed_or_greedy(client: httpx.AsyncClient, model: str) -> None:
    path = f"/sample?model={model}&n=4&seed=2"
    usual = await data(client, path)
    assert usual == await data(client, f"{path}&temperature=0.7")
    greedy = await data(client, f"{path}&temperature=0")
    assert greedy != usual
    z = (await client.get(f"{path}&include=z")).json()["z"]
    assert greedy == await data(client, f"/decode?model={model}", json={"z": z})
    drawn = await data(client, f"/decode?model={model}&temperature=1&seed=4", json={"z": z})
    assert drawn == await data(client, f"/decode?model={model}&temperature=1&seed=4", json={"z": z})
    assert drawn != await data(client, f"/decode?model={model}&temperature=1&seed=5", json={"z": z})
    unseeded = (await client.post(f"/decode?model={model}&temperature=1", json={"z": z})).json()
    again = await client.post(f"/decode?model={model}&temperature=1&seed={unseeded['seed']}", json={"z": z})
    assert again.json() == unseeded


@pytest.mark.parametrize("model", SEQUENCES)
async def test_max_length(client: httpx.AsyncClient, model: str) -> None:
    whole = await data(client, f"/sample?model={model}&n=4&seed=2&temperature=0")
    short = await data(client, f"/sample?model={model}&n=4&seed=2&temperature=0&max_length=3")
    assert max(map(len, whole)) > 3
    if model == "lines":
        assert short == [text[:3] for text in whole]
    else:
        assert [drawing[:2] for drawing in short] == [drawing[:2] for drawing in whole]
        assert max(map(len, short)) == 3
    refused = await client.get(f"/sample?model={model}&max_length=99")
    assert (refused.status_code, "makes at most" in refused.json()["detail"]) == (422, True)
    refused = await client.get("/sample?max_length=3")
    assert (refused.status_code, "max_length is for drawings and texts" in refused.json()["detail"]) == (422, True)
    refused = await client.get(f"/sample?model={model}&pixels=sample")
    assert (refused.status_code, "use temperature=1" in refused.json()["detail"]) == (422, True)


@pytest.mark.parametrize("model", SEQUENCES)
async def test_continuations_depend_on_seed_and_beginning_alone(client: httpx.AsyncClient, model: str) -> None:
    about = BY_MODEL[model]
    begun = [item[:3] for item in about.items if len(item) >= 3]
    path = f"/complete?model={model}&seed=4"
    found = await data(client, f"{path}&n=3", json={about.many: begun})
    assert [len(one) for one in found] == [3] * len(begun)
    for continuations, beginning in zip(found, begun, strict=True):
        for one in continuations:
            if model == "lines":
                assert one.startswith(beginning)
            else:  # The first point is always the origin, and numbers are rounded.
                np.testing.assert_allclose(one[1 : len(beginning)], beginning[1:], atol=0.1)
        assert len({str(one) for one in continuations}) > 1
    assert [one[:2] for one in found] == await data(client, f"{path}&n=2", json={about.many: begun})
    assert found[:1] == await data(client, f"{path}&n=3", json={about.one: begun[0]})
    assert found != await data(client, f"/complete?model={model}&seed=5&n=3", json={about.many: begun})
    too_many = await client.post(f"{path}&n=60", json={about.many: begun})
    assert (too_many.status_code, too_many.json()["code"]) == (422, "too_many_items")
    other = await client.post("/complete?model=penguins", json={"rows": [{}]})
    assert (other.status_code, other.json()["code"]) == (422, "unusable_model")


async def test_svg_in_and_out(client: httpx.AsyncClient) -> None:
    path = "/encode?model=strokes"
    data = "M0 0h50l-25 40z"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><path d="{data}"/></svg>'
    wanted = (await client.post(path, content=svg, headers={"content-type": "image/svg+xml"})).json()["mu"]
    for sent in (
        {"content": svg}, {"content": data}, {"json": {"sketch": svg}}, {"json": {"strokes": [data]}},
        {"files": [("strokes", ("a.svg", svg))]},
    ):  # fmt: skip
        assert (await client.post(path, **sent)).json()["mu"] == wanted
    one = await client.post("/reconstruct?model=strokes&format=svg", json={"sketch": TRIANGLE})
    assert one.headers["content-type"] == "image/svg+xml"
    assert len(ET.fromstring(one.text).findall("{*}path")) == 1
    several = await client.post("/reconstruct?model=strokes&format=svg", json={"strokes": [TRIANGLE, SQUARE, TRIANGLE]})
    assert len(ET.fromstring(several.text).findall("{*}svg")) == 3
    broken = await client.post(path, json={"strokes": [TRIANGLE, "<svg"]})
    assert (broken.status_code, broken.json()["item"]) == (400, 1)
    empty = await client.post(path, json={"strokes": [[], TRIANGLE]})
    assert (empty.status_code, empty.json()["item"]) == (422, 0)


async def test_plain_text_in_and_out(client: httpx.AsyncClient) -> None:
    wanted = (await client.post("/encode?model=lines", json={"text": "the digits"})).json()["mu"]
    for headers in ({"content-type": "text/plain"}, {}):
        assert (await client.post("/encode?model=lines", content="the digits\n", headers=headers)).json()["mu"] == wanted
    answer = await client.get("/sample?model=lines&n=2&seed=1", headers={"accept": "text/plain"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    texts = (await client.get("/sample?model=lines&n=2&seed=1")).json()["texts"]
    assert answer.text == "\n".join(f"{text.rstrip()}\n" for text in texts)
    unknown = await client.post("/encode?model=lines", json={"texts": ["a", "ß"]})
    assert (unknown.status_code, unknown.json()["item"]) == (422, 1)
    assert "the character 'ß' (U+00DF)" in unknown.json()["detail"]


@pytest.mark.parametrize(
    ("odd", "found"), [("a\n\nb", "has an empty line"), ("\na", "has an empty line"), (" \n", "is empty")]
)
async def test_texts_that_an_empty_line_does_not_separate_are_refused(
    client: httpx.AsyncClient, odd: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ["a\nb \n", odd]  # No text of this model has more than one line.
    monkeypatch.setattr(TextsWire, "json", lambda wire, model, data: made[-len(data) :])
    refused = await client.get("/sample?model=lines&n=2&format=txt")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_parameter")
    assert f"text 1 of 2 {found} itself: ask for format=json" in refused.json()["detail"]
    alone = await client.get("/sample?model=lines&n=1&format=txt")
    assert (alone.status_code, alone.text) == (200, f"{odd.rstrip()}\n")
    assert (await client.get("/sample?model=lines&n=2")).json()["texts"] == made
    made[1] = "c \n \nd"  # A line of spaces is not empty.
    separated = await client.get("/sample?model=lines&n=2", headers={"accept": "text/plain"})
    assert separated.text == "a\nb\n\nc \n \nd\n"


async def test_the_page_has_continuations_and_its_example_works(client: httpx.AsyncClient) -> None:
    page = (await client.get("/openapi.json")).json()
    example = page["paths"]["/complete"]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = await client.post("/complete", json=example)
    assert answer.status_code == 200, answer.text
    assert [len(one) for one in answer.json()["texts" if "texts" in example else "strokes"]] == [2]


@pytest.mark.parametrize("model", SEQUENCES)
async def test_beginnings_are_never_cut(client: httpx.AsyncClient, model: str) -> None:
    key, begun = {"strokes": ("strokes", TRIANGLE[:3]), "lines": ("texts", "the")}[model]
    path = f"/complete?model={model}&seed=1&max_length="
    refused = await client.post(f"{path}2", json={key: [begun]})
    assert refused.status_code == 422
    assert "beginning 0 has 3 steps, but max_length, which counts them too, is 2" in refused.json()["detail"]
    full = (await client.post(f"{path}3", json={key: [begun]})).json()
    assert [warning["code"] for warning in full["warnings"]] == ["no_room"]
    assert len(full[key][0][0]) == 3
    longer = (await client.post(f"{path}4", json={key: [begun]})).json()
    assert "warnings" not in longer
    refused = await client.post(f"/complete?model={model}&n=64", json={key: [begun] * 2})
    assert "so n can be at most 32 here" in refused.json()["detail"]


async def test_drawings_without_a_shape_are_told(client: httpx.AsyncClient) -> None:
    flat = '<svg><path transform="scale(0)" d="M0 0l5 5l3 -9"/></svg>'
    found = (await client.post("/encode?model=strokes", json={"strokes": [TRIANGLE, [[0, 0, 0], [0, 0, 1]], flat]})).json()
    assert [(warning["item"], warning["code"]) for warning in found["warnings"]][:2] == [(1, "blank"), (2, "blank")]


async def test_reading_svg_ends_at_the_deadline(client: httpx.AsyncClient) -> None:
    slow = "M0 0" + "l1 1l-1 2" * 9000
    late = await client.post("/encode?model=strokes&timeout_ms=10", json={"strokes": [slow] * 2})
    assert (late.status_code, "while SVG was read" in late.json()["detail"]) == (504, True)


@pytest.mark.parametrize("model", ["strokes", "lines", "penguins"])
async def test_few_items_are_drawn_as_pictures(client: httpx.AsyncClient, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_DRAWN", 8)
    for path in ("/sample?n=9&seed=1&format=png", "/sample?n=9&seed=1&view=picture", "/manifold?n=3"):
        refused = await client.get(f"{path}&model={model}")
        assert (refused.status_code, refused.json()["code"]) == (422, "too_many_items")
        assert "at most 8 are drawn in one answer" in refused.json()["detail"]
    assert (await client.get(f"/sample?n=8&seed=1&format=png&model={model}")).status_code == 200


async def test_drawing_pictures_ends_at_the_deadline(app: FastAPI) -> None:
    model = app.state.service.pipeline.catalog.get("penguins")
    with pytest.raises(DeadlineExceeded, match="while pictures were drawn"):
        wire_of(model).pictures(Inference(model, time.monotonic() - 1), model.kind.example)


@pytest.mark.parametrize("model", SEQUENCES)
async def test_continuations_that_add_nothing_are_told(client: httpx.AsyncClient, model: str) -> None:
    about = BY_MODEL[model]
    all_begun: dict[str, list[Any]] = {
        "strokes": [TRIANGLE, TRIANGLE[:2]],
        "lines": ["the digits", "of 28 by 28 bits", "th"],
    }
    begun = all_begun[model]
    path = f"/complete?model={model}&seed=1&temperature=1&n=16"
    answer = (await client.post(path, json={about.many: begun})).json()
    same = [sum(len(one) == len(start) for one in some) for start, some in zip(begun, answer[about.many], strict=True)]
    assert 0 < max(same) < 16
    told = {warning["item"]: warning["detail"] for warning in answer["warnings"] if warning["code"] == "nothing_added"}
    assert {item: text.split(", because")[0] for item, text in told.items()} == {
        item: f"{count} of the 16 continuations add nothing" for item, count in enumerate(same) if count
    }
    media = {"strokes": "image/svg+xml", "lines": "text/plain"}[model]
    other = await client.post(path, json={about.many: begun}, headers={"accept": media})
    assert other.headers["x-warnings"] == str(len(answer["warnings"]))


@pytest.mark.parametrize("model", SEQUENCES)
async def test_no_operation_draws_from_the_mean_of_a_sequence(client: httpx.AsyncClient, model: str) -> None:
    about = BY_MODEL[model]
    item, more = {about.one: about.items[0]}, f"?model={model}&pixels=sample"
    z = (await client.post(f"/encode?model={model}", json=item)).json()["mu"]
    file = (await client.post(f"/compress?model={model}", json=item)).content
    points = [{"z": z[0]}, {"z": z[0]}]
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/sample", {}),
        ("/decode", {"json": {"z": z}}),
        ("/reconstruct", {"json": item}),
        ("/decompress", {"content": file}),
        ("/combine", {"json": {"terms": points}}),
        ("/barycenter", {"json": {"points": points}}),
        ("/edit", {"json": {"z": z, "directions": {"a": 1}}}),
    ]
    for path, body in asked:
        refused = await client.post(f"{path}{more}", **body) if body else await client.get(f"{path}{more}")
        assert (refused.status_code, "use temperature=1" in refused.json()["detail"]) == (422, True), refused.text


@pytest.mark.parametrize("model", ["strokes", "lines", "penguins"])
async def test_no_operation_ignores_a_label(client: httpx.AsyncClient, model: str) -> None:
    about = BY_MODEL[model]
    item, z = {about.one: about.items[0]}, [[0.0] * 4]
    ends = {"start": {"z": z[0]}, "end": {"z": z[0]}}
    file = (await client.post(f"/compress?model={model}", json=item)).content
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/encode", item),
        ("/decode", {"z": z}),
        ("/reconstruct", item),
        ("/score", item),
        ("/interpolate", ends),
        ("/traverse", item),
        ("/compress", item),
    ]
    for path, body in asked:
        for more, sent in (("&label=7", body), ("", {**body, "label": 7})):
            refused = await client.post(f"{path}?model={model}{more}", json=sent)
            assert (refused.status_code, refused.json().get("code")) == (422, "no_such_label"), (path, refused.text)
    refused = await client.post(f"/decompress?model={model}&label=7", content=file)
    assert (refused.status_code, refused.json()["code"]) == (422, "no_such_label")


@pytest.mark.parametrize("model", SEQUENCES)
async def test_the_coldest_temperatures_are_greedy(client: httpx.AsyncClient, model: str) -> None:
    greedy = await data(client, f"/sample?model={model}&n=4&seed=2&temperature=0")
    for temperature in ("1e-323", "1e-45", "1e-40", "2e-38", "1e-35", "1e-20"):
        assert await data(client, f"/sample?model={model}&n=4&seed=2&temperature={temperature}") == greedy


async def test_drawings_of_too_many_points_are_counted_in_points(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MOST_LISTS", 1000)
    refused = await client.post("/encode?model=strokes", json={"strokes": [[[0, 0, 0]] * 2000]})
    assert (refused.status_code, refused.json()["code"]) == (413, "too_many_items")
    assert "the JSON has about 2002 points of drawings, at most 1000 are allowed" in refused.json()["detail"]
    bodies_of_rows: list[dict[str, Any]] = [{"rows": [{"year": 2008}] * 5000}, {"rows": [{}] * 20_000}]
    for body in bodies_of_rows:
        refused = await client.post("/encode?model=penguins", json=body)
        assert (refused.status_code, f"has {len(body['rows'])} items, at most 64" in refused.json()["detail"]) == (413, True)


async def test_a_format_of_other_models_is_told(client: httpx.AsyncClient) -> None:
    refused = await client.get("/sample?model=lines&format=webp")
    assert refused.status_code == 422
    assert refused.json()["detail"].endswith("; formats in takes of /models says which of these a model answers")
