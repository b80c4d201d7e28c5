"""The Host of a request: there is exactly one, and it is a name under which this service may be called. Pure ASGI.

A page of another site can have its own name lead to this machine (DNS rebinding); a browser then takes the service for a part
of that site, and lets the page read and change everything. The browser says under which name it came. Addresses, names without
a dot and names that no public site can have are allowed, others where a setting has them. Knows nothing of keys or routes.
"""

import ipaddress
import re
from collections.abc import Awaitable, Sequence

from service.asgi import ASGIApp, Receive, Scope, Send
from service.http.problems import HttpError, Malformed, refuse

ANY = "*"
VERSIONS = ("1.1", "1.0")
# names below these belong to no public site (RFC 6761, RFC 6762, and ICANN's resolution of 2024 on .internal)
PRIVATE = (".localhost", ".local", ".internal")
# a name or an IPv4 address, or an IPv6 address in brackets, and perhaps a port (RFC 9110, section 7.2)
HOST = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._~!$&'()*+,;=%-]*))(?::[0-9]*)?")
# how many good values are remembered
REMEMBERED = 1000
HEALTH = "/health/"


class UnknownHost(HttpError):
    """A request for a name that is not known to be this service's."""

    status, code = 421, "unknown_host"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"this service is not known as {name!r}; if it should be, add the name to VAE_ALLOWED_HOSTS, "
            f"otherwise call it by its address or as localhost"
        )


class HostCheck:
    """Refuses a request without a Host, with several, and, unless callers need keys, for a name that is not allowed."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str], has_keys: bool) -> None:
        """`allowed`: names, or * for all. Where there are keys and none of them, all names are: a page has no key."""
        self._app = app
        self._any = ANY in allowed or (has_keys and not allowed)
        self._names = frozenset(name.lower().rstrip(".") for name in allowed)
        self._good: set[bytes] = set()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """One connection's event."""
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or hosts[0] not in self._good or scope["http_version"] not in VERSIONS:
                fault = self._fault(scope, hosts)
                if fault is not None:
                    return refuse(scope, send, fault)
        return self._app(scope, receive, send)

    def _fault(self, scope: Scope, hosts: list[bytes]) -> HttpError | None:
        if scope["http_version"] not in VERSIONS:
            return Malformed(f"HTTP/1.1 and HTTP/1.0 are understood, not HTTP/{scope['http_version']}")
        if len(hosts) != 1:
            if not hosts and scope["http_version"] == "1.0":
                return None
            return Malformed(f"a request needs exactly one Host header, this one has {len(hosts) or 'none'}")
        found = HOST.fullmatch(hosts[0])
        if found is None:
            return Malformed("the Host header must be a name or an IP address, with or without a port")
        if not (self._any or found[1] or self._is_allowed(name := found[2].decode().lower().rstrip("."))):
            return None if scope["path"].startswith(HEALTH) else UnknownHost(name)
        if len(self._good) < REMEMBERED:
            self._good.add(hosts[0])
        return None

    def _is_allowed(self, name: str) -> bool:
        return "." not in name or name in self._names or name.endswith(PRIVATE) or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
