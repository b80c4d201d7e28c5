"""Plain requests on the hot path: the same answers as in the usual way, good and bad, and the same counts and limits.

The connections are real: sockets of this process, with the protocol class of the server.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from service.app import create_app
from service.engine.batcher import Batcher
from service.http.hot_path import HotPath
from service.settings import Settings
from tests.service.asgi import Exchange, Sent, of_httpx
from tests.service.http.connections import DEFAULT_HEADERS, Client, connected, listening, on_the_wire
from tests.service.http.exchanges import BAD, GOOD, LATENTS, PICTURE, plain

Busy = Callable[[Batcher], AbstractAsyncContextManager[None]]
GOOD_KEY, OTHER_KEY = "key-that-may-infer", "key-that-may-store"
# It changes nothing, but makes a request take the usual way.
UNUSUAL = (b"x-unusual", b"1")
# Requests that are HTTP, with the right Content-Length; others end the connection.
ALL = [
    one
    for one in [*GOOD, *(bad for _, _, bad in BAD)]
    if one.query.isascii()
    and len(one.pieces) == 1
    and len(one.pieces[0]) == int(dict(one.headers).get(b"content-length", len(one.pieces[0])))
]


@pytest.fixture
def hot(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Counts the requests that the hot path has ended, by status."""
    counts: Counter[int] = Counter()
    count = HotPath.finish

    def counting(self: HotPath, head: object, started: float, status: int, *others: object) -> None:
        counts[status] += 1
        count(self, head, started, status, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(HotPath, "finish", counting)
    return counts


async def usual(client: Client, exchange: Exchange) -> Sent:
    return await client.ask(b"".join(on_the_wire(exchange, UNUSUAL)))


@pytest.mark.parametrize("pieces", ["whole", "head, body", "in the head", "in the body"])
async def test_every_answer_is_the_usual_one(app: FastAPI, hot: Counter[int], pieces: str) -> None:
    async with listening(app) as (host, port, _), connected(host, port) as client:
        for exchange in ALL:
            head, body = on_the_wire(exchange)
            both = head + body
            cut = {"whole": 0, "head, body": len(head), "in the head": 20, "in the body": len(head) + len(body) // 2}[pieces]
            wanted = plain(await usual(client, exchange))
            for _ in range(3):
                got = await client.ask(*(piece for piece in (both[:cut], both[cut:]) if piece))
                assert plain(got) == wanted, exchange
                assert [name for name, _ in got.headers] == [name for name, _ in (await usual(client, exchange)).headers]
    if pieces in ("whole", "head, body"):
        assert hot[200] > 50
    else:
        assert not hot or pieces == "in the body"  # a request without a body has no middle
    assert set(hot) <= {200}


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_order_and_any_segments(app: FastAPI, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.tuples(st.sampled_from(ALL), st.booleans()), min_size=2, max_size=12))
    seed = data.draw(st.integers(0, 1000))
    async with listening(app) as (host, port, _), connected(host, port) as one, connected(host, port) as other:
        wanted = [plain(await usual(one, exchange)) for exchange, _ in chosen]
        for exchange, _ in chosen:
            await other.ask(b"".join(on_the_wire(exchange)))  # now the hot path knows their heads
        stream = b"".join(b"".join(on_the_wire(exchange, *([UNUSUAL] * odd))) for exchange, odd in chosen)
        cuts = sorted(random.Random(seed).sample(range(len(stream)), min(len(stream), seed % 7)))
        pieces = [stream[i:j] for i, j in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        sending = asyncio.ensure_future(one.send(*pieces))  # pipelined
        for _, (exchange, _) in enumerate(chosen):  # beside another caller
            await other.ask(b"".join(on_the_wire(exchange)))
        assert [plain(await one.answer()) for _ in chosen] == wanted
        await sending


def metrics_of(app: FastAPI) -> tuple[dict[int, int], int]:
    """Return the requests to /encode by status, and those in flight."""
    found = app.state.sinks.metrics
    return dict(found._requests["encode"].codes), found.in_flight


async def test_it_counts_what_the_usual_way_counts(app: FastAPI, hot: Counter[int], caplog: pytest.LogCaptureFixture) -> None:
    app.state.sinks.access_log = True
    caplog.set_level("INFO", "service.access")
    exchange = of_httpx("POST", "/encode", content=PICTURE)
    async with listening(app) as (host, port, state), connected(host, port) as client:
        answers = [await client.ask(b"".join(on_the_wire(exchange))) for _ in range(3)]
        assert state.total_requests == 3
    assert hot == {200: 2}
    assert metrics_of(app) == ({200: 3}, 0)
    first, *others = caplog.records
    for answer, record in zip(answers[1:], others, strict=True):
        assert record.__dict__.keys() == first.__dict__.keys()
        for name in ("client", "method", "path", "status", "model"):
            assert getattr(record, name) == getattr(first, name)
        assert record.__dict__["request_id"].encode() == dict(answer.headers)[b"x-request-id"]


async def test_a_client_that_leaves(app: FastAPI, busy: Busy, hot: Counter[int]) -> None:
    lane, exchange = app.state.service.pipeline.catalog.get(None).encode, of_httpx("POST", "/encode", content=PICTURE)
    async with listening(app) as (host, port, _), connected(host, port) as stays, connected(host, port) as leaves:
        wanted = plain(await stays.ask(b"".join(on_the_wire(exchange))))
        rows = lane.stats.rows
        async with busy(app.state.service.pipeline.catalog.device._batcher):
            await leaves.send(b"".join(on_the_wire(exchange)))
            await stays.send(b"".join(on_the_wire(exchange)))
            leaves.close()
            while not hot[499]:  # noqa: ASYNC110  nothing tells of it
                await asyncio.sleep(0.001)
        assert plain(await stays.answer()) == wanted
    assert hot == {200: 1, 499: 1}
    assert (lane.stats.rows - rows, lane.stats.dropped_rows, lane.queued_rows) == (1, 1, 0)
    assert metrics_of(app) == ({200: 2, 499: 1}, 0)


async def test_a_client_that_leaves_before_its_body(app: FastAPI) -> None:
    head, body = on_the_wire(of_httpx("POST", "/encode", content=PICTURE))
    async with listening(app) as (host, port, _), connected(host, port) as client:
        await client.ask(head + body)
        await client.send(head)
        client.writer.transport.abort()
        while not metrics_of(app)[0].get(499):  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.001)
    assert metrics_of(app) == ({200: 1, 499: 1}, 0)


async def test_a_client_that_closes_its_side_gets_its_answer(app: FastAPI, busy: Busy, hot: Counter[int]) -> None:
    exchange = of_httpx("POST", "/encode", content=PICTURE)
    async with listening(app) as (host, port, _), connected(host, port) as client:
        await client.ask(b"".join(on_the_wire(exchange)))
        async with busy(app.state.service.pipeline.catalog.device._batcher):
            await client.send(b"".join(on_the_wire(exchange)))
            client.writer.write_eof()
            await asyncio.sleep(0.01)
        sent = await client.answer()
        assert (sent.status, dict(sent.headers)[b"connection"]) == (200, b"close")
        assert await client.reader.read() == b""
    assert hot == {200: 1}


async def test_the_batch_fails(app: FastAPI, hot: Counter[int], monkeypatch: pytest.MonkeyPatch) -> None:
    lane, exchange = app.state.service.pipeline.catalog.get(None).encode, of_httpx("POST", "/encode", content=PICTURE)

    def fail(_: object) -> None:
        raise RuntimeError("no")

    async with listening(app) as (host, port, _), connected(host, port) as client:
        good = plain(await client.ask(b"".join(on_the_wire(exchange))))
        run = lane._run
        monkeypatch.setattr(lane, "_run", fail)
        batches = lane.stats.batches
        sent = await client.ask(b"".join(on_the_wire(exchange)))
        assert sent.status == 500
        assert lane.stats.batches == batches + 1  # it is not tried again
        assert plain(sent) == plain(await usual(client, exchange))
        monkeypatch.setattr(lane, "_run", run)
        assert plain(await client.ask(b"".join(on_the_wire(exchange)))) == good
    assert hot == {200: 1}
    assert metrics_of(app) == ({200: 2, 500: 2}, 0)


async def test_a_long_answer_is_computed_once(app: FastAPI, hot: Counter[int]) -> None:
    lane = app.state.service.pipeline.catalog.get("colour").decode
    exchange = of_httpx("GET", "/sample?model=colour&n=32&seed=1&format=npy&dtype=float32")
    async with listening(app) as (host, port, _), connected(host, port) as client:
        wanted, rows = plain(await usual(client, exchange)), lane.stats.rows
        for i in range(1, 4):
            assert plain(await client.ask(b"".join(on_the_wire(exchange)))) == wanted
            assert lane.stats.rows == rows + 32 * i
    assert not hot


async def test_a_full_queue_counts_a_refusal_once(app: FastAPI, busy: Busy) -> None:
    lane, exchange = app.state.service.pipeline.catalog.get(None).decode, of_httpx("POST", "/decode", content=LATENTS)
    async with listening(app) as (host, port, _), connected(host, port) as client:
        await client.ask(b"".join(on_the_wire(exchange)))
        async with busy(app.state.service.pipeline.catalog.device._batcher):
            waiting = asyncio.ensure_future(lane.submit(np.zeros((32, 3), np.float32)))
            other = asyncio.ensure_future(lane.submit(np.zeros((32, 3), np.float32)))
            await asyncio.sleep(0)
            assert (await client.ask(b"".join(on_the_wire(exchange)))).status == 429
            assert lane.stats.rejected_rows == 2
        await asyncio.gather(waiting, other)


async def test_the_table_of_heads_is_bounded(app: FastAPI, hot: Counter[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.http.hot_path.MOST_HEADS", 2)
    requests = [b"".join(on_the_wire(of_httpx("GET", f"/sample?seed={seed}"))) for seed in range(3)]
    async with listening(app) as (host, port, _), connected(host, port) as client:
        wanted = [plain(await client.ask(request)) for request in requests]
        assert [plain(await client.ask(request)) for request in reversed(requests)] == wanted[::-1]
    assert hot == {200: 2}  # the first head had to make room for the third
    assert len(app.state.hot_path._heads) == 2


async def test_a_server_that_ends_says_so(app: FastAPI, hot: Counter[int]) -> None:
    exchange = of_httpx("POST", "/encode", content=PICTURE)
    async with listening(app) as (host, port, state), connected(host, port) as client:
        for _ in range(2):
            await client.ask(b"".join(on_the_wire(exchange)))
        state.default_headers = [*DEFAULT_HEADERS, (b"connection", b"close")]
        sent = await client.ask(b"".join(on_the_wire(exchange)))
        assert (sent.status, dict(sent.headers)[b"connection"]) == (200, b"close")
        assert await client.reader.read() == b""
    assert hot == {200: 1}


async def test_a_head_without_its_body_times_out(app: FastAPI) -> None:
    exchange = of_httpx("POST", "/encode", content=PICTURE)
    head, body = on_the_wire(exchange)
    async with listening(app, slow_seconds=0.5) as (host, port, _), connected(host, port) as client:
        await client.ask(head + body)
        await client.send(head)
        sent = await client.answer()
        assert sent.status == 408


async def test_a_busy_connection_is_not_idle(app: FastAPI, hot: Counter[int]) -> None:
    exchange = of_httpx("POST", "/encode", content=PICTURE)
    loop = asyncio.get_running_loop()
    async with listening(app, keep_alive_seconds=0.4) as (host, port, _), connected(host, port) as client:
        end = loop.time() + 1.5
        while loop.time() < end:
            assert (await client.ask(b"".join(on_the_wire(exchange)))).status == 200
        assert await client.reader.read() == b""  # now it is


@pytest.mark.parametrize(("limit", "taken"), [("", True), (" rate=1000", False), (" concurrency=5", False)])
async def test_keys(weights: Path, tmp_path: Path, hot: Counter[int], limit: str, taken: bool) -> None:
    keys = SecretStr(f"app infer {GOOD_KEY}{limit}; other store {OTHER_KEY}")
    app = create_app(Settings(models_dir=weights, models="grey", store=str(tmp_path / "keys.db"), api_keys=keys))
    exchange = of_httpx("POST", "/encode", content=PICTURE)
    async with app.router.lifespan_context(app):
        await app.state.started.wait()
        async with listening(app) as (host, port, _), connected(host, port) as client:
            for key, status in ((GOOD_KEY, 200), (OTHER_KEY, 403), ("no-such-key", 401)):
                request = b"".join(on_the_wire(exchange, (b"x-api-key", key.encode())))
                assert [(await client.ask(request)).status for _ in range(3)] == [status] * 3
        assert hot == ({200: 2} if taken else {})
        assert app.state.access.allowances["app"].in_flight == 0
        assert app.state.refused == {"scope": 3, "key": 3}


async def test_a_collection_needs_a_scope_of_its_own(weights: Path, tmp_path: Path, hot: Counter[int]) -> None:
    """A key that may only infer cannot read what is stored through an operation of inference, whichever way it takes."""
    keys = SecretStr(f"app infer {GOOD_KEY}; both infer,store {OTHER_KEY}")
    app = create_app(Settings(models_dir=weights, models="grey", store=str(tmp_path / "keys.db"), api_keys=keys))
    exchange = of_httpx("POST", "/interpolate?collection=some", json={"start": {"id": "a"}, "end": {"id": "a"}})
    async with app.router.lifespan_context(app):
        await app.state.started.wait()
        async with listening(app) as (host, port, _), connected(host, port) as client:
            for made in (
                of_httpx("PUT", "/collections/some", json={"model": "grey"}),
                of_httpx("POST", "/collections/some/items", json={"items": [{"id": "a", "mu": [1, 2, 3]}]}),
            ):
                assert (await client.ask(b"".join(on_the_wire(made, (b"x-api-key", OTHER_KEY.encode()))))).status == 200
            for key, status in ((OTHER_KEY, 200), (GOOD_KEY, 403)):
                request = b"".join(on_the_wire(exchange, (b"x-api-key", key.encode())))
                answers = [await client.ask(request) for _ in range(3)]
                assert {answer.status for answer in answers} == {status}
        assert b"the key of 'app' lacks the scope 'store', which this request needs" in answers[0].body
        assert not hot
        assert app.state.refused == {"scope": 3}


async def test_cors_headers(weights: Path, tmp_path: Path, hot: Counter[int]) -> None:
    app = create_app(
        Settings(models_dir=weights, models="grey", store=str(tmp_path / "cors.db"), cors_origins=["https://app.example"])
    )
    exchange = of_httpx("POST", "/encode", content=PICTURE)
    async with app.router.lifespan_context(app):
        await app.state.started.wait()
        async with listening(app) as (host, port, _), connected(host, port) as client:
            for _ in range(3):
                sent = await client.ask(b"".join(on_the_wire(exchange)))
                assert [value for name, value in sent.headers if name == b"vary"] == [b"accept", b"Origin"]
            assert (await client.ask(b"".join(on_the_wire(exchange, (b"host", b"evil.example"))))).status == 421
    assert hot == {200: 2}
