"""What both clients are made with: the arguments of their httpx client, and what it sends."""

import re
from collections.abc import Mapping
from numbers import Integral, Real
from threading import TIMEOUT_MAX
from typing import Any

import httpx

from vae_client.calls import Call, sendable
from vae_client.version import __version__

CONNECT_SECONDS = 10.0
# The name and password in a URL. The last @ ends them, since a password that is not encoded may have some.
PASSWORD = re.compile(r"//.*@")
KEEP_SECONDS = 60.0  # The service keeps idle connections for 75 s; the client must be the one who closes them.


def http_arguments(
    base_url: str,
    api_key: str | None,
    timeout: float,
    retry_seconds: float,
    connections: int,
    headers: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return the arguments of an httpx client: connection pool, timeouts, API key and User-Agent. Raises ValueError."""
    check_address(base_url)
    if not (isinstance(timeout, Real) and 0 < timeout <= TIMEOUT_MAX):
        raise ValueError(f"timeout must be a number of seconds above 0, not {timeout!r}")
    if not (isinstance(retry_seconds, Real) and retry_seconds >= 0):
        raise ValueError(f"retry_seconds must be a number of seconds from 0 on, not {retry_seconds!r}; 0 switches retries off")
    if not (isinstance(connections, Integral) and connections >= 1):
        raise ValueError(f"connections must be an integer from 1 on, not {connections!r}")
    key = {} if api_key is None else {"Authorization": f"Bearer {_checked_key(api_key)}"}
    return {
        "base_url": base_url,
        "headers": {"User-Agent": f"vae-client/{__version__} httpx/{httpx.__version__}", **key, **sendable(headers or {})},
        "timeout": httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS), pool=None),
        "limits": httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEP_SECONDS
        ),
    }


def check_address(base_url: str) -> None:
    """Raise ValueError for a URL that cannot be that of a service. The message shows no password."""
    found = f"the address of the service is {PASSWORD.sub('//...@', base_url)!r}"
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{found}, which is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{found}: it must begin with http:// or https:// and name a host, as http://localhost:8000 does")
    if url.query or url.fragment:
        raise ValueError(f"{found}: it must not have a query or a fragment")


def _checked_key(api_key: str) -> str:
    """Return an API key without white space at its ends. Raises ValueError, which does not show the key."""
    key = api_key.strip()
    if not key:
        raise ValueError("the API key is empty; pass None for none")
    if not all("!" <= character <= "~" for character in key):
        raise ValueError("the API key has spaces, or characters outside ASCII, which no key of the service has")
    return key


def request_arguments(call: Call[Any]) -> dict[str, Any]:
    """Return the arguments with which httpx sends a call."""
    return {
        "method": call.method,
        "url": call.path,
        "params": call.params or None,
        "content": call.content,
        "headers": call.headers,
    }
