"""/metrics: requests counted once whichever way they take, batches and pictures by model, in the formats of Prometheus."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from service.app import create_app
from service.asgi import ASGIApp
from service.engine.batcher import Batcher
from service.observe.histogram import Counted
from service.observe.metrics import Metrics
from service.settings import Settings
from tests.service.asgi import Exchange, of_httpx, send
from tests.service.http.exchanges import BAD, FLOATS, FORM, GOOD, LATENTS, PICTURE
from tests.service.http.test_front import by_router

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]
Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def numbers(families: Any) -> Numbers:
    """Every sample by its name and labels."""
    return {(sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples}


def value(found: Numbers, name: str, **labels: str) -> float:
    """One sample; 0 when it is not there."""
    return found.get((name, frozenset(labels.items())), 0.0)


async def scrape(door: ASGIApp) -> Numbers:
    sent = await send(door, of_httpx("GET", "/metrics"))
    assert sent.status == 200
    return numbers(parse_text(sent.body.decode()))


@pytest.fixture
def doors(app: FastAPI) -> tuple[ASGIApp, FastAPI]:
    return by_router(app), app


async def test_both_doors_count_every_request_once_and_the_same(doors: tuple[ASGIApp, FastAPI], busy: Busy) -> None:
    leaving = Exchange("POST", "/encode", pieces=[b"\x89PN"], leaves="in the body")
    waiting = Exchange("POST", "/encode", pieces=[PICTURE], leaves="waiting")
    counted = []
    for door in doors:
        metrics = doors[1].state.sinks.metrics = Metrics()
        expected: dict[tuple[str, str], float] = {}
        for exchange in [*GOOD, *(exchange for _, _, exchange in BAD)]:
            answer = await send(door, exchange)
            key = doors[1].state.registry.label_of(exchange.path), str(answer.status)
            expected[key] = expected.get(key, 0) + 1
        await send(door, leaving)
        async with busy(doors[1].state.service.pipeline.catalog.device._batcher):
            await send(door, waiting)
        expected["encode", "499"] = 2
        families = {family.name: family for family in metrics.families(None, ready=False)}
        assert families["vae_requests_total"].samples == expected
        assert families["vae_requests_in_flight"].samples == {(): 0}
        seconds = families["vae_request_seconds"].samples
        assert sum(sum(one.counts) for one in seconds.values() if isinstance(one, Counted)) == sum(expected.values())
        counted.append(families["vae_requests_total"].samples)
    assert counted[0] == counted[1]


async def test_an_unforeseen_error_is_a_500(doors: tuple[ASGIApp, FastAPI]) -> None:
    service = doors[1].state.service
    for path in ("/sample", "/models"):
        for door in doors:
            metrics = doors[1].state.sinks.metrics = Metrics()
            doors[1].state.service = "no service"
            try:
                await send(door, of_httpx("GET", path))
            except AttributeError:  # of the framework's own routes it comes through when it is answered
                assert path == "/models"
            finally:
                doors[1].state.service = service
            operation = doors[1].state.registry.label_of(path)
            counted = metrics.families(None, ready=False)[0].samples
            assert counted == {(operation, "500"): 1}, (path, counted)


async def test_draining_is_a_reason(doors: tuple[ASGIApp, FastAPI]) -> None:
    await doors[1].state.service.pipeline.catalog.device.close()
    for door in doors:
        assert (await send(door, of_httpx("GET", "/sample"))).status == 503
    assert doors[1].state.sinks.metrics.refused == {"draining": 2}


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/encode", "encode"), ("/encode/", "encode"), ("//encode", "other"), ("/Encode", "other"), ("/", "other"),
        ("/collections", "collections"), ("/collections/a", "collections"), ("/collections/items", "collections"),
        ("/collections/a/items", "items"), ("/collections/a/items/b/c", "items"), ("/collections/a/search", "search"),
        ("/collections/a/nothing", "other"), ("/models/mnist", "models"), ("/info", "models"), ("/health/live", "health"),
        ("/docs/oauth2-redirect", "docs"), ("/wp-admin.php", "other"),
    ],
)  # fmt: skip
def test_paths_have_few_labels(app: FastAPI, path: str, operation: str) -> None:
    assert app.state.registry.label_of(path) == operation


async def test_batches_and_pictures_are_counted_by_model(client: httpx.AsyncClient, app: FastAPI) -> None:
    kl = []
    for content in (PICTURE, FLOATS):
        answer = await client.post("/encode?include=kl", content=content)
        kl += answer.json()["kl"]
    (await client.post("/reconstruct", files=FORM)).raise_for_status()
    (await client.post("/decode", content=LATENTS)).raise_for_status()
    assert (await client.get("/sample?n=33")).status_code == 422
    assert (await client.post("/encode", content=b"x" * 100)).status_code == 415
    found = numbers(parse_text((await client.get("/metrics")).text))
    encode, decode = {"model": "grey", "lane": "encode"}, {"model": "grey", "lane": "decode"}
    assert value(found, "vae_rows_total", **encode) == 1 + 3 + 2
    assert value(found, "vae_rows_total", **decode) == 2 + 2
    assert value(found, "vae_rows_total", model="colour", lane="encode") == 0
    batches = value(found, "vae_batches_total", **encode)
    for name in ("vae_batch_rows", "vae_bucket_rows", "vae_compute_seconds"):
        assert value(found, f"{name}_count", **encode) == batches
    assert value(found, "vae_batch_rows_sum", **encode) == 6
    assert value(found, "vae_bucket_rows_sum", **encode) == 6 + value(found, "vae_padded_rows_total", **encode)
    assert value(found, "vae_queue_seconds_count", **encode) == 3  # a block a request
    assert value(found, "vae_encoded_kl_nats_count", model="grey") == 6
    assert value(found, "vae_encoded_kl_nats_sum", model="grey") > sum(kl)
    assert value(found, "vae_reconstruction_nats_count", model="grey") == 2
    assert value(found, "vae_requests_in_flight") == 1  # the one that asks
    assert value(found, "vae_ready") == 1
    assert value(found, "vae_model_loads_total", model="grey", result="ok") == 1
    catalog = app.state.service.pipeline.catalog
    digest = catalog.get("grey").digest
    assert value(found, "vae_model_info", model="grey", digest=digest, device="cpu", engine=catalog.device.engine)
    assert value(found, "process_resident_memory_bytes") > 1e6
    assert not [name for name, _ in found if name.startswith("vae_device_memory")]


async def test_rows_that_are_not_computed_have_a_reason(client: httpx.AsyncClient, app: FastAPI, busy: Busy) -> None:
    lane = app.state.service.pipeline.catalog.get("grey").decode
    with lane.reserve(lane.max_rows), lane.reserve(lane.max_rows):
        assert (await client.get("/sample?n=2")).status_code == 429
    async with busy(app.state.service.pipeline.catalog.device._batcher):
        late = asyncio.ensure_future(client.get("/sample?n=3&timeout_ms=1"))
        while not lane.waiting_rows:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0.002)  # past its deadline
    assert (await late).status_code == 504
    with pytest.raises(Exception, match="at most"):
        lane.reserve(lane.max_rows + 1)
    found = numbers(parse_text((await client.get("/metrics")).text))
    rejected = {
        reason: value(found, "vae_rejected_rows_total", model="grey", lane="decode", reason=reason)
        for reason in ("queue_full", "deadline", "too_large")
    }
    assert rejected == {"queue_full": 2, "deadline": 3, "too_large": lane.max_rows + 1}
    assert value(found, "vae_dropped_rows_total", model="grey", lane="decode") == 0


async def test_the_store_is_timed(client: httpx.AsyncClient) -> None:
    (await client.put("/collections/digits")).raise_for_status()
    (await client.post("/collections/digits/items", files=FORM)).raise_for_status()
    (await client.post("/collections/digits/search", content=PICTURE)).raise_for_status()
    assert (await client.get("/collections/digits/items/a.png")).status_code == 200
    assert (await client.delete("/collections/digits/items/none")).status_code == 404
    found = numbers(parse_text((await client.get("/metrics")).text))
    for operation in ("upsert", "search", "delete"):
        assert value(found, "vae_store_seconds_count", operation=operation) == 1, operation
    assert value(found, "vae_requests_total", operation="items", code="404") == 1
    assert value(found, "vae_requests_total", operation="search", code="200") == 1


async def test_openmetrics_where_it_is_asked_for(client: httpx.AsyncClient) -> None:
    (await client.post("/reconstruct", files=FORM)).raise_for_status()
    (await client.post("/reconstruct?model=colour", files=FORM)).raise_for_status()  # a density: its nats may be negative
    answer = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    found = numbers(parse_openmetrics(answer.text))
    for model in ("grey", "colour"):
        assert value(found, "vae_reconstruction_nats_bucket", model=model, le="+Inf") == 2
    assert openmetrics  # the parser is strict: a name, a type or a bucket out of order would have been refused
    plain = await client.get("/metrics", headers={"accept": "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_it_takes_no_parameters_and_says_when_it_is_off(client: httpx.AsyncClient, weights: Path) -> None:
    assert (await client.get("/metrics?name=x")).json()["code"] == "invalid_parameter"
    app = create_app(Settings(models_dir=weights, device="cpu", threads=1, metrics=False))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as other:
        assert (await other.get("/metrics")).json()["code"] == "not_found"


async def test_before_it_is_ready_it_says_so(weights: Path) -> None:
    app = create_app(Settings(models_dir=weights, device="cpu", threads=1))
    found = await scrape(app)
    assert (value(found, "vae_ready"), value(found, "vae_requests_in_flight")) == (0, 1)


async def test_who_watches_batches_cannot_fail_them(
    client: httpx.AsyncClient, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> None:
        raise ValueError("broken")

    lane = app.state.service.pipeline.catalog.get("grey").encode
    lane.watch = broken
    for _ in range(2):
        assert (await client.post("/encode", content=PICTURE)).status_code == 200
    assert caplog.messages.count("the observer of batches raised an exception and is not called any more") == 1


async def test_decoders_that_pictures_have_cost_are_counted(app: FastAPI) -> None:
    app.state.service.pipeline.decoders.ended["time"] += 2
    assert value(await scrape(app), "vae_ended_decoders_total", reason="time") == 2
