"""Memory for bodies in flight: what counts, who is refused, and that it is always given back."""

import asyncio
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from service.http.body_memory import COUNTED_FROM, BodyMemory, BodyShare, MemoryFull
from service.http.call import Answer, Call
from service.http.endpoint import SENT_AT_ONCE, Endpoint, Operation
from service.http.receive import DisconnectTimer
from service.observe.request_record import RecordSinks
from service.rest.errors import describe
from tests.service.asgi import Application, Exchange, Sent, send

ROOM, LARGEST = 1_000_000, 900_000


class Service:
    """An operation as an application, with its state."""

    def __init__(self, operation: Operation) -> None:
        self.refused: Counter[str] = Counter()
        self.bodies = BodyMemory(ROOM, self.refused)
        self._endpoint = Endpoint(operation, describe)
        self._app = SimpleNamespace(
            state=SimpleNamespace(
                service=SimpleNamespace(),
                max_body_bytes=LARGEST,
                bodies=self.bodies,
                sinks=RecordSinks(),
                disconnects=DisconnectTimer(),
                access=None,
            )
        )

    async def __call__(self, scope: Any, receive: Any, take: Any) -> None:
        scope |= {"app": self._app, "method": "POST"}
        await self._endpoint(scope, receive, take)


async def echo(service: Any, call: Call) -> Answer:
    """The body, as it came."""
    return Answer(call.body, "application/octet-stream", {})


async def length(service: Any, call: Call) -> Answer:
    """Answer with the length of the body."""
    return Answer(str(len(call.body)).encode(), "text/plain", {})


def post(body: bytes, pieces: int = 1, stated: bool = True, **more: Any) -> Exchange:
    size = max(1, -(-len(body) // pieces))
    headers = [(b"content-length", str(len(body)).encode())] if stated else []
    return Exchange("POST", "/", headers=headers, pieces=[body[i : i + size] for i in range(0, len(body), size)], **more)


def refused(sent: Sent) -> bool:
    return sent.status == 429 and orjson.loads(sent.body)["code"] == "memory" and dict(sent.headers)[b"retry-after"] == b"1"


def test_shares_of_the_memory() -> None:
    refused: Counter[str] = Counter()
    memory = BodyMemory(ROOM, refused)
    first, second = BodyShare(memory), BodyShare(memory)
    first.hold(COUNTED_FROM)
    assert memory.used == 0
    first.hold(LARGEST)
    first.hold(LARGEST)
    assert memory.used == LARGEST
    second.hold(COUNTED_FROM)
    second.hold(ROOM - LARGEST)
    with pytest.raises(MemoryFull):
        second.hold(ROOM - LARGEST + 1)
    assert (memory.used, refused) == (ROOM, {"memory": 1})
    first.release()
    first.release()
    second.hold(LARGEST)
    assert memory.used == LARGEST
    second.release()
    first.hold(10 * ROOM)  # whatever is alone fits
    assert memory.used == 10 * ROOM


class Held:
    """An operation that has its body and waits until it is let go."""

    def __init__(self) -> None:
        self.entered, self.release = asyncio.Event(), asyncio.Event()

    async def __call__(self, service: Any, call: Call) -> Answer:
        if call.query != "wait":
            return await length(service, call)
        self.entered.set()
        await self.release.wait()
        return Answer(b"done", "text/plain", {})


@pytest.mark.parametrize("stated", [True, False])
async def test_a_body_that_does_not_fit_beside_others_is_refused_at_once(stated: bool) -> None:
    held = Held()
    service = Service(held)
    first = asyncio.ensure_future(send(service, Exchange("POST", "/", b"wait", pieces=[bytes(LARGEST)])))
    await held.entered.wait()
    assert service.bodies.used == LARGEST
    assert refused(await send(service, post(bytes(200_000), 5, stated)))
    assert (await send(service, post(bytes(COUNTED_FROM), 5, stated))).body == str(COUNTED_FROM).encode()  # small ones pass
    assert (await send(service, post(bytes(99_000), 5, stated))).body == b"99000"
    held.release.set()
    assert (await first).body == b"done"
    assert (await send(service, post(bytes(LARGEST), 5, stated))).body == str(LARGEST).encode()
    assert (service.bodies.used, service.refused) == (0, {"memory": 1})


async def test_a_stated_length_that_does_not_fit_is_not_even_read() -> None:
    held = Held()
    service = Service(held)
    first = asyncio.ensure_future(send(service, Exchange("POST", "/", b"wait", pieces=[bytes(LARGEST)])))
    await held.entered.wait()

    async def receive() -> Any:
        raise AssertionError("it is read")

    async def take(message: Any) -> None:
        assert message.get("status", 429) == 429

    await service({"type": "http", "headers": [(b"content-length", b"200000")], "query_string": b""}, receive, take)
    held.release.set()
    await first


async def test_many_large_bodies_at_once_all_end_and_one_at_least_is_served() -> None:
    """Chunk by chunk, in any order: nobody waits for anybody."""
    service, order = Service(length), random.Random(1)

    async def chunked() -> Sent:
        exchange, sent = post(bytes(LARGEST), 50, stated=False), Sent()
        pieces = list(exchange.pieces)

        async def receive() -> Any:
            for _ in range(order.randrange(3)):
                await asyncio.sleep(0)
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def take(message: Any) -> None:
            sent.status = message.get("status", sent.status)
            sent.body += message.get("body", b"")

        await service({"type": "http", "headers": [], "query_string": b""}, receive, take)
        return sent

    answers = await asyncio.gather(*(chunked() for _ in range(20)))
    assert {answer.status for answer in answers} == {200, 429}
    assert service.bodies.used == 0
    assert service.refused["memory"] == sum(answer.status == 429 for answer in answers)


@pytest.mark.parametrize("leaves", ["in the body", "waiting", "answered"])
async def test_memory_is_given_back_whoever_leaves(leaves: Any) -> None:
    service = Service(length)
    await send(service, post(bytes(LARGEST), 9, leaves=leaves))
    await send(service, post(bytes(LARGEST + 1), 9, stated=False, leaves=leaves))
    assert service.bodies.used == 0


async def test_memory_is_given_back_when_an_operation_fails() -> None:
    async def fails(service: Any, call: Call) -> Answer:
        raise ValueError("a defect")

    service = Service(fails)
    assert (await send(service, post(bytes(LARGEST)))).status == 500
    assert service.bodies.used == 0


async def test_long_answers_count_while_they_are_read_and_come_piece_by_piece() -> None:
    async def long(service: Any, call: Call) -> Answer:
        return Answer(bytes(int(call.query)), "application/octet-stream", {})

    service, messages, begun, slow = Service(long), [], asyncio.Event(), asyncio.Event()

    async def never() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def take(message: Any) -> None:
        messages.append(message)
        begun.set()
        await slow.wait()

    scope = {"type": "http", "headers": [], "query_string": str(LARGEST).encode()}
    reader = asyncio.ensure_future(service(scope, never, take))
    await begun.wait()
    assert service.bodies.used == LARGEST
    assert refused(await send(service, Exchange("GET", "/", b"200000")))
    assert (await send(service, Exchange("GET", "/", b"60000"))).body == bytes(60_000)
    slow.set()
    await reader
    assert service.bodies.used == 0
    sizes = [len(message["body"]) for message in messages[1:]]
    assert sum(sizes) == LARGEST
    assert max(sizes) <= SENT_AT_ONCE
    assert [message.get("more_body", False) for message in messages[1:]] == [True] * (len(sizes) - 1) + [False]
    assert (await send(service, Exchange("GET", "/", str(2 * ROOM).encode()))).body == bytes(2 * ROOM)  # alone it may


async def test_a_body_is_the_same_in_whatever_pieces_it_comes() -> None:
    chance, service = random.Random(7), Service(echo)
    body = chance.randbytes(200_000)
    for sizes in ((1, 100), (1, 20_000), (4095, 4098), (100_000, 150_000), (200_000, 200_001)):
        pieces, at = [], 0
        while at < len(body):
            size = chance.randrange(*sizes)
            pieces.append(body[at : at + size])
            at += size
        application: Application = service
        for empty in ([], [b""]):
            sent = await send(application, Exchange("POST", "/", pieces=[*pieces, *empty]))
            assert (sent.status, sent.body == body) == (200, True)
