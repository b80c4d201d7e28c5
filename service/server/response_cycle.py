"""Sends the head of an answer together with the first part of its body, based on uvicorn's request-response cycle.

A small answer then takes one system call instead of two, and wakes up the client once. ASGI asks for this: a server must not
send the head before the first part of the body. Knows nothing of what is sent.
"""

import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

from service.asgi import Message

# A larger piece of a body is sent separately, because copying it behind the head costs more than a system call.
JOINED_BYTES = 1 << 16
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Characters that a header's value must not contain (RFC 9110, section 5.5).
FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
WITHOUT_BODY = (204, 304)
# Cache: the start of a header's line, by the name as the application gave it.
_starts: dict[bytes, bytes] = {}
MOST_STARTS = 1000


class Cycle(RequestResponseCycle):
    """One request in progress. uvicorn's class runs the application and hands it the body; this class writes the answer."""

    _head = b""  # the head, while it waits for the first part of the body
    server_state: ServerState

    async def send(self, message: Any) -> None:
        """Send one ASGI event of the answer. Raise RuntimeError if the event is not allowed at this point."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.transport.is_closing():
            self.disconnected = True  # so that uvicorn does not take the answer for missing
            return
        if not self.response_started:
            if message["type"] != "http.response.start":
                raise RuntimeError(f"an answer must begin with http.response.start, not with {message['type']}")
            self._head = self._made_head(message)
            self.response_started = True
            self.waiting_for_100_continue = False
        elif self.response_complete or message["type"] != "http.response.body":
            state = "complete" if self.response_complete else "in progress"
            raise RuntimeError(f"{message['type']} is not allowed in an answer that is {state}")
        else:
            self._write(message.get("body", b""), message.get("more_body", False))

    def _made_head(self, message: Message) -> bytes:
        status: int = message["status"]
        lines = [STATUS_LINE[status]]
        length, chunked, closes = 0, None, False
        for name, value in [*self.server_state.default_headers, *message.get("headers", ())]:
            start = _starts.get(name) or _start_of_line(name)
            lines += start, value, b"\r\n"
            if start == b"content-length: ":
                if chunked is None:
                    length, chunked = int(value), False
            elif start == b"transfer-encoding: " and value.lower() == b"chunked":
                length, chunked = 0, True
            elif start == b"connection: ":
                closes = closes or b"close" in [token.strip().lower() for token in value.split(b",")]
        if FORBIDDEN.search(b"".join(lines[2::3])):
            raise RuntimeError("the value of a header has characters that HTTP does not allow")
        self.keep_alive = self.keep_alive and not closes
        if not (self.keep_alive or closes):
            lines.append(b"connection: close\r\n")
        if chunked is None and self.scope["method"] != "HEAD" and status not in WITHOUT_BODY:
            chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self.expected_content_length, self.chunked_encoding = length, chunked
        return b"".join(lines)

    def _write(self, body: bytes, more: bool) -> None:
        size = len(body)
        if self.scope["method"] == "HEAD":
            body, self.expected_content_length = b"", 0
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (size, body) if size else b""
            if not more:
                body += b"0\r\n\r\n"
        else:
            self.expected_content_length -= size
            if self.expected_content_length < 0 or not (more or self.expected_content_length == 0):
                raise RuntimeError("the length of the body differs from its Content-Length")
        head, self._head = self._head, b""
        if len(body) <= JOINED_BYTES:
            self.transport.write(head + body if head else body)
        else:
            if head:
                self.transport.write(head)
            self.transport.write(body)
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


def _start_of_line(name: bytes) -> bytes:
    if not NAME.fullmatch(name):
        raise RuntimeError(f"{name!r} is not a valid name of a header")
    start = name.lower() + b": "
    if len(_starts) < MOST_STARTS:
        _starts[name] = start
    return start
