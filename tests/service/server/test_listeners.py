"""Sockets to listen on: addresses, families, one port for all, and files that are in the way."""

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from service.server import listeners
from service.server.listeners import CannotListen, SocketFiles, describe, listen


def opened(*hosts: str, port: int = 0) -> list[tuple[int, str, int]]:
    """(family, address, port) of each socket that listens."""
    sockets = listen(hosts, port)
    try:
        for sock in sockets:
            sock.listen()  # fails if two of them exclude each other
        return [(sock.family, *sock.getsockname()[:2]) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


both = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@both
@pytest.mark.parametrize(
    ("hosts", "addresses"),
    [
        (("localhost",), ["127.0.0.1", "::1"]),
        (("::",), ["0.0.0.0", "::"]),
        (("0.0.0.0",), ["0.0.0.0"]),
        (("127.0.0.1", "[::1]"), ["127.0.0.1", "::1"]),
        (("localhost", "127.0.0.1", "::1"), ["127.0.0.1", "::1"]),
        (("127.0.0.1", "::"), ["0.0.0.0", "::"]),
        (("0.0.0.0", "::1"), ["0.0.0.0", "::1"]),
    ],
)
def test_all_addresses_have_one_port(hosts: tuple[str, ...], addresses: list[str]) -> None:
    found = opened(*hosts)
    assert [address for _, address, _ in found] == addresses
    assert len({port for _, _, port in found}) == 1


@pytest.mark.parametrize("reason", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_machine_without_ipv6(reason: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = listeners._bound

    def without(family: int, address: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(reason, os.strerror(reason))
        return bound(family, address)

    monkeypatch.setattr(listeners, "_bound", without)
    assert [address for _, address, _ in opened("localhost")] == ["127.0.0.1"]
    assert [address for _, address, _ in opened("::")] == ["0.0.0.0"]
    with pytest.raises(CannotListen, match="cannot listen on ::1, port 0: "):
        listen(("127.0.0.1", "::1"), 0)


@both
def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"cannot listen on localhost, port {port}: address already in use"):
            listen(("localhost",), port)
        assert opened("127.0.0.1", port=port)[0][2] == port  # the attempt has left no socket open


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no-such-name.invalid", "cannot listen on 'no-such-name.invalid'"),
        ("203.0.113.1", "cannot listen on 203.0.113.1, port 0: cannot assign requested address"),
        ("unix:", "cannot listen on unix: the path is missing"),
        ("unix:/nowhere/vae.sock", "cannot listen on unix:/nowhere/vae.sock: the directory /nowhere does not exist; make it"),
        (f"unix:/tmp/{'x' * 200}", "AF_UNIX path too long"),
        *(
            (host, "with no scheme and no port, or unix:/path; separate several by commas")
            for host in ("http://localhost", "localhost:8000", "[::1]:8000", "127.0.0.1 ::1", "/run/vae.sock", ":8000")
        ),
    ],
)
def test_addresses_that_cannot_be_used(host: str, reason: str) -> None:
    with pytest.raises(CannotListen, match=reason):
        listen((host,), 0)


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "vae.sock"
    path.write_text("mine")
    with pytest.raises(CannotListen, match="it exists and is not a socket; remove it or choose another path"):
        listen((f"unix:{path}",), 0)
    assert path.read_text() == "mine"


def test_a_socket_that_is_bound_belongs_to_somebody(tmp_path: Path) -> None:
    """Also while the service that has it still starts."""
    path = tmp_path / "vae.sock"
    (first,) = listen((f"unix:{path}",), 0)
    with first, pytest.raises(CannotListen, match="another process listens there"):
        listen((f"unix:{path}",), 0)
    (second,) = listen((f"unix:{path}",), 0)  # the first one is closed, and its file still there
    with second:
        assert describe([second]) == f"unix:{path}"
        files = SocketFiles([second])
        files.remove()
        assert not path.exists()
