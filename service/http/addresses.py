"""Checks of configured addresses: origins (CORS), host names, proxies, the root path. A wrong one would silently do nothing.

Knows nothing of requests.
"""

import ipaddress
import re

ANY = "*"
ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#@\s\"'\[\]:]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?", re.ASCII)
# An origin has no port if it is the usual one of its scheme.
USUAL_PORTS = {"http": "80", "https": "443"}
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
    host = host if host.isascii() else host.encode("idna").decode("ascii")
    sent = f"{scheme}://{host}".lower() + (f":{port}" if port and USUAL_PORTS.get(scheme.lower()) != port else "")
    if sent != origin:
        raise ValueError(f"{origin!r} is not an origin as browsers send it: write {sent}")


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
    if name != ANY and re.search(r"[/:*\s\"'?#@\[\]]", name):
        raise ValueError(f"{name!r} is not a host name: write it without scheme, port, path and *, such as vae.example")


def check_proxy(proxy: str) -> None:
    """Raise ValueError unless this is an IP address, a network such as 10.0.0.0/8, or `*`."""
    try:
        _ = proxy == ANY or ipaddress.ip_network(proxy)
    except ValueError as error:
        raise ValueError(f"{proxy!r} is not an IP address, a network such as 10.0.0.0/8, or *: {error}") from None


def check_root_path(path: str) -> None:
    """Raise ValueError unless this is a path such as /vae, or empty."""
    if not ROOT_PATH.fullmatch(path):
        raise ValueError("must be a path such as /vae, of a slash, then letters, digits, '.', '_', '~' and '-'")
