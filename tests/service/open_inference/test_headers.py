"""Headers that are sent twice, bodies that were compressed twice, and slashes at the end of paths."""

import gzip
import itertools
import zlib
from collections.abc import Callable

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from tests.service.open_inference.bodies import HEADER, body, outputs
from tests.service.open_inference.conftest import Opened

X = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
INFER = "/v2/models/encode/infer"
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


async def post(client: httpx.AsyncClient, content: bytes, *headers: tuple[str, str]) -> httpx.Response:
    """Send a body with headers, of which several may have one name."""
    return await client.post(INFER, content=content, headers=list(headers))


@pytest.mark.parametrize("binary", [True, False])
async def test_a_length_of_the_json_that_is_stated_twice_is_refused(client: httpx.AsyncClient, binary: bool) -> None:
    content, own = body({"image": X}, binary)
    length = own.get(HEADER, str(len(content)))
    assert (await post(client, content, (HEADER, length))).status_code == 200
    for first, second in ((length, length), ("3", length), (length, "3"), ("0", "0"), (length, "")):
        refused = await post(client, content, (HEADER, first), (HEADER, second))
        assert refused.status_code == 400
        assert (
            f"one number, the length of the JSON at the beginning of the body, which has {len(content)}"
            in (refused.json()["error"])
        )


async def test_other_headers_that_are_sent_twice(client: httpx.AsyncClient) -> None:
    """A deadline has to be one number; lists are joined."""
    content, own = body({"image": X})
    length = (HEADER, own[HEADER])
    for first, second in (("60000", "60000"), ("60000", "1")):
        refused = await post(client, content, length, ("X-Timeout-Ms", first), ("X-Timeout-Ms", second))
        assert refused.status_code == 400
        assert refused.json()["error"].endswith(f"must be a whole number from 1 to 999999999, not '{first}, {second}'")
    answer = await post(client, content, length, ("Accept-Encoding", "br"), ("Accept-Encoding", "deflate"))
    assert answer.headers["content-encoding"] == "deflate"
    for identity in ("identity", "IDENTITY , identity", ""):
        for codings in ((identity, "gzip"), ("GZip", identity)):
            sent = [("Content-Encoding", coding) for coding in codings]
            assert outputs(await post(client, gzip.compress(content), length, *sent))["mu"].shape == (3, 3)


async def test_several_codings_of_one_body(client: httpx.AsyncClient) -> None:
    content, own = body({"image": X})
    for first, second in itertools.product(PACKED, PACKED):
        twice = PACKED[second](PACKED[first](content))
        for stated in ([f"{first}, {second}"], [first, second]):
            refused = await post(client, twice, (HEADER, own[HEADER]), *(("Content-Encoding", one) for one in stated))
            assert refused.status_code == 415
            assert f"Content-Encoding '{first}, {second}' says that the body was encoded 2 times" in refused.json()["error"]
        refused = await post(client, twice, (HEADER, own[HEADER]), ("Content-Encoding", second))
        assert refused.status_code == 400
        assert "it was compressed twice, or the header Content-Encoding is missing" in refused.json()["error"]
    for coding, pack in PACKED.items():
        for headers in ([(HEADER, own[HEADER])], []):
            refused = await post(client, pack(content), *headers)
            assert refused.status_code == 400
            assert f"begins with {'zlib' if coding == 'deflate' else coding} data" in refused.json()["error"]


async def test_pixels_that_look_compressed_are_pixels(client: httpx.AsyncClient) -> None:
    """A body that is nothing but data may begin with any bytes."""
    for start in (gzip.compress(b"")[:4], zlib.compress(b"")[:4]):
        pixels = start + bytes(60)
        assert (await post(client, pixels, (HEADER, "0"))).status_code == 200


async def test_slashes_at_the_end_are_the_same_with_and_without_keys(opened: Opened) -> None:
    keys = SecretStr("app infer,admin a-key-that-may-do-it-all")
    paths = (
        "",
        "/models",
        "/models/encode",
        "/models/encode/infer",
        "/models/none",
        "/health/live",
        "/repository/index",
        "/x",
    )
    found: list[list[tuple[int, str | None]]] = []
    for settings in ({}, {"api_keys": keys}):
        async with opened(admin=True, **settings) as client:
            client.headers["x-api-key"] = "a-key-that-may-do-it-all"
            answers = [
                await client.request(method, f"/v2{path}{slashes}")
                for path in paths
                for method in ("GET", "POST", "HEAD", "OPTIONS")
                for slashes in ("/", "//")
            ]
            found.append([(one.status_code, one.headers.get("location")) for one in answers])
            if settings:
                client.headers["x-api-key"] = "wrong"
                assert (await client.get("/v2/models/")).status_code == 401
                assert (await client.get("/v2/health/live/")).status_code == 307
    assert found[0] == found[1]
    assert {status for status, _ in found[0]} == {307, 404}
    assert (307, "../v2") in found[0]
