"""What both clients are made with: the arguments of their httpx client, and what it sends."""

from collections.abc import Mapping
from typing import Any

import httpx

from vae_client.calls import Call
from vae_client.version import __version__

CONNECT_SECONDS = 10.0
KEEP_SECONDS = 60.0  # The service keeps idle connections for 75 s; the client must be the one who closes them.


def http_arguments(
    base_url: str, api_key: str | None, timeout: float, connections: int, headers: Mapping[str, str] | None
) -> dict[str, Any]:
    """Return the arguments of an httpx client: connection pool, timeouts, API key and User-Agent. Raises ValueError."""
    check_address(base_url)
    key = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    return {
        "base_url": base_url,
        "headers": {"User-Agent": f"vae-client/{__version__} httpx/{httpx.__version__}", **key, **(headers or {})},
        "timeout": httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS), pool=None),
        "limits": httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEP_SECONDS
        ),
    }


def check_address(base_url: str) -> None:
    """Raise ValueError for a URL that cannot be that of a service."""
    found = f"the address of the service is {base_url!r}"
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{found}, which is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{found}: it must begin with http:// or https:// and name a host, as http://localhost:8000 does")
    if url.query or url.fragment:
        raise ValueError(f"{found}: it must not have a query or a fragment")


def request_arguments(call: Call[Any]) -> dict[str, Any]:
    """Return the arguments with which httpx sends a call."""
    return {
        "method": call.method,
        "url": call.path,
        "params": call.params or None,
        "content": call.content,
        "headers": call.headers,
    }
