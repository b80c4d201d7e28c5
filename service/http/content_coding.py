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

# Content codings that can be expanded -> how they are called, and the window bits that zlib wants for them.
CODINGS: Mapping[str, tuple[str, int]] = {"gzip": ("gzip", 31), "x-gzip": ("gzip", 31), "deflate": ("zlib", 15)}
GZIP_MAGIC = b"\x1f\x8b"
# Other requests get a turn after so many bytes, which take about a millisecond.
EXPANDED_A_TURN = 1 << 20


class Encoded(HttpError):
    """The body has a content coding that this endpoint does not expand."""

    status, code = 415, "unsupported_media_type"


class Corrupt(HttpError):
    """The body is not what its content coding says."""

    status, code = 400, "undecodable"


async def expanded(body: bytes, coding: str, max_bytes: int, share: BodyShare) -> bytes:
    """Return a body without its content coding, one of CODINGS. Raises Corrupt, BodyTooLarge, MemoryFull."""
    name, window = CODINGS[coding]
    stream = isal_zlib.decompressobj(wbits=window)
    parts, size, rest = list[bytes](), 0, body
    while not stream.eof:
        try:
            part = stream.decompress(rest, EXPANDED_A_TURN)
        except IsalError as error:  # type: ignore[misc]  # The stub declares an instance.
            raise Corrupt(f"the body is not valid {name} data, as its Content-Encoding {coding} says: {error}") from None
        rest, size = stream.unconsumed_tail, size + len(part)
        if size > max_bytes:
            raise BodyTooLarge(max_bytes)
        if size > COUNTED_FROM:
            share.hold(len(body) + size)
        if not part and not rest and not stream.eof:
            raise Corrupt(f"the body ends in the middle of its {name} data (Content-Encoding {coding}); send all of it")
        parts.append(part)
        if not stream.eof:
            await asyncio.sleep(0)
        elif stream.unused_data.startswith(GZIP_MAGIC) and name == "gzip":  # It may have several members.
            rest, stream = stream.unused_data, isal_zlib.decompressobj(wbits=window)
    if stream.unused_data:
        raise Malformed(f"the body has {len(stream.unused_data)} bytes after the end of its {name} data")
    return b"".join(parts)
