"""Asks the kernel about the unsent bytes and errors of a connection. Knows nothing of HTTP."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios


def unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes in the kernel's buffer the client has not acknowledged; 0 if the kernel does not tell."""
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        (size,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))
    except (OSError, AttributeError):
        return 0
    return int(size)


def drop_unsent(transport: asyncio.Transport) -> None:
    """Make the kernel drop unsent bytes when the socket is closed, since a stuck reader may never take them."""
    with contextlib.suppress(OSError, AttributeError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def is_reset(transport: asyncio.Transport) -> bool:
    """Return whether the client's system has answered with a reset, because nobody reads there any more."""
    try:
        return bool(transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    except (OSError, AttributeError):
        return True
