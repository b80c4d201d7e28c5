"""Checks of configured addresses: origins (CORS), host names, proxies, the root path. A wrong one would silently do nothing.

Knows nothing of requests.
"""

import ipaddress
import re
import socket

ANY = "*"
ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#@\s\"'\[\]:]+|\[[0-9A-Fa-f:.]+\])(?::(\d+))?", re.ASCII)
# An origin has no port if it is the usual one of its scheme.
USUAL_PORTS = {"http": "80", "https": "443"}
HIGHEST_PORT = 65535
NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
# A host that ends in a number, decimal or hexadecimal, is an IPv4 address to a browser.
NUMBER = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\.?", re.ASCII | re.IGNORECASE)
# Browsers send this as the origin of files and sandboxed frames.
OPAQUE = "null"
ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


def check_origin(origin: str) -> None:
    """Raise ValueError unless a browser may send this as an origin, such as https://app.example:8443, or it is `*`."""
    if origin in (ANY, OPAQUE):
        return
    found = ORIGIN.fullmatch(origin)
    if found is None:
        raise ValueError(f"{origin!r} is not an origin: {_reason(origin)}")
    scheme, host, port = found.groups()
    if ANY in host:
        raise ValueError(f"{origin!r} is not an origin: * stands for all origins only alone, so list each origin in full")
    if port and int(port) > HIGHEST_PORT:
        raise ValueError(f"{origin!r} is not an origin: a port can be at most {HIGHEST_PORT}")
    if scheme.lower() in USUAL_PORTS:  # Other schemes, those of browser extensions and apps, have hosts of any form.
        try:
            host = _host_as_sent(host)
        except (ValueError, OSError):
            raise ValueError(f"{origin!r} is not an origin: {host!r} is neither a host name nor an IP address") from None
    is_usual = not port or USUAL_PORTS.get(scheme.lower()) == str(int(port))
    sent = f"{scheme}://{host}".lower() + ("" if is_usual else f":{int(port)}")
    if sent != origin:
        raise ValueError(f"{origin!r} is not an origin as browsers send it: write {sent}")


def _host_as_sent(host: str) -> str:
    """Return a host as browsers write it. Raise ValueError or OSError if it is none."""
    if host.startswith("["):
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    if NUMBER.fullmatch(host):
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    host = host if host.isascii() else host.encode("idna").decode("ascii")
    if not NAME.fullmatch(host):
        raise ValueError
    return host


def _reason(origin: str) -> str:
    if any(one.isspace() for one in origin):
        return "it contains a space; separate several origins by commas"
    if "://" not in origin:
        return f"the scheme is missing; write https://{origin} or http://{origin}"
    scheme, _, rest = origin.partition("://")
    authority, slash, _ = rest.partition("/")
    if slash and ORIGIN.fullmatch(f"{scheme}://{authority}"):
        return f"it has no path and no slash at the end; write {scheme}://{authority}"
    return "write scheme://host or scheme://host:port, such as https://app.example"


def check_host_name(name: str) -> None:
    """Raise ValueError unless this is a plain host name such as vae.example, or `*`."""
    if name != ANY and not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a host name: write it without scheme, port, path, * and a dot at the start, in ASCII, such as "
            "vae.example"
        )


def check_proxy(proxy: str) -> None:
    """Raise ValueError unless this is an IP address, a network such as 10.0.0.0/8, or `*`."""
    try:
        _ = proxy == ANY or ipaddress.ip_network(proxy)
    except ValueError as error:
        raise ValueError(f"{proxy!r} is not an IP address, a network such as 10.0.0.0/8, or *: {error}") from None


def check_root_path(path: str) -> None:
    """Raise ValueError unless this is a path such as /vae, or empty."""
    if {".", ".."}.intersection(path.split("/")):
        raise ValueError("must be a path without the parts '.' and '..', which browsers remove")
    if not ROOT_PATH.fullmatch(path):
        raise ValueError("must be a path such as /vae, of a slash, then letters, digits, '.', '_', '~' and '-'")
