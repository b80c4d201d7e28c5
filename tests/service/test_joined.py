"""The transport that sends an answer's head with its body: in which pieces what is written comes to the one behind it."""

import asyncio
from typing import Any, cast

import pytest

from service.joined import JOINED_BYTES, Joined

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Recorder(asyncio.Transport):
    """Keeps what is written, and when it was closed."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.sent: list[bytes] = []
        self.closing = False

    def write(self, data: Any) -> None:
        assert not self.closing
        self.sent.append(data)

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


@pytest.fixture
async def behind() -> Recorder:
    return Recorder()


@pytest.fixture
async def joined(behind: Recorder) -> Joined:
    return Joined(behind, asyncio.get_running_loop())


async def a_round() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_head_and_body_go_together(behind: Recorder, joined: Joined) -> None:
    joined.write(HEAD)
    assert behind.sent == []
    joined.write(b"body")
    assert behind.sent == [HEAD + b"body"]
    await a_round()
    joined.write(HEAD)
    joined.write(b"next")
    assert behind.sent == [HEAD + b"body", HEAD + b"next"]


async def test_a_head_without_a_body_waits_for_one_round(behind: Recorder, joined: Joined) -> None:
    joined.write(HEAD)
    await a_round()
    assert behind.sent == [HEAD]
    joined.write(b"late")
    assert behind.sent == [HEAD, b"late"]


async def test_a_second_head_goes_after_the_first(behind: Recorder, joined: Joined) -> None:
    joined.write(HEAD)
    joined.write(HEAD)
    await a_round()
    assert b"".join(behind.sent) == HEAD + HEAD


async def test_what_is_no_head_goes_at_once(behind: Recorder, joined: Joined) -> None:
    joined.write(b"body")
    assert behind.sent == [b"body"]


async def test_large_pieces_are_not_copied(behind: Recorder, joined: Joined) -> None:
    large = bytes(JOINED_BYTES + 1)
    joined.write(HEAD)
    joined.write(large)
    assert behind.sent[0] == HEAD
    assert behind.sent[1] is large


async def test_closing_sends_the_head(behind: Recorder, joined: Joined) -> None:
    joined.write(HEAD)
    joined.close()
    assert (behind.sent, behind.closing) == ([HEAD], True)
    await a_round()


async def test_nothing_is_sent_after_the_client_is_gone(behind: Recorder, joined: Joined) -> None:
    joined.write(HEAD)
    behind.closing = True  # as by abort()
    await a_round()
    assert behind.sent == []


async def test_all_else_is_the_others(joined: Joined) -> None:
    assert cast(asyncio.Transport, joined).get_extra_info("peername") == ("127.0.0.1", 1)
    assert not joined.is_closing()
