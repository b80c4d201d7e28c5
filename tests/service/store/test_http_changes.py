"""Uploads as browsers and phones make them, patches, deletions and originals, through the application on every backend."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.formats import png
from service.formats.generic_names import is_generic
from tests.service.rest.test_errors import check
from tests.service.store.test_http import ITEMS, SEARCH, add, item, npy, serving

DELETE = "/collections/some/delete"
PNGS = [png.write(np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * (i % 3 + 1)) for i in range(5)]
Files = list[tuple[str, tuple[str | None, bytes]]]


@pytest.fixture
async def client(weights: Path, address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(weights, address) as (_, client):
        (await client.put("/collections/some", json={"model": "grey"})).raise_for_status()
        yield client


def form(*names: str | None, **fields: list[str]) -> Files:
    """Pictures with these file names, then fields."""
    pictures: Files = [("image", (name, PNGS[i % 5])) for i, name in enumerate(names)]
    return pictures + [(name, (None, text.encode())) for name, texts in fields.items() for text in texts]


async def send(client: httpx.AsyncClient, files: Files, **query: Any) -> dict[str, Any]:
    answer = await client.post(ITEMS, files=files, params=query)
    return answer.raise_for_status().json()  # type: ignore[no-any-return]


async def metadata_of(client: httpx.AsyncClient, id: str) -> Any:
    return (await client.get(f"{ITEMS}/{id}")).raise_for_status().json()["metadata"]


@pytest.mark.parametrize(
    "name",
    ["blob", "image.jpg", "image.png", "file", "upload", "photo.jpg", "image0.jpeg", "IMG", "untitled", "picture",
     "download", "clipboard.png", "Image.JPG", "download (3).png", "image (1).jpg", "tmpab12_9xz", "tmp.Qw3rTy89Zx", "-",
     "", "tmpab12_9xz.png", "Pasted Graphic.png", "pasted_image.png", ".png"],
)  # fmt: skip
def test_names_that_nobody_chose(name: str) -> None:
    assert is_generic(name)


@pytest.mark.parametrize(
    "name",
    ["seven.png", "IMG_4711.jpg", "image_0001.png", "image12.png", "photos/image.jpg", "template.png", "blob-7", "files.png",
     "screenshot 2024-01-05.png", "temperature.png", "3f2504e0-4f89-11d3-9a0c-0305e82c3301.jpg", "ü.png", "7.png"],
)  # fmt: skip
def test_names_that_somebody_chose(name: str) -> None:
    assert not is_generic(name)


async def test_names_that_nobody_chose_are_no_ids(client: httpx.AsyncClient) -> None:
    both = await send(client, form("blob", "blob"))
    phone = [await send(client, form("image.jpg")) for _ in range(2)]
    ids = both["ids"] + phone[0]["ids"] + phone[1]["ids"]
    assert len(set(ids)) == 4
    assert (both["added"], both["replaced"]) == (both["ids"], [])
    assert "skipped" not in both
    assert (await client.get("/collections/some")).json()["count"] == 4
    named = await send(client, form("a.png", "b.png"))
    assert named == {"collection": "some", "ids": ["a.png", "b.png"], "added": ["a.png", "b.png"], "replaced": [], "seq": 6}
    again = await send(client, form("b.png", "c.png"))
    assert (again["added"], again["replaced"]) == (["c.png"], ["b.png"])
    answer = await client.post(ITEMS, files=form("d.png", "d.png"))
    check(answer, 422, "unusable_input", "the id 'd.png' is also the id of item 0")
    assert (await send(client, form("d.png", "d.png", id=["x", "y"])))["ids"] == ["x", "y"]


async def test_ids_and_metadata_in_a_form(client: httpx.AsyncClient) -> None:
    metadata = ['{"label": 7}', "", '{"who": "ü"}']
    found = await send(client, form("blob", "b.png", "blob", id=["a", "", "c"], metadata=metadata))
    assert found["ids"] == ["a", "b.png", "c"]
    assert [await metadata_of(client, id) for id in found["ids"]] == [{"label": 7}, {}, {"who": "ü"}]
    # a browser sends a Blob with JSON as a file named "blob"; fields may stand between the pictures
    mixed = [("id", (None, b"d")), *form("blob"), ("metadata", ("blob", b'{"n": 1}'))]
    await send(client, mixed)
    assert await metadata_of(client, "d") == {"n": 1}
    for files, words in (
        (form("blob", "blob", id=["a"]), "fields of the form: 'image' 2, 'id' 1; give no 'id', or one for each picture"),
        (form("blob", metadata=["{}", "{}"]), "fields of the form: 'image' 1, 'metadata' 2"),
        (form("blob", metadata=["[1]"]), "must be a JSON object, not an array"),
        (form("blob", id=["x" * 513]), "an id must be"),
        (form("blob", "blob", id=["same", "same"]), "also the id of item 0"),
    ):
        check(await client.post(ITEMS, files=files), 422, "unusable_input", words)
    check(await client.post(ITEMS, files=form("blob", metadata=["{"])), 400, "undecodable", "the metadata is not JSON")
    long = json.dumps({"a": "x" * (1 << 16)})
    check(await client.post(ITEMS, files=form("blob", metadata=[long])), 413, "metadata_too_large", "item 0")
    assert (await client.get("/collections/some")).json()["count"] == 4
    most = form(*[f"{i}.png" for i in range(32)], id=[f"{i}" for i in range(32)], metadata=["{}"] * 32)
    assert len((await send(client, most))["added"]) == 32
    await send(client, form("blob", metadata=['{"n": {"gte": 1}}']))


async def test_what_happens_to_ids_that_exist(client: httpx.AsyncClient) -> None:
    await add(client, item(id="a", metadata={"n": 1}), item(id="b", metadata={"n": 1}))
    answer = await client.post(
        ITEMS, params={"if_exists": "error"}, json={"items": [item(id="b"), item(id="c"), item(id="a")]}
    )
    problem = check(answer, 409, "items_exist", "already has 'b', 'a'; nothing was stored")
    assert problem["ids"] == ["b", "a"]
    assert (await client.get("/collections/some")).json()["count"] == 2
    answer = await client.post(ITEMS, json={"items": [item(0.1, id="b"), item(id="c")], "if_exists": "skip"})
    assert answer.json() == {
        "collection": "some", "ids": ["b", "c"], "added": ["c"], "replaced": [], "skipped": ["b"], "seq": 3
    }  # fmt: skip
    assert (await client.get(f"{ITEMS}/b")).json()["mu"] == [0.5] * 3
    check(await client.post(ITEMS, params={"if_exists": "ignore"}, json={"items": [item()]}), 422, "invalid_parameter")


async def test_metadata_that_is_not_mentioned_stays(client: httpx.AsyncClient) -> None:
    await send(client, form("a.png", "b.png", metadata=['{"n": 1}', '{"n": 2}']))
    await send(client, form("a.png"))
    await client.post(ITEMS, content=PNGS[2], params={"id": "b.png"})
    assert [await metadata_of(client, id) for id in ("a.png", "b.png")] == [{"n": 1}, {"n": 2}]
    await add(client, item(id="a.png"), item(id="b.png", metadata=None))
    assert [await metadata_of(client, id) for id in ("a.png", "b.png")] == [{"n": 1}, {"n": 2}]
    await add(client, item(id="a.png", metadata={}))
    await send(client, form("b.png", metadata=['{"m": 3}']))
    assert [await metadata_of(client, id) for id in ("a.png", "b.png")] == [{}, {"m": 3}]


async def test_ids_that_addresses_cannot_have(client: httpx.AsyncClient) -> None:
    """Clients take /items/.. for the collection, so that deleting such an item would delete all of them."""
    for id in ("..", ".", "a/../b", "../x", "x/."):
        problem = await client.post(ITEMS, files=form(id))
        check(problem, 422, "unusable_input")
        assert "clients remove from addresses" in problem.json()["detail"]
    for id in ("...", "a..b", ".hidden", "a/.b"):
        assert (await send(client, form(id)))["ids"] == [id]
    check(await client.post(ITEMS, files=form("\ufffd.png")), 422, "unusable_input")
    check(await client.delete("/collections/some/"), 404, "not_found")
    assert (await client.get("/collections/some")).json()["count"] == 4


async def test_what_a_put_does_not_state_stays(client: httpx.AsyncClient) -> None:
    await client.put("/collections/some", json={"metric": "cosine", "description": "mine"})
    kept = (await client.put("/collections/some", json={"keep": "picture"})).raise_for_status().json()
    assert (kept["metric"], kept["description"], kept["keep"]) == ("cosine", "mine", "picture")
    emptied = (await client.put("/collections/some", json={"description": ""})).json()
    assert (emptied["metric"], emptied["description"]) == ("cosine", "")


async def test_the_id_of_a_raw_body(client: httpx.AsyncClient) -> None:
    assert (await client.post(ITEMS, content=PNGS[1], params={"id": "x/ü"})).json()["ids"] == ["x/ü"]
    assert (await client.post(ITEMS, content=npy([[1, 2, 3]]), params={"id": "row"})).json()["ids"] == ["row"]
    assert (await client.post(ITEMS, files=form("seven.png"), params={"id": "eight"})).json()["ids"] == ["eight"]
    answer = await client.post(ITEMS, content=npy([[1, 2, 3]] * 2), params={"id": "row"})
    check(answer, 422, "unusable_input", "names one item, but the request has 2")
    check(await client.post(ITEMS, content=PNGS[1], params={"id": "a\nb"}), 422, "unusable_input", "control characters")
    for other in ({"json": {"items": [item(id="p")]}}, {"files": form("seven.png", id=["p"])}):
        check(await client.post(ITEMS, params={"id": "q"}, **other), 422, "unusable_input", "has the id 'p'; state only one")
        assert (await client.post(ITEMS, params={"id": "p"}, **other)).json()["ids"] == ["p"]


async def test_a_patch(client: httpx.AsyncClient) -> None:
    await add(
        client, item(id="a/b", sigma=[0.1] * 3, metadata={"label": 1, "tags": ["x"], "geo": {"city": "Bonn", "zip": 53111}})
    )
    before = (await client.get(f"{ITEMS}/a/b")).json()
    patch = {"label": 2, "tags": None, "geo": {"zip": None}, "new": {"deep": None}}
    for kind in ("application/merge-patch+json", "application/json", "application/x-www-form-urlencoded"):
        answer = await client.patch(f"{ITEMS}/a%2Fb", content=json.dumps(patch), headers={"content-type": kind})
        wanted = {"label": 2, "geo": {"city": "Bonn"}, "new": {}}
        assert answer.raise_for_status().json()["metadata"] == wanted
    after = (await client.get(f"{ITEMS}/a/b")).json()
    assert after == before | {"metadata": wanted, "seq": 4} == before | answer.json()
    found = await client.post(SEARCH, json={"id": "a/b", "filter": {"new": {"exists": True}}})
    assert len(found.raise_for_status().json()["neighbors"]) == 1
    check(await client.patch(f"{ITEMS}/nobody", json={}), 404, "unknown_item")
    check(await client.patch(f"{ITEMS}/a/b", content=b""), 400, "undecodable", "JSON merge patch")
    check(await client.patch(f"{ITEMS}/a/b", content=b"label=7"), 400, "undecodable", "the merge patch is not JSON")
    for value, word in ((b"null", "null"), (b"[]", "an array"), (b'"x"', "a string"), (b"7", "a number")):
        words = f"the merge patch must be a JSON object, not {word}"
        check(await client.patch(f"{ITEMS}/a/b", content=value), 422, "unusable_input", words)
    check(await client.patch(f"{ITEMS}/a/b", files=form("blob")), 415, "unsupported_media_type", "merge-patch+json")
    check(await client.patch(f"{ITEMS}/a/b", json={"x": "y" * 70_000}), 413, "metadata_too_large", LARGE_PATCH)
    (await client.patch(f"{ITEMS}/a/b", json={"x": "y" * 50_000})).raise_for_status()
    large = await client.patch(f"{ITEMS}/a/b", json={"z": "y" * 50_000})
    check(large, 413, "metadata_too_large", "after this change the metadata of the item 'a/b' takes 1000")
    deep = await client.patch(f"{ITEMS}/a/b", content=b'{"a":' * 99 + b"1" + b"}" * 99)
    check(deep, 422, "unusable_input", "the merge patch is nested deeper than the 32 levels")
    check(await client.patch(f"{ITEMS}/a/b", content=b'{"a":' * 5000 + b"1" + b"}" * 5000), 400, "undecodable")
    check(await client.patch(f"{ITEMS}/a/b", json={"a": "\0"}), 422, "unusable_input", "U+0000")


LARGE_PATCH = "the merge patch takes 70008 bytes, at most 65536 (64 KiB) are allowed"


async def test_concurrent_patches_are_all_made(client: httpx.AsyncClient) -> None:
    await add(client, item(id="a"))
    answers = await asyncio.gather(*(client.patch(f"{ITEMS}/a", json={f"k{i}": i}) for i in range(20)))
    assert all(answer.status_code == 200 for answer in answers)
    assert await metadata_of(client, "a") == {f"k{i}": i for i in range(20)}


async def test_several_are_deleted(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.operations.items.DELETED_AT_ONCE", 2)
    monkeypatch.setattr("service.operations.items.LISTED_IDS", 4)
    await add(client, *(item(id=f"{i}", metadata={"n": i % 2}) for i in range(12)), item(id="other", metadata={"m": 1}))
    found = (await client.get(ITEMS, params={"filter": '{"n": 1}'})).json()["items"]
    gone = (await client.post(DELETE, json={"filter": {"n": 1}})).raise_for_status().json()
    assert gone == {"collection": "some", "count": 6, "ids": [one["id"] for one in found][:4], "seq": 19}
    left = [one["id"] for one in (await client.get(ITEMS)).json()["items"]]
    assert left == ["0", "10", "2", "4", "6", "8", "other"]
    gone = (await client.post(DELETE, json={"ids": ["4", "1", "other", "4"]})).raise_for_status().json()
    assert gone == {"collection": "some", "count": 2, "ids": ["4", "other"], "missing": ["1"], "seq": 21}
    assert (await client.post(DELETE, json={"ids": []})).json()["count"] == 0
    assert (await client.post(DELETE, json={"filter": {"n": 7}})).json()["count"] == 0
    answer = await client.post(DELETE, json={"filter": {}})
    check(answer, 422, "unusable_input", "would delete every item; to do that, DELETE /collections/some instead")
    for body in ({}, {"ids": None}, {"ids": ["a"], "filter": {"n": 1}}):
        check(await client.post(DELETE, json=body), 422, "unusable_input", "either")
    check(await client.post(DELETE, json={"ids": "0"}), 422, "unusable_input", "must be a list of ids")
    check(await client.post(DELETE, json={"ids": [7]}), 422, "unusable_input", "item 0: an id must be")
    check(await client.post(DELETE, json={"ids": ["x"] * 10_001}), 413, "too_many_items")
    check(await client.post(DELETE, json={"filter": {"n": {"like": 1}}}), 422, "invalid_filter", 'write "n.like"')
    for filter in ("label", 7, [1]):
        words = 'filter must be a JSON object such as {"label": 7}'
        check(await client.post(DELETE, json={"filter": filter}), 422, "invalid_filter", words)
        check(await client.post(SEARCH, json={**item(), "filter": filter}), 422, "invalid_filter", words)
    check(await client.get(ITEMS, params={"filter": "label"}), 422, "invalid_filter", words)
    check(await client.post(DELETE, params={"filter": "{}"}), 422, "invalid_parameter", "send it in the JSON body")
    mistyped = await client.post(DELETE, json={"filter": {"lable": {"ne": 1}}})
    check(mistyped, 409, "unknown_key", "match every item; nothing was deleted; known keys: m, n")
    check(await client.post(DELETE, content=PNGS[0]), 415, "unsupported_media_type")
    check(await client.post("/collections/none/delete", json={"ids": []}), 404, "unknown_collection")
    assert (await client.get("/collections/some")).json()["count"] == 5


async def test_originals(client: httpx.AsyncClient) -> None:
    info = (await client.put("/collections/some", json={"model": "grey", "keep": "picture"})).raise_for_status().json()
    assert info["keep"] == "picture"
    assert (await client.put("/collections/some", json={"model": "grey"})).json()["keep"] == "picture"
    await send(client, form('a/sïx".png', id=['a/sïx".png']))
    got = (await client.get(f"{ITEMS}/a/s%C3%AFx%22.png/picture")).raise_for_status()
    assert (got.content, got.headers["content-type"]) == (PNGS[0], "image/png")
    assert got.headers["content-disposition"] == "inline; filename*=UTF-8''s%C3%AFx%22.png"
    again = await client.get(f"{ITEMS}/a/s%C3%AFx%22.png/picture", headers={"if-none-match": got.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await client.head(f"{ITEMS}/a/s%C3%AFx%22.png/picture")).headers["content-length"] == str(len(PNGS[0]))
    text = base64.b64encode(PNGS[1]).decode()
    json_items = [{"id": "url", "image": f"data:image/png;base64,{text}"}, {"id": "b64", "image": text}, item(id="mu")]
    await add(client, *json_items)
    await client.post(ITEMS, content=PNGS[1], params={"id": "raw"})
    for id in ("url", "b64", "raw"):
        assert (await client.get(f"{ITEMS}/{id}/picture")).content == PNGS[1]
    check(await client.get(f"{ITEMS}/mu/picture"), 404, "no_picture", "'mu' has no original picture")
    check(await client.get(f"{ITEMS}/nobody/picture"), 404, "unknown_item", "'nobody'")
    check(await client.get("/collections/none/items/a/picture"), 404, "unknown_collection")
    (await client.delete(f"{ITEMS}/raw")).raise_for_status()
    check(await client.get(f"{ITEMS}/raw/picture"), 404, "unknown_item")


async def test_ids_that_end_like_the_path_of_an_original(client: httpx.AsyncClient) -> None:
    (await client.put("/collections/some", json={"model": "grey", "keep": "picture"})).raise_for_status()
    ids = ["/picture", "a/picture", "picture", "x" * 504 + "/picture"]
    await add(client, *(item(id=id, metadata={"n": i}) for i, id in enumerate(ids)))
    for i, id in enumerate(ids):
        path = f"{ITEMS}/{id.replace('/', '%2F')}"
        assert (await client.get(path)).raise_for_status().json()["metadata"] == {"n": i}
        assert (await client.patch(path, json={"m": 1})).json()["id"] == id
        assert (await client.delete(path)).json()["id"] == id
    check(await client.get(f"{ITEMS}/{'x' * 600}/picture"), 422, "unusable_input")


async def test_the_bound_on_originals(weights: Path, address: str) -> None:
    async with serving(weights, address, store_max_picture_bytes=2 * len(PNGS[0])) as (_, client):
        (await client.put("/collections/some", json={"model": "grey", "keep": "picture"})).raise_for_status()
        answer = await client.post(ITEMS, files=form("a.png", "b.png", "c.png"))
        check(answer, 507, "pictures_full", "VAE_STORE_MAX_PICTURE_BYTES")
        assert (await client.get("/collections/some")).json()["count"] == 0
        (await client.post(ITEMS, files=form("a.png"))).raise_for_status()
