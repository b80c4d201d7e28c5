"""Request bodies that were compressed (Content-Encoding), expanded within the limit on bodies.

Knows nothing about what is done with a body.
"""

import asyncio
from collections.abc import Mapping

from isal import isal_zlib
from isal.igzip_lib import IsalError

from service.http.body_memory import COUNTED_FROM, BodyShare
from service.http.problems import HttpError, Malformed
from service.http.receive import BodyTooLarge
from service.observe.printable import short

# Content codings that can be expanded -> how they are called, and the window bits that zlib wants for them.
CODINGS: Mapping[str, tuple[str, int]] = {"gzip": ("gzip", 31), "x-gzip": ("gzip", 31), "deflate": ("zlib", 15)}
GZIP_MAGIC = b"\x1f\x8b"
# The first byte of zlib data whose window has the usual 32 KiB. The first two are a multiple of 31 (RFC 1950, section 2.2).
ZLIB_FIRST, ZLIB_CHECK = b"x", 31
# Other requests get a turn after so many bytes, which take about a millisecond.
EXPANDED_A_TURN = 1 << 20
# What follows a member is copied at its end, so that a body is read in small pieces.
READ_AT_ONCE = 1 << 14
# Programs that compress in blocks of 64 KiB make a member of each.
MOST_MEMBERS = 4096


class Encoded(HttpError):
    """The body has a content coding that this endpoint does not expand."""

    status, code = 415, "unsupported_media_type"


class Corrupt(HttpError):
    """The body is not what its content coding says."""

    status, code = 400, "undecodable"


def stated_coding(header: str, taken: bool) -> str:
    """Return the content coding that a header Content-Encoding states, empty if there is none. Raises Encoded.

    `taken`: whether bodies of this endpoint may have one.
    """
    stated = [coding for coding in (word.strip().lower() for word in header.split(",")) if coding not in ("", "identity")]
    if not stated:
        return ""
    if not taken:
        raise Encoded(f"the Content-Encoding {short(header)} is not supported; send the body as it is, without this header")
    if len(stated) > 1:
        raise Encoded(
            f"the Content-Encoding {short(header)} says that the body was encoded {len(stated)} times, one coding after the "
            "other, and only one coding is undone here; encode the body once, with gzip or deflate, or send it as it is"
        )
    if stated[0] not in CODINGS:
        raise Encoded(f"the Content-Encoding {short(header)} is not supported; use gzip, deflate or none")
    return stated[0]


def compression_of(body: bytes) -> str:
    """Return the name of the format that a body is compressed with, by its first bytes; empty if it does not look so."""
    if body.startswith(GZIP_MAGIC):
        return "gzip"
    return "zlib" if body[:1] == ZLIB_FIRST and len(body) > 1 and int.from_bytes(body[:2]) % ZLIB_CHECK == 0 else ""


async def expanded(body: bytes, coding: str, max_bytes: int, share: BodyShare) -> bytes:
    """Return a body without its content coding, one of CODINGS. Raises Corrupt, Malformed, BodyTooLarge, MemoryFull."""
    name, window = CODINGS[coding]
    stream, members = isal_zlib.decompressobj(wbits=window), 1
    parts, size, rest, read, done = list[bytes](), 0, b"", 0, 0
    while True:
        if len(rest) < len(GZIP_MAGIC):
            rest, read = rest + body[read : read + READ_AT_ONCE], min(read + READ_AT_ONCE, len(body))
        try:
            part = stream.decompress(rest, EXPANDED_A_TURN)
        except IsalError as error:  # type: ignore[misc]  # The stub declares an instance.
            raise Corrupt(f"the body is not valid {name} data, as its Content-Encoding {coding} says: {error}") from None
        done += len(part) + len(rest)
        rest, size = stream.unused_data if stream.eof else stream.unconsumed_tail, size + len(part)
        if size > max_bytes:
            raise BodyTooLarge(max_bytes)
        if size > COUNTED_FROM:
            share.hold(len(body) + size)
        parts.append(part)
        left = len(rest) + len(body) - read
        if stream.eof and not left:
            return b"".join(parts)
        if stream.eof:  # There may be several members.
            if name != "gzip" or not (rest + body[read : read + len(GZIP_MAGIC)]).startswith(GZIP_MAGIC):
                raise Malformed(f"the body has {left} bytes after the end of its {name} data")
            stream, members = isal_zlib.decompressobj(wbits=window), members + 1
            if members > MOST_MEMBERS:
                raise Malformed(f"the body has more than {MOST_MEMBERS} gzip members after one another; send one")
        elif not part and not left:
            raise Corrupt(f"the body ends in the middle of its {name} data (Content-Encoding {coding}); send all of it")
        if done >= EXPANDED_A_TURN:
            done = 0
            await asyncio.sleep(0)
