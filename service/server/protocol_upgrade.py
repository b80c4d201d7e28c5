"""Removes the offer of another protocol from the head of a request. Knows nothing of connections."""

from service.asgi import Headers

# These headers are removed when the offer is declined (RFC 9110, section 7.8).
UPGRADE_HEADERS = (b"upgrade", b"http2-settings")


def head_without_offer(method: bytes, target: bytes, version: bytes, headers: Headers) -> bytes:
    """Return the head of a request as it would be without the offer of another protocol."""
    lines = [b"%s %s HTTP/%s" % (method, target, version)]
    for name, value in headers:
        if name == b"connection":
            tokens = (token.strip() for token in value.split(b","))
            value = b", ".join(token for token in tokens if token.lower() not in UPGRADE_HEADERS)
        if name not in UPGRADE_HEADERS and (value or name != b"connection"):
            lines.append(b"%s: %s" % (name, value))
    return b"\r\n".join(lines) + b"\r\n\r\n"
