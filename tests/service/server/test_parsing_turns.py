"""Who parses next: pieces end where requests do, and no connection keeps the others waiting for long."""

import asyncio
import random
import time

import pytest

from service.server.parsing_turns import (
    PIECE,
    SHORT_LINE,
    TURN_SECONDS,
    ParsingTurns,
    after_empty_lines,
    end_of_piece,
    is_harmless,
)

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "harmless"),
    [
        (b"", True),
        (GET, True),
        (GET + b"GET / HT", True),
        (GET + b"a" * 5 * PIECE, True),
        (GET * 2, False),
        (b"\r\n\r\n" + GET, False),
        (b"1\r\na\r\n" * 10, True),
        (b"1\r\na\r\n" * PIECE, False),
        ((b"a" * 2 * SHORT_LINE + b"\r\n") * PIECE, True),
    ],
)
def test_what_may_be_parsed_at_once(data: bytes, harmless: bool) -> None:
    assert is_harmless(data) == harmless


def test_pieces_end_with_heads_and_lose_nothing() -> None:
    numbers = random.Random(0)
    for _ in range(50):
        words = [numbers.choice((GET, b"\r\n", b"\r", b"a" * numbers.randrange(3 * PIECE), b"\r\n\r\n")) for _ in range(20)]
        data, at, pieces = b"".join(words), 0, []
        while at < len(data):
            end = end_of_piece(data, at, 0)
            pieces.append(data[at:end])
            at = end
        assert b"".join(pieces) == data
        assert all(0 < len(piece) <= PIECE + 4 for piece in pieces)
        assert all(b"\r\n\r\n" not in piece[:-4] for piece in pieces)


def test_a_body_is_one_piece() -> None:
    data = b"\r\n\r\n" * PIECE
    assert end_of_piece(data, 8, len(data)) == len(data)
    assert end_of_piece(data, 8, 100) == 108


def test_empty_lines_before_a_request() -> None:
    assert after_empty_lines(b"\r\n\r\n" + GET, 0) == 4
    assert after_empty_lines(GET, 0) == 0
    assert after_empty_lines(b"\r\n", 0) == 2


class Stream:
    """A connection with so many pieces; each takes a while."""

    def __init__(self, name: str, pieces: int, log: list[str], seconds: float = 0.0) -> None:
        self.name, self.pieces, self.log, self.seconds = name, pieces, log, seconds

    def parse_until(self, until: float) -> bool:
        while self.pieces:
            self.pieces -= 1
            self.log.append(self.name)
            time.sleep(self.seconds)
            if asyncio.get_running_loop().time() > until:
                break
        return self.pieces > 0


async def test_slow_streams_take_turns_and_the_loop_goes_on_between_them() -> None:
    log: list[str] = []
    turns, loop = ParsingTurns(), asyncio.get_running_loop()
    for name in "ab":
        turns.add(Stream(name, 3, log, seconds=2 * TURN_SECONDS), loop)
    while sum(name != "-" for name in log) < 6:
        log.append("-")
        await asyncio.sleep(0)
    assert [name for name in log if name != "-"] == ["a", "b"] * 3
    assert all(log[i] == "-" or log[i + 1] == "-" for i in range(len(log) - 1))  # one piece a round


async def test_each_stream_is_in_the_queue_once() -> None:
    log: list[str] = []
    turns, loop = ParsingTurns(), asyncio.get_running_loop()
    streams = [Stream(name, 1, log) for name in "abc"]
    for stream in [*streams, *streams]:  # who is in the queue already is not added again
        turns.add(stream, loop)
    for _ in range(10):
        await asyncio.sleep(0)
    assert log == ["a", "b", "c"]
