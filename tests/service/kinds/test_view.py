"""view=picture: answers with items of any kind have pictures, the same in each format; of pictures it changes nothing."""

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.service.kinds.kind_requests import KINDS, About

pytestmark = pytest.mark.asyncio(loop_scope="session")
of_each_kind = pytest.mark.parametrize("about", KINDS, ids=[about.model for about in KINDS])
VIEW = "&view=picture"


async def ok(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    answer = await client.request(method, path, **more)
    assert answer.status_code == 200, answer.text
    return answer


def opened(file: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file)))


@of_each_kind
async def test_the_same_pictures_in_each_format(client: httpx.AsyncClient, about: About) -> None:
    z = [[0.5, -1.0, 0.25, 2.0], [0.0] * 4]
    path = f"/decode?model={about.model}{VIEW}"
    shape = (await ok(client, "GET", f"/models/{about.model}")).json()["view"]
    shown = (await ok(client, "POST", path, json={"z": z})).json()
    assert shown["shape"] == shape
    assert about.many not in shown
    pixels = np.stack([opened(base64.b64decode(one)) for one in shown["images"]])
    npy = np.load(io.BytesIO((await ok(client, "POST", f"{path}&format=npy", json={"z": z})).content))
    assert (npy.shape, npy.dtype) == ((2, *shape), np.uint8)
    np.testing.assert_array_equal(npy.reshape(pixels.shape), pixels)
    floats = np.load(io.BytesIO((await ok(client, "POST", f"{path}&format=npy&dtype=float32", json={"z": z})).content))
    np.testing.assert_array_equal(floats, npy / np.float32(255))
    png = (await ok(client, "POST", f"{path}&format=png", json={"z": z[:1]})).content
    np.testing.assert_array_equal(opened(png), pixels[0])
    without = (await ok(client, "POST", f"/decode?model={about.model}&format=png", json={"z": z[:1]})).content
    assert png == without


@of_each_kind
async def test_every_answer_with_items(client: httpx.AsyncClient, about: About) -> None:
    model, item = f"model={about.model}{VIEW}", {about.one: about.items[0]}
    assert len((await ok(client, "GET", f"/sample?{model}&n=3&seed=1")).json()["images"]) == 3
    ends = {"start": item, "end": {"z": [0.0] * 4}}
    assert len((await ok(client, "POST", f"/interpolate?{model}&steps=3", json=ends)).json()["images"]) == 3
    walk = (await ok(client, "POST", f"/traverse?{model}&dims=0,1&steps=3", json=item)).json()
    assert (len(walk["images"]), len(walk["rows"])) == (6, 2)
    assert len((await ok(client, "GET", f"/manifold?{model}&n=2&format=json")).json()["images"]) == 4
    made = (await ok(client, "POST", f"/reconstruct?{model}&compare=true", json=item)).json()
    assert [len(made["images"]), len(made["originals"])] == [1, 1]
    assert opened(base64.b64decode(made["originals"][0])).min() < 128
    assert (await ok(client, "GET", f"/models/{about.model}/examples?view=picture")).json()["images"] == []
    tag, other = [(await ok(client, "GET", f"/sample?{some}&seed=1")).headers["etag"] for some in (model, model[: -len(VIEW)])]
    assert tag != other


async def test_files_of_data_are_refused(client: httpx.AsyncClient) -> None:
    refused = await client.get(f"/sample?model=penguins{VIEW}&format=csv")
    assert refused.status_code == 422
    assert refused.json()["detail"] == (
        "format: with view=picture answers are pictures, not csv: leave view out, or ask for json, npy, png"
    )


@pytest.mark.parametrize("form", ["json", "npy", "png"])
async def test_of_pictures_it_changes_nothing(client: httpx.AsyncClient, form: str) -> None:
    path = f"/sample?model=grey&n=3&seed=4&format={form}"
    assert (await ok(client, "GET", path + VIEW)).content == (await ok(client, "GET", path)).content


@of_each_kind
async def test_paths_and_traversals_of_every_kind_are_animated(client: httpx.AsyncClient, about: About) -> None:
    ends = {"start": {about.one: about.items[0]}, "end": {about.one: about.items[1]}, "steps": 3}
    for path, body in (("/interpolate", ends), ("/traverse", {about.one: about.items[0], "steps": 3})):
        for form in ("webp", "gif"):
            answer = await client.post(f"{path}?model={about.model}&format={form}", json=body)
            assert (answer.status_code, answer.headers["content-type"]) == (200, f"image/{form}"), answer.text
    refused = await client.post(f"/reconstruct?model={about.model}&format=webp", json={about.one: about.items[0]})
    assert refused.status_code == 422
