"""The offer of another protocol, taken out of the head of a request. Knows nothing of connections."""

from service.asgi import Headers

# These headers go when the offer is not taken (RFC 9110, section 7.8).
UPGRADE_HEADERS = (b"upgrade", b"http2-settings")


def head_without_offer(method: bytes, target: bytes, version: bytes, headers: Headers) -> bytes:
    """Return the head of the request as a client sends it that offers no other protocol."""
    lines = [b"%s %s HTTP/%s" % (method, target, version)]
    for name, value in headers:
        if name == b"connection":
            tokens = (token.strip() for token in value.split(b","))
            value = b", ".join(token for token in tokens if token.lower() not in UPGRADE_HEADERS)
        if name not in UPGRADE_HEADERS and (value or name != b"connection"):
            lines.append(b"%s: %s" % (name, value))
    return b"\r\n".join(lines) + b"\r\n\r\n"
