"""Compressed bodies: what comes out is what went in, within the limits on one body and on all of them."""

import gzip
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.body_memory import BodyMemory, BodyShare, MemoryFull
from service.http.content_coding import (
    EXPANDED_A_TURN,
    MOST_MEMBERS,
    Corrupt,
    Encoded,
    compression_of,
    expanded,
    stated_coding,
)
from service.http.problems import HttpError, Malformed
from service.http.receive import BodyTooLarge

COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
MOST = 8 * EXPANDED_A_TURN


def share(max_bytes: int = MOST) -> BodyShare:
    return BodyShare(BodyMemory(max_bytes, Counter()))


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", ""),
        ("identity", ""),
        (" , identity", ""),
        ("GZIP", "gzip"),
        ("identity, x-gzip", "x-gzip"),
        ("deflate,", "deflate"),
    ],
)
def test_the_coding_of_a_header(header: str, coding: str) -> None:
    assert stated_coding(header, taken=True) == coding
    if coding:
        with pytest.raises(Encoded, match="send the body as it is"):
            stated_coding(header, taken=False)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("br", "use gzip, deflate or none"),
        ("gzip, gzip", "encoded 2 times"),
        ("gzip, identity, br,deflate", "encoded 3 times"),
    ],
)
def test_codings_that_are_not_undone(header: str, reason: str) -> None:
    with pytest.raises(Encoded, match=reason):
        stated_coding(header, taken=True)


def test_what_looks_compressed() -> None:
    for level in range(10):
        assert compression_of(gzip.compress(b"a picture", level)) == "gzip"
        assert compression_of(zlib.compress(b"a picture", level)) == "zlib"
    for other in (b"", b"x", b"{}", b"xy", b"\x1f", b"\x89PNG", b' {"x": 1}'):
        assert compression_of(other) == ""


@pytest.mark.parametrize("coding", COMPRESS)
@pytest.mark.parametrize("size", [0, 1, EXPANDED_A_TURN - 1, EXPANDED_A_TURN, 3 * EXPANDED_A_TURN + 5, MOST])
async def test_bodies_of_every_size(coding: str, size: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert await expanded(COMPRESS[coding](body), coding, MOST, share(2 * MOST)) == body
    assert await expanded(COMPRESS[coding](body[:9]), coding, MOST, share()) == body[:9]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_noticed_early(coding: str) -> None:
    """Twelve times the limit is neither expanded nor kept."""
    bomb = COMPRESS[coding](bytes(12 * MOST))
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            await expanded(bomb, coding, MOST, share(2 * MOST))
        assert tracemalloc.get_traced_memory()[1] < 3 * MOST
    finally:
        tracemalloc.stop()


async def test_all_bodies_together_are_bounded() -> None:
    memory = BodyMemory(MOST, Counter())
    other = BodyShare(memory)
    other.hold(MOST // 2)
    with pytest.raises(MemoryFull):
        await expanded(gzip.compress(bytes(MOST - 1)), "gzip", MOST, BodyShare(memory))


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_what_is_not_whole(coding: str) -> None:
    body = COMPRESS[coding](b"a picture " * 100)
    for cut in range(len(body)):
        with pytest.raises(Corrupt):
            await expanded(body[:cut], coding, MOST, share())
    with pytest.raises(Malformed, match="4 bytes after the end"):
        await expanded(body + b"more", coding, MOST, share())


@given(st.binary(max_size=80), st.sampled_from(sorted(COMPRESS)))
async def test_noise(noise: bytes, coding: str) -> None:
    """Nothing but an error of HTTP comes of it, also behind a good beginning."""
    for body in (noise, COMPRESS[coding](b"good")[:12] + noise):
        try:
            await expanded(body, coding, MOST, share())
        except HttpError:
            continue


async def test_many_members_take_no_time_that_grows_with_their_square() -> None:
    """Each copies what follows it, so that 2 MB of empty ones could stop the service for minutes."""
    member = gzip.compress(b"")
    assert await expanded(gzip.compress(b"a") + (MOST_MEMBERS - 1) * member, "gzip", MOST, share()) == b"a"
    with pytest.raises(Malformed, match="members"):
        await expanded(gzip.compress(b"a") + 200_000 * member, "gzip", MOST, share())
