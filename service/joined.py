"""A transport that sends the head of an HTTP answer together with the first of its body: one call of the system for a small
answer instead of two, and one time that the client wakes up. Knows nothing of what is sent but how a head begins.
"""

import asyncio
from typing import Any

HEAD = b"HTTP/1.1 "
# a larger piece of a body is not worth the copy
JOINED_BYTES = 1 << 16


class Joined:
    """Goes before another transport, which does all else. A head waits for the next piece, or for a round of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._head = transport, loop, b""
        self.is_closing = transport.is_closing  # the only other method that is called for each request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it, or keep it a moment."""
        if self._head:
            if len(data) <= JOINED_BYTES:
                data = self._head + data
                self._head = b""
            else:
                self._send_head()
            self._transport.write(data)
        elif data.startswith(HEAD):
            self._head = data
            self._loop.call_soon(self._send_head)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what was kept, and close."""
        self._send_head()
        self._transport.close()

    def _send_head(self) -> None:
        head, self._head = self._head, b""
        if head and not self.is_closing():
            self._transport.write(head)
