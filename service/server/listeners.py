"""Opens the sockets on which the service listens: IPv4, IPv6 and unix sockets. Knows nothing of what is served."""

import errno
import os
import re
import socket
import stat
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

UNIX = "unix:"
# How many connections may wait to be accepted; uvicorn uses the same number.
BACKLOG = 2048
# Everybody may connect, as to a port of localhost. The directory of the socket can restrict that.
UNIX_MODE = 0o666
ALL, ALL_IPV4 = "::", "0.0.0.0"  # noqa: S104
# Names that stand for an IPv4 and an IPv6 address, whatever the files of the system say.
BOTH = {"localhost": ("127.0.0.1", "::1"), ALL: (ALL_IPV4, ALL)}
# What no name and no address has: a scheme, a port after a name or after brackets, a path, blanks.
NO_HOST = re.compile(r".*[/\s@\[\]].*|[^:]*:[^:]*")
# The machine lacks an address or a whole family (IPv6 is switched off), which another address of the same name makes up for.
MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
# With port 0, the port that the first socket gets may be taken for the second one. Then all try again.
ATTEMPTS = 20


class CannotListen(Exception):
    """An address cannot be used; the message names it and the reason."""


def listen(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Return a bound socket for each address of each host, all with the same port. Raise CannotListen.

    An IPv6 socket takes no IPv4 connections, so that callers have the same address in either case. TCP sockets refuse
    connections until the server listens on them; connections to unix sockets wait until then.
    """
    for attempt in range(1, ATTEMPTS + 1):
        with ExitStack() as opened:
            try:
                found = _bind(hosts, port, opened)
            except _Taken as taken:
                if port == 0 and attempt < ATTEMPTS:
                    continue
                raise CannotListen(str(taken)) from None
            opened.pop_all()
            return found
    raise AssertionError("the last attempt returns or raises")


class _Taken(CannotListen):
    """The port is in use."""


def _bind(hosts: Sequence[str], port: int, opened: ExitStack) -> list[socket.socket]:
    # Several names may have the same address. On one port, only one socket of a family can listen if it takes all addresses.
    wanted = {host: _addresses(host, port) for host in hosts}
    whole = {family for of_host in wanted.values() for family, address in of_host if address[0] in (ALL, ALL_IPV4)}
    found: dict[tuple[Any, ...], socket.socket] = {}
    for host, of_host in wanted.items():
        is_served, missing = False, ""
        for family, address in of_host:
            if family != socket.AF_UNIX and port == 0:
                address = (address[0], _port_of(found.values()), *address[2:])
            key = (family, address) if family == socket.AF_UNIX else (family, address[0], *address[2:])
            if key in found or (family in whole and address[0] not in (ALL, ALL_IPV4)):
                is_served = True
                continue
            try:
                found[key] = sock = _bound(family, address)
            except OSError as error:
                missing = f"cannot listen on {host}, port {port}: {(error.strerror or str(error)).lower()}"
                if error.errno == errno.EADDRINUSE:
                    raise _Taken(missing) from None
                if error.errno not in MISSING:
                    raise CannotListen(missing) from None
            else:
                opened.callback(sock.close)
                is_served = True
        if not is_served:
            raise CannotListen(missing)
    return list(found.values())


def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """Return (family, address) of each address of a host. Raise CannotListen for an unknown name."""
    if host == UNIX:
        raise CannotListen(f"cannot listen on {UNIX} the path is missing; write {UNIX}/path/of/the.sock")
    if host.startswith(UNIX):
        return [(socket.AF_UNIX, host.removeprefix(UNIX))]
    host = host.removeprefix("[").removesuffix("]")
    if NO_HOST.fullmatch(host):
        raise CannotListen(
            f"cannot listen on {host!r}: write a name or an IP address, with no scheme and no port, or {UNIX}/path; "
            "separate several by commas"
        )
    if host in BOTH:
        ipv4, ipv6 = BOTH[host]
        return [(socket.AF_INET, (ipv4, port)), (socket.AF_INET6, (ipv6, port, 0, 0))]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CannotListen(f"cannot listen on {host!r}: {reason}") from None
    # IPv4 first, because its address is the more familiar one in the log
    return sorted(((family, address) for family, _, _, _, address in found), key=lambda one: one[0] != socket.AF_INET)


def _bound(family: int, address: Any) -> socket.socket:
    if family == socket.AF_UNIX:
        return _bound_to_file(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _bound_to_file(path: str) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        os.chmod(path, UNIX_MODE)
        # at once, since a socket that refuses connections looks like that of a dead process to another service
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        reason = error.strerror or str(error)
        if error.errno == errno.ENOENT:
            reason = f"the directory {os.path.dirname(path)} does not exist; make it or choose another path"
        raise CannotListen(f"cannot listen on {UNIX}{path}: {reason}") from None
    return sock


def _remove_stale(path: str) -> None:
    """Remove the socket of a process that has ended. Raise CannotListen if the path is in use."""
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:  # nothing is there, or `bind` finds the reason
        return
    if not is_socket:
        raise CannotListen(f"cannot listen on {UNIX}{path}: it exists and is not a socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a socket whose queue is full must not block the start
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass
    raise CannotListen(f"cannot listen on {UNIX}{path}: another process listens there")


def _port_of(sockets: Iterable[socket.socket]) -> int:
    """Return the port of the TCP sockets, or 0 if there is none."""
    return next((int(sock.getsockname()[1]) for sock in sockets if sock.family != socket.AF_UNIX), 0)


def describe(sockets: Iterable[socket.socket]) -> str:
    """Return the addresses for the log: http://127.0.0.1:8000, http://[::1]:8000, unix:/run/vae.sock."""
    return ", ".join(_url(sock) for sock in sockets)


def _url(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"{UNIX}{name}"
    return f"http://[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"http://{name[0]}:{name[1]}"


class SocketFiles:
    """The files of unix sockets, which must be removed when nobody accepts connections any more."""

    def __init__(self, sockets: Iterable[socket.socket]) -> None:
        """Remember which files they are now."""
        paths = [str(sock.getsockname()) for sock in sockets if sock.family == socket.AF_UNIX]
        self._files = {path: _identity(path) for path in paths}

    def remove(self) -> None:
        """Remove the files, unless another process has put its own in their place."""
        for path, identity in self._files.items():
            if identity is not None and _identity(path) == identity:
                with suppress(OSError):
                    os.unlink(path)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
