"""Check of the Host header: there must be exactly one, with an allowed name.

This protects against DNS rebinding: a malicious site lets its own name resolve to this machine, and the browser then lets its
pages read and change everything here. But the browser still sends that name as Host. IP addresses, names without a dot and
names that no public site can have are always allowed, other names by a setting. This module knows nothing about keys.
"""

import ipaddress
import re
from collections.abc import Awaitable, Sequence

from service.asgi import ASGIApp, Receive, Scope, Send
from service.http.cors import ANY
from service.http.problems import HttpError, Malformed, refuse

VERSIONS = ("1.1", "1.0")
# Names with these endings belong to no public site (RFC 6761, RFC 6762, and ICANN's resolution of 2024 on .internal)
PRIVATE = (".localhost", ".local", ".internal")
# A name or IPv4 address, or an IPv6 address in brackets, each with an optional port (RFC 9110, section 7.2).
HOST = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._~!$&'()*+,;=%-]*))(?::[0-9]*)?")
# How many accepted Host values are cached.
REMEMBERED = 1000
HEALTH = ("/health/", "/v2/health/")


class UnknownHost(HttpError):
    """The Host header has a name that is not allowed."""

    status, code = 421, "unknown_host"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the host name {name!r} is not allowed; add it to VAE_ALLOWED_HOSTS if it is this service's, "
            f"or use the IP address or localhost"
        )


class HostCheck:
    """Refuses requests with no Host header, with several, or with a name that is not allowed."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str], has_keys: bool) -> None:
        """`allowed`: names, or * for all. With API keys and no listed names, all are allowed: a malicious page has no key."""
        self._app = app
        self._any = ANY in allowed or (has_keys and not allowed)
        self._names = frozenset(name.lower().rstrip(".") for name in allowed)
        self._good: set[bytes] = set()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one ASGI connection."""
        if scope["type"] == "http":
            fault = self.fault(scope)
            if fault is not None:
                return refuse(scope, send, fault)
        return self._app(scope, receive, send)

    def fault(self, scope: Scope) -> HttpError | None:
        """Return why a request is refused, or None."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) == 1 and hosts[0] in self._good and scope["http_version"] in VERSIONS:
            return None
        if scope["http_version"] not in VERSIONS:
            return Malformed(f"HTTP/{scope['http_version']} is not supported; use HTTP/1.1 or HTTP/1.0")
        if len(hosts) != 1:
            if not hosts and scope["http_version"] == "1.0":
                return None
            return Malformed(f"a request must have exactly one Host header, but this one has {len(hosts) or 'none'}")
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
