"""The writer of answers: in which pieces they go out, and that they are byte for byte what uvicorn's own makes of them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from service.server.response_cycle import JOINED_BYTES, Cycle

LOG = logging.getLogger(__name__)
DEFAULT = [(b"date", b"today"), (b"server", b"uvicorn")]


class Recorder(asyncio.Transport):
    """Keeps what is written, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closing = False

    def write(self, data: Any) -> None:
        assert not self.closing
        self.sent.append(data)

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


Factory = Callable[..., tuple[RequestResponseCycle, Recorder, list[bool]]]


@pytest.fixture
def make() -> Factory:
    def cycle(
        kind: type[RequestResponseCycle] = Cycle, method: str = "POST", keep_alive: bool = True
    ) -> tuple[RequestResponseCycle, Recorder, list[bool]]:
        transport, ends = Recorder(), list[bool]()
        scope: Any = {"method": method}
        made = kind(
            *(scope, transport, FlowControl(transport), LOG, LOG, False, DEFAULT, asyncio.Event(), False, keep_alive),
            lambda: ends.append(True),
        )
        if isinstance(made, Cycle):
            made.server_state = ServerState()
            made.server_state.default_headers = DEFAULT
        return made, transport, ends

    return cycle


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Any:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", more: bool = False) -> Any:
    return {"type": "http.response.body", "body": data, "more_body": more}


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", str(size).encode()


ANSWERS: dict[str, list[Any]] = {
    "small": [start(200, (b"content-type", b"text/plain"), length(4)), body(b"four")],
    "empty": [start(200, length(0)), body()],
    "in two": [start(200, length(4)), body(b"fo", more=True), body(b"ur")],
    "chunked": [start(200), body(b"some", more=True), body(b"", more=True), body(b"more")],
    "chunked and empty": [start(404), body()],
    "said to be chunked": [start(200, (b"Transfer-Encoding", b"Chunked"), length(9)), body(b"x", more=True), body()],
    "closing": [start(200, (b"Connection", b"keep-alive, Close"), length(1)), body(b"1")],
    "keeping": [start(200, (b"connection", b"keep-alive"), length(1)), body(b"1")],
    "nothing": [start(204), body()],
    "not modified": [start(304, (b"etag", b'"1"')), body()],
    "odd values": [start(200, (b"x-odd", b"a\tb \xe9 "), (b"X-EMPTY", b""), length(1)), body(b"1")],
    "large": [start(200, length(1 << 18)), body(bytes(1 << 17), more=True), body(bytes(1 << 17))],
    "bare": [{"type": "http.response.start", "status": 500}, {"type": "http.response.body"}],
}


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_the_bytes_are_those_of_uvicorn(make: Factory, answer: list[Any], method: str, keep_alive: bool) -> None:
    ours, theirs = make(Cycle, method, keep_alive), make(RequestResponseCycle, method, keep_alive)
    for cycle, _, _ in (ours, theirs):
        for message in answer:
            await cycle.send(message)
        assert cycle.response_complete
    assert b"".join(ours[1].sent) == b"".join(theirs[1].sent)
    assert (ours[1].closing, ours[2]) == (theirs[1].closing, theirs[2])


async def test_a_small_answer_is_one_write_once_there_is_a_body(make: Factory) -> None:
    cycle, transport, ends = make()
    await cycle.send(start(200, length(4)))
    assert (transport.sent, ends) == ([], [])


async def test_large_pieces_are_not_copied(make: Factory) -> None:
    cycle, transport, _ = make()
    large = bytes(JOINED_BYTES + 1)
    await cycle.send(start(200, length(len(large))))
    await cycle.send(body(large))
    assert len(transport.sent) == 2
    assert transport.sent[1] is large


@pytest.mark.parametrize(
    "wrong",
    [
        [body(b"first")],
        [start(200, length(1)), start(200)],
        [start(200, length(1)), body(b"12")],
        [start(200, length(3)), body(b"12")],
        [start(200, length(1)), body(b"1"), body(b"2")],
        [start(200, (b"x-split", b"1\r\nx-other: 2"))],
        [start(200, (b"x-nul", b"\0"))],
        [start(200, length(5), (b"connection", b"close"), (b"x-feed", b"a\x0cb"))],
        [start(200, (b"x split", b"1"))],
        [start(200, (b"x:", b"1"))],
        [start(200, (b"", b"1"))],
    ],
)
async def test_what_is_no_answer_is_refused_and_not_sent(make: Factory, wrong: list[Any]) -> None:
    cycle, transport, _ = make()
    for message in wrong[:-1]:
        await cycle.send(message)
    sent = list(transport.sent)
    with pytest.raises(RuntimeError):
        await cycle.send(wrong[-1])
    assert transport.sent == sent
    if wrong[-1]["type"] == "http.response.start" and not cycle.response_started:
        await cycle.send_500_response()  # as uvicorn does after an error
        assert transport.sent[0].startswith(b"HTTP/1.1 500")
        assert transport.sent[0].endswith(b"Internal Server Error")


async def test_nothing_is_sent_once_the_client_is_gone(make: Factory) -> None:
    cycle, transport, ends = make()
    await cycle.send(start(200, length(1)))
    cycle.disconnected = True
    await cycle.send(body(b"1"))
    assert (transport.sent, ends) == ([], [])


async def test_nothing_is_written_to_a_transport_that_closes(make: Factory) -> None:
    cycle, transport, ends = make()
    await cycle.send(start(200, length(1)))
    transport.close()
    await cycle.send(body(b"1"))
    assert (transport.sent, ends) == ([], [])
