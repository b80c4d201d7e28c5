"""What the statistics count as failed, and the statuses of errors."""

import re
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from pydantic import SecretStr

from tests.documents import OPEN_INFERENCE
from tests.service.asgi import Exchange, send
from tests.service.open_inference.bodies import HEADER, ask, body, infer
from tests.service.open_inference.conftest import Opened
from tests.service.png_files import pixels_of, plain

X = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
INFER = "/v2/models/encode/infer"


async def stats(client: httpx.AsyncClient, name: str = "encode") -> dict[str, Any]:
    """The counts of requests to a model."""
    answer = await client.get(f"/v2/models/{name}/stats")
    found: dict[str, Any] = answer.json()["model_stats"][0]["inference_stats"]
    return found


async def test_every_request_to_the_model_that_fails_counts(client: httpx.AsyncClient, app: FastAPI) -> None:
    """Whether or not its body is read."""
    content, headers = body({"image": X})
    lane = app.state.service.pipeline.catalog.models["grey"].encode
    memory = app.state.bodies
    failed = 0

    async def fails(status: int, content: bytes = content, name: str = HEADER, value: str = headers[HEADER]) -> None:
        nonlocal failed
        answer = await client.post(INFER, content=content, headers={**headers, name: value})
        assert answer.status_code == status, answer.text
        assert isinstance(answer.json()["error"], str)
        failed += 1
        counted = await stats(client)
        assert (counted["fail"]["count"], counted["success"]["count"]) == (failed, 0)
        assert counted["fail"]["ns"] > 0

    await fails(413, bytes(100_001))
    await fails(415, name="Content-Encoding", value="br")
    await fails(400, name="Content-Encoding", value="gzip")
    await fails(400, name=HEADER, value="one")
    await fails(400, name="X-Timeout-Ms", value="soon")
    await fails(400, b"")
    with lane.reserve(32), lane.reserve(31):
        await fails(429)
    memory.used = memory.max_bytes
    await fails(429, bytes(90_000))
    memory.used = 0
    for leaves in ("in the body", "waiting"):
        sent = await send(app, Exchange("POST", INFER, pieces=[content[:50]], leaves=leaves))
        failed += 1
        assert (sent.status, (await stats(client))["fail"]["count"]) in ((0, failed), (400, failed))
    await infer(client, "encode", {"image": X})
    counted = await stats(client)
    assert (counted["fail"]["count"], counted["success"]["count"]) == (failed, 1)
    assert (await stats(client, "decode"))["fail"]["count"] == 0


async def test_what_never_reaches_the_model_does_not_count(opened: Opened) -> None:
    async with opened(api_keys=SecretStr("app infer a-key-that-may-infer; none - a-key-for-nothing")) as client:
        content, headers = body({"image": X})
        for key, name, method, status in (
            ("wrong", "encode", "POST", 401), ("a-key-for-nothing", "encode", "POST", 403),
            ("a-key-that-may-infer", "third.encode", "POST", 404), ("a-key-that-may-infer", "encode", "GET", 405),
            ("a-key-that-may-infer", "encode/versions/2", "POST", 404),
        ):  # fmt: skip
            own = {**headers, "x-api-key": key}
            answer = await client.request(method, f"/v2/models/{name}/infer", content=content, headers=own)
            assert answer.status_code == status
        client.headers["x-api-key"] = "a-key-that-may-infer"
        every = (await client.get("/v2/models/stats")).json()["model_stats"]
        assert [one["inference_stats"]["fail"]["count"] for one in every] == [0] * len(every)
        assert (await client.post("/v2/models/encode/versions/1/infer", content=b"")).status_code == 400
        assert (await stats(client))["fail"]["count"] == 1


async def test_before_the_models_are_loaded(client: httpx.AsyncClient, app: FastAPI) -> None:
    app.state.service, service = None, app.state.service
    refused = await ask(client, "encode", {"image": X})
    app.state.service = service
    assert (refused.status_code, refused.json()["code"]) == (503, "starting")
    assert (await stats(client))["fail"]["count"] == 0


async def test_what_is_too_much_is_413_as_the_document_says(client: httpx.AsyncClient) -> None:
    """Other faults of tensors are 400."""
    assert (await ask(client, "encode", {"image": np.repeat(X, 11, 0)})).status_code == 413
    assert (await ask(client, "encode_files", {"image": [b""] * 33})).status_code == 413
    large = await ask(client, "encode_files", {"image": [plain(pixels_of(1, 101, 100))]})
    assert (large.status_code, large.json()["code"]) == (413, "too_many_pixels")
    assert (await ask(client, "encode_files", {"image": [b"no picture"]})).status_code == 400
    (table,) = re.findall(r"^\| status \|.*?(?=\n\n)", OPEN_INFERENCE, re.MULTILINE | re.DOTALL)
    stated = [int(one) for row in table.splitlines()[2:] for one in re.findall(r"\d+", row.split("|")[1])]
    assert sorted(stated) == [400, 401, 403, 404, 405, 408, 409, 413, 415, 421, 429, 431, 500, 503, 504]
