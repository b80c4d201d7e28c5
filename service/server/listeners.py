"""The sockets on which the service listens. Knows nothing of what is served."""

import socket
from collections.abc import Iterable

UNIX = "unix:"


def describe(sockets: Iterable[socket.socket]) -> str:
    """Return the addresses for the log: http://127.0.0.1:8000, http://[::1]:8000, unix:/run/vae.sock."""
    return ", ".join(_url(sock) for sock in sockets)


def _url(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"{UNIX}{name}"
    return f"http://[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"http://{name[0]}:{name[1]}"
