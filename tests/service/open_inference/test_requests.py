"""What requests ask for is done or refused; compressed bodies, deadlines, full queues, callers who leave."""

import gzip
import itertools
import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from service.engine.batcher import Batcher
from tests.service.asgi import Exchange, send
from tests.service.open_inference.bodies import ask, body, infer, outputs

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]
X = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)


async def test_compression(client: httpx.AsyncClient) -> None:
    content, headers = body({"image": X}, parameters={"binary_data_output": True})
    mu = (await infer(client, "encode", {"image": X}))["mu"]
    for sent, answered in itertools.product(("gzip", "deflate", "identity", ""), ("gzip", "deflate", "br, identity")):
        client.headers["accept-encoding"] = answered
        own = headers | ({"Content-Encoding": sent} if sent else {})
        packed = gzip.compress(content) if sent == "gzip" else zlib.compress(content) if sent == "deflate" else content
        answer = await client.post("/v2/models/encode/infer", content=packed, headers=own)
        assert answer.headers.get("content-encoding", "br, identity") == answered
        assert np.array_equal(outputs(answer)["mu"], mu)  # httpx has expanded it
        for path in ("/v2", "/v2/models/encode", "/v2/health/live", "/v2/models/encode/stats", "/v2/models/none"):
            assert "content-encoding" not in (await client.get(path)).headers


async def test_compressed_bodies_are_bounded(client: httpx.AsyncClient) -> None:
    """The fixture's application takes bodies of 100,000 bytes."""
    good, headers = body({"image": X})
    for coding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        own = {**headers, "Content-Encoding": coding}
        for content, status in (
            (compress(bytes(50_000_000)), 413),
            (compress(good)[:-9], 400),
            (compress(good) + b"more", 400),
            (b"no such thing at all, whatever it is", 400),
            (b"", 400),
        ):
            answer = await client.post("/v2/models/encode/infer", content=content, headers=own)
            assert answer.status_code == status, (coding, content[:20])
            assert isinstance(answer.json()["error"], str)
    members = gzip.compress(good[:50]) + gzip.compress(good[50:])
    answer = await client.post("/v2/models/encode/infer", content=members, headers={**headers, "Content-Encoding": "gzip"})
    assert answer.status_code == 200
    answer = await client.post("/v2/models/encode/infer", content=good, headers={**headers, "Content-Encoding": "br"})
    assert answer.status_code == 415
    answer = await client.post("/encode", content=gzip.compress(b"GIF89a"), headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415  # The REST API takes bodies as they are.


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("encode", {"parameters": {"priority": 1}}, 400, "priority"),
    ("encode", {"parameters": {"priority": 0}}, 200, ""),
    ("encode", {"parameters": {"timeout": 30_000_000}}, 200, ""),
    ("encode", {"parameters": {"timeout": -1}}, 400, "timeout must be a whole number"),
    ("encode", {"parameters": {"timeout": "soon"}}, 400, "timeout must be a whole number"),
    ("encode", {"parameters": {"sequence_id": 3, "sequence_start": True}}, 400, "sequence_"),
    ("encode", {"parameters": {"sede": 1}}, 400, "did you mean seed"),
    ("encode", {"parameters": {"seed": 2**53}}, 400, "seed must be a whole number"),
    ("encode", {"parameters": {"invert": "perhaps"}}, 400, "invert must be one of"),
    ("encode", {"parameters": {"label": "7"}}, 400, "unknown parameter 'label'"),
    ("encode", {"parameters": {"content_type": "np", "headers": {"a": "b"}}}, 200, ""),
    ("encode", {"parameters": []}, 200, ""),
    ("encode", {"parameters": 5}, 400, "must be an object"),
    ("encode", {"id": 5}, 400, "id must be a string"),
    ("encode", {"output": [{"name": "mu"}]}, 400, "the request has the unknown key 'output'"),
    ("encode", {"outputs": [{"name": "mu", "datatype": "FP64"}]}, 400, "output 'mu' has the unknown key 'datatype'"),
    ("encode", {"outputs": [{"name": "muh"}]}, 400, "did you mean mu?"),
    ("encode", {"outputs": [{"name": "mu"}, {"name": "mu"}]}, 400, "twice"),
    ("encode", {"outputs": [{"name": "mu", "parameters": {"classification": -3}}]}, 400, "classification must be"),
    ("encode", {"outputs": [{"name": "mu", "parameters": {"classification": 1}}]}, 200, ""),
    ("encode", {"outputs": [{"name": "mu", "parameters": {"shared_memory_region": "r"}}]}, 400, "shared memory"),
    ("encode", {"outputs": {}}, 400, "outputs must be a list"),
    ("encode", {"outputs": []}, 200, ""),
    ("score", {"outputs": [{"name": "iwae"}], "parameters": {"samples": 0}}, 400, "samples must be"),
    ("score", {"outputs": [{"name": "iwae"}], "parameters": {"samples": 2}}, 200, ""),
    ("score", {"outputs": [{"name": "elbo_p_value"}], "parameters": {"samples": 8}}, 200, ""),
    (
        "score",
        {"parameters": {"samples": 2}},
        400,
        "samples is for the scores elbo and iwae, but the outputs are knn, deviance",
    ),
    ("encode", {"parameters": {"seed": 3, "background": "white"}}, 200, ""),
    ("reconstruct", {"parameters": {"seed": 3}}, 200, ""),
    ("encod", {}, 404, "did you mean encode?"),
    ("grey", {}, 404, "grey.encode"),
    ("colour.encode", {}, 400, "UINT8 [N, 12, 16, 3]"),
    ("encode/versions/1", {}, 200, ""),
    ("encode/versions/2", {}, 404, "no version '2'"),
]


async def test_what_is_asked_for_is_done_or_refused(client: httpx.AsyncClient) -> None:
    for model, fields, status, words in REFUSED:
        answer = await ask(client, model, {"image": X}, **fields)
        assert answer.status_code == status, (model, fields, answer.text)
        assert status == 200 or words in answer.json()["error"], (model, fields, answer.text)


async def test_the_query_has_a_deadline_and_nothing_else(client: httpx.AsyncClient) -> None:
    content, headers = body({"image": X})
    for query, status, words in (
        ("timeout_ms=60000&_=1&utm_source=a", 200, ""),
        ("bogus=x", 400, "unknown parameter 'bogus' in the query; the query may have timeout_ms; parameters of the request"),
        ("timeout=5", 400, "did you mean timeout_ms?"),
        ("timeout_ms=soon", 400, "timeout_ms must be a whole number from 1 to 999999999, not 'soon'"),
        ("timeout_ms=5&timeout_ms=6", 400, "timeout_ms is given twice in the query"),
        ("&".join(["_=1"] * 99), 400, "more than 32 parameters"),
    ):
        answer = await client.post(f"/v2/models/encode/infer?{query}", content=content, headers=headers)
        assert answer.status_code == status, answer.text
        assert status == 200 or words in answer.json()["error"]
    for path in (
        "/v2",
        "/v2/models",
        "/v2/models/encode",
        "/v2/models/encode/config",
        "/v2/models/grey/ready",
        "/v2/models/stats",
    ):
        answer = await client.get(f"{path}?timeout_ms=7")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), path
        assert "this path takes none" in answer.json()["error"]
    assert (await client.post("/v2/repository/index?redy=true")).status_code == 400


async def test_a_deadline_in_the_query_that_passes(client: httpx.AsyncClient, app: FastAPI, busy: Busy) -> None:
    content, headers = body({"image": X})
    async with busy(app.state.service.pipeline.catalog.device._batcher):
        answer = await client.post("/v2/models/encode/infer?timeout_ms=1", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


async def test_a_timeout_that_passes(client: httpx.AsyncClient, app: FastAPI, busy: Busy) -> None:
    async with busy(app.state.service.pipeline.catalog.device._batcher):
        answer = await ask(client, "encode", {"image": X}, parameters={"timeout": 1})
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    assert (await ask(client, "encode", {"image": X})).status_code == 200


async def test_a_full_queue_says_when_to_come_back(client: httpx.AsyncClient, app: FastAPI) -> None:
    lane = app.state.service.pipeline.catalog.models["grey"].encode
    with lane.reserve(32), lane.reserve(30):
        refused = await ask(client, "encode", {"image": X})
        assert (await ask(client, "encode", {"image": X[:2]})).status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
    assert refused.headers["retry-after"]
    assert (await ask(client, "encode", {"image": np.repeat(X, 11, 0)})).status_code == 413


async def test_a_client_that_hangs_up(app: FastAPI, client: httpx.AsyncClient, busy: Busy) -> None:
    content, headers = body({"image": X})
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    lane = app.state.service.pipeline.catalog.models["grey"].encode
    dropped = lane.stats.dropped_rows
    async with busy(app.state.service.pipeline.catalog.device._batcher):
        sent = await send(app, Exchange("POST", "/v2/models/encode/infer", headers=raw, pieces=[content], leaves="waiting"))
    assert sent.status == 0
    assert lane.stats.dropped_rows == dropped + 3
    stats = (await client.get("/v2/models/encode/stats")).json()["model_stats"][0]
    assert stats["inference_stats"]["fail"]["count"] == 1
    assert stats["inference_count"] == 0
