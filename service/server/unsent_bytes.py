"""What the kernel still holds of an answer on its way to a client. Knows nothing of HTTP."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios


def unsent(transport: asyncio.Transport) -> int:
    """Bytes that the kernel holds and the client has not taken; 0 where it does not say."""
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        (size,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))
    except (OSError, AttributeError):
        return 0
    return int(size)


def drop_unsent(transport: asyncio.Transport) -> None:
    """Have the kernel throw away what it holds when the socket is closed: it may be for a reader who never takes it."""
    with contextlib.suppress(OSError, AttributeError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def is_reset(transport: asyncio.Transport) -> bool:
    """Whether the client's system has refused what was sent to it last, because nobody reads there any more."""
    try:
        return bool(transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    except (OSError, AttributeError):
        return True
