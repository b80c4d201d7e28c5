"""Makes special files: pipes without a writer, sockets, endless devices. Ends tests that would wait for them."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        directory = os.open(path.parent, os.O_RDONLY)  # a socket's address has a hundred characters at most
        try:
            made.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


# kind -> (what makes it, what an error calls it)
KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (pipe, "a named pipe"),
    "socket": (listening_socket, "a socket"),
    "device": (endless, "a device"),
    "link": (link_to_a_pipe, "a named pipe"),
    "directory": (Path.mkdir, "a directory"),
}


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Raise where something still waits after so many seconds."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"still waiting after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
