"""A connection on which every byte is the test's own. Knows nothing of what is asked."""

import json
import select
import socket
from types import TracebackType
from typing import Any

from .server import PATIENCE_SECONDS, Server


class Wire:
    """It reads answers one by one; whatever it waits for comes within a test's patience."""

    def __init__(self, server: Server, receive_buffer: int = 0) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect((host, int(port)))
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.file.close()
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        """Piece by piece."""
        for piece in pieces:
            self.socket.sendall(piece)

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers, JSON body of the next answer; interim ones are left out."""
        while (status := int(self.file.readline().split()[1])) == 100:
            assert self.file.readline() == b"\r\n"
        headers: dict[str, str] = {}
        while line := self.file.readline().strip().decode("latin-1"):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, json.loads(self.file.read(int(headers["content-length"])))

    def ends(self) -> bool:
        """Return whether the server has closed the connection and nothing more comes."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def is_reset(self) -> bool:
        """Return whether the server resets the connection although the client reads nothing."""
        watch = select.poll()
        watch.register(self.socket, 0)
        return bool(watch.poll(1000 * PATIENCE_SECONDS))
