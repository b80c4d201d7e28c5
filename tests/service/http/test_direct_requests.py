"""Requests that go straight into a queue: which ones do, and that their answers are the usual ones, warnings included."""

import base64
import gc
import io
import json
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from service.app import create_app
from service.formats import png
from service.formats.npy import npy
from service.http.direct_request import DirectRequest
from service.rest.direct_encode import DirectEncode
from service.settings import Settings
from tests.service.asgi import Exchange, of_httpx
from tests.service.http.connections import connected, listening, on_the_wire
from tests.service.http.exchanges import plain

SEVEN = Path("examples/seven.png").read_bytes()
PIXELS = np.asarray(Image.open(io.BytesIO(SEVEN)))[None]  # (1, 28, 28)
NOISE = np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8)
INVERTED, BLANK = 255 - PIXELS, np.zeros((1, 28, 28), np.uint8)


def text(pixels: np.ndarray) -> str:
    return base64.b64encode(png.write(pixels.transpose(1, 2, 0))).decode()


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.fromarray(PIXELS[0]).save(out, "JPEG")
    return out.getvalue()


def posted(query: str = "", /, **body: object) -> Exchange:
    return of_httpx("POST", f"/encode{query}", **body)


ROW, Z = [0.1] * 20, [[0.1] * 20]
DIRECT = [
    posted(content=SEVEN),
    posted(content=SEVEN, headers={"content-type": "image/png"}),
    posted(json={"images": [text(PIXELS)]}),
    posted(json={"image": text(PIXELS)}),
    posted(json={"images": [text(NOISE)]}),
    posted(json={"image": text(INVERTED)}),  # unusual, and looks inverted
    posted(content=npy(PIXELS)),
    posted(content=npy(np.concatenate([PIXELS, NOISE, INVERTED]))),  # the last one gets a warning
    posted("?model=mnist&format=json&seed=3", content=SEVEN),
    *(of_httpx("POST", f"/decode?format={form}", json={"z": Z}) for form in ("json", "npy", "png")),
    of_httpx("POST", "/decode", json={"mu": [ROW, [-1] * 20]}),
    of_httpx("POST", "/decode?format=png&layout=row", json={"mu": [ROW, [1.5] * 20]}),
    of_httpx("POST", "/decode?format=png&scale=3", json={"z": Z}),
    of_httpx("POST", "/decode?dtype=float32&format=npy", content=npy(np.zeros((2, 20), np.float32))),
]
USUAL = [
    posted(json={"images": [text(PIXELS), text(PIXELS)]}),
    posted(json={"images": [text(BLANK)]}),  # it gets a warning
    posted(content=npy(BLANK)),
    posted(json={"image": "data:image/png;base64," + text(PIXELS)}),
    posted(json={"images": [text(PIXELS)[:-1]]}),
    posted(json={"images": {text(PIXELS): 1}}),
    posted(json={"images": [7]}),
    posted(json={"images": []}),
    posted(json={"image": None}),
    posted(json={"images": [text(PIXELS)], "image": text(PIXELS)}),
    posted(json={"images": [text(PIXELS)], "include": "kl"}),
    posted(json={"images": [text(PIXELS)], "model": "mnist"}),
    posted(json=[text(PIXELS)]),
    posted(content=b'{"images":'),
    posted(content=b'{"image":[%s],"image":"%s"}' % (b"[]," * 5000 + b"[]", text(PIXELS).encode())),
    posted(content=npy(np.repeat(PIXELS, 33, 0))),
    posted(content=b"{}"),
    posted(content=jpeg()),
    posted(content=SEVEN[:-1]),
    posted(content=SEVEN + b"\0"),
    posted(content=npy(PIXELS.astype(np.float32) / 255)),
    posted(content=npy(np.repeat(PIXELS, 101, 0))),
    posted(content=npy(np.zeros((1, 8, 8), np.uint8))),
    posted(content=npy(np.zeros((0, 28, 28), np.uint8))),
    posted("?include=kl", content=SEVEN),
    posted("?include=z&seed=3", content=SEVEN),
    posted("?format=npy", content=SEVEN),
    posted("?invert=yes", content=SEVEN),
    posted("?background=white", content=SEVEN),
    posted("?timeout_ms=60000", content=SEVEN),
    posted("?model=none", content=SEVEN),
    posted("?modell=mnist", content=SEVEN),
    posted(content=SEVEN, headers={"accept": "application/x-npy"}),
    posted(files={"image": SEVEN}),
    posted(content=SEVEN, headers={"content-type": "multipart/form-data; boundary=x"}),
    of_httpx("POST", "/decode", json={"z": ROW}),
    of_httpx("POST", "/decode", content=b" " * 70 + json.dumps({"z": Z}).encode(), headers={"content-type": "text/plain"}),
    of_httpx("POST", "/decode", content=b'{"z":[%s],"z":%s}' % (b"[]," * 5000 + b"[]", json.dumps(Z).encode())),
    of_httpx("POST", "/decode", json={"z": Z, "mu": Z}),
    of_httpx("POST", "/decode", json={"z": Z, "format": "png"}),
    of_httpx("POST", "/decode", json={"z": [[0.1] * 19]}),
    of_httpx("POST", "/decode", json={"z": [[1e5] * 20]}),
    of_httpx("POST", "/decode", json={"z": []}),
    of_httpx("POST", "/decode", json={"z": [ROW] * 40}),
    of_httpx("POST", "/decode", content=b"[[1]]"),
    of_httpx("POST", "/decode?format=png&scale=32", json={"z": Z}),
    of_httpx("POST", "/decode?pixels=sample&seed=1", json={"z": Z}),
    of_httpx("POST", "/decode", json={"z": Z}, headers={"accept": "text/html,image/avif,*/*;q=0.8"}),  # enlarged
]


@pytest.fixture
async def mnist(tmp_path: Path) -> AsyncIterator[FastAPI]:
    """The application with a model that knows which pictures are unusual."""
    app = create_app(Settings(models="mnist", device="cpu", threads=1, store=str(tmp_path / "latents.db")))
    async with app.router.lifespan_context(app):
        await app.state.started.wait()
        assert app.state.failure == ""
        yield app


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> Counter[bool]:
    """Counts the requests that have tried to get into a queue, by whether they did."""
    counts: Counter[bool] = Counter()
    enqueue = DirectRequest.enqueue

    def counting(self: DirectRequest) -> bool:
        done = enqueue(self)
        counts[done] += 1
        return done

    monkeypatch.setattr(DirectRequest, "enqueue", counting)
    return counts


async def test_direct_answers_are_the_usual_ones(mnist: FastAPI, enqueued: Counter[bool]) -> None:
    warned = 0
    async with listening(mnist) as (host, port, _), connected(host, port) as client:
        for exchange, is_direct in [*((one, True) for one in DIRECT), *((one, False) for one in USUAL)]:
            wanted = await client.ask(b"".join(on_the_wire(exchange, (b"x-unusual", b"1"))))
            await client.ask(b"".join(on_the_wire(exchange)))  # now its head is known
            enqueued.clear()
            got = await client.ask(b"".join(on_the_wire(exchange)))
            assert plain(got) == plain(wanted), exchange
            assert [name for name, _ in got.headers] == [name for name, _ in wanted.headers], exchange
            assert enqueued == ({True: 1} if is_direct else {}), exchange
            warned += is_direct and b'"warnings"' in got.body
    assert warned >= 2


async def test_another_model_of_the_same_name_answers_in_its_own_name(mnist: FastAPI, enqueued: Counter[bool]) -> None:
    catalog = mnist.state.service.pipeline.catalog
    async with listening(mnist) as (host, port, _), connected(host, port) as client:
        request = b"".join(on_the_wire(DIRECT[0]))
        first = [await client.ask(request) for _ in range(2)][1]
        before = catalog.get(None)
        object.__setattr__(before, "digest", "0" * 64)
        vars(before).pop("label", None)
        mnist.state.hot_path._heads.clear()
        again = [await client.ask(request) for _ in range(2)][1]
    assert enqueued == {True: 2}
    assert dict(first.headers)[b"x-model"] != dict(again.headers)[b"x-model"] == b"mnist@sha256:" + b"0" * 64


async def test_an_answer_that_cannot_be_written_is_an_error_of_ours(mnist: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    request = b"".join(on_the_wire(DIRECT[0]))

    def fail(*_: object) -> bytes:
        raise ValueError("no")

    async with listening(mnist) as (host, port, _), connected(host, port) as client:
        good = plain([await client.ask(request) for _ in range(2)][1])
        with monkeypatch.context() as patch:
            patch.setattr(DirectEncode, "body", fail)
            assert (await client.ask(request)).status == 500
        assert plain(await client.ask(request)) == good
        assert mnist.state.sinks.metrics.in_flight == 0


async def test_what_cannot_be_read_directly_is_left_to_the_operation(mnist: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    request = b"".join(on_the_wire(DIRECT[0]))

    def fail(*_: object) -> None:
        raise ValueError("no")

    async with listening(mnist) as (host, port, _), connected(host, port) as client:
        good = plain([await client.ask(request) for _ in range(2)][1])
        monkeypatch.setattr(DirectEncode, "rows", fail)
        assert plain(await client.ask(request)) == good


async def test_requests_leave_nothing_behind(mnist: FastAPI) -> None:
    request = b"".join(on_the_wire(DIRECT[0]))
    async with listening(mnist) as (host, port, _), connected(host, port) as client:
        for _ in range(3):
            await client.ask(request)
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await client.ask(request)
            left = sum(isinstance(one, DirectRequest) for one in gc.get_objects())
        finally:
            gc.enable()
    assert left == 1  # the last one, which its connection still has


async def test_an_unloaded_model_is_not_kept_alive(mnist: FastAPI) -> None:
    catalog = mnist.state.service.pipeline.catalog
    requests = [b"".join(on_the_wire(one)) for one in DIRECT]
    async with listening(mnist) as (host, port, _), connected(host, port) as client:
        for request in requests:
            for _ in range(3):
                await client.ask(request)
        before = weakref.ref(catalog.get(None))
        await catalog.replace("mnist")
        gc.collect()
        assert before() is None
        assert (await client.ask(requests[0])).status == 200
