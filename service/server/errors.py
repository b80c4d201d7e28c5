"""Errors of a connection that exceeds a limit, before a request is complete or instead of one."""

from service.http.problems import HttpError, Malformed

# The first two bytes of a TLS connection: a handshake record, and the version's first byte (RFC 8446, section 5.1).
TLS = b"\x16\x03"


class SpokeTls(Malformed):
    """The client speaks TLS, as for an address that begins with https."""

    detail = "a client spoke TLS to this plain HTTP port; use http://, or a proxy that offers HTTPS"


def malformed(data: bytes) -> Malformed:
    """Return the error for bytes that are not HTTP."""
    return SpokeTls() if data.startswith(TLS) else Malformed()


class HeadTooLarge(HttpError):
    """The request line and headers have too many bytes, or there are too many headers."""

    status, code = 431, "headers_too_large"

    def __init__(self, max_bytes: int, max_headers: int) -> None:
        super().__init__(
            f"the request line and headers have more than {max_bytes} bytes (VAE_MAX_HEADER_BYTES) or more than "
            f"{max_headers} headers (VAE_MAX_HEADERS)"
        )


class TrailersTooLarge(HttpError):
    """The trailer fields after a chunked body are too large."""

    status, code = 431, "trailers_too_large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(
            f"the trailers after the chunked body have more than {max_bytes} bytes; trailers are ignored here, leave them out"
        )


class TooSlow(HttpError):
    """The head or the body of a request arrives too slowly."""

    status, code = 408, "too_slow"

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(
            f"the head of the request was not complete after {seconds:g} s (VAE_HEADER_SECONDS)"
            if what == "head"
            else f"the body of the request came too slowly for {seconds:g} s (VAE_SLOW_SECONDS, VAE_MIN_BYTES_PER_SECOND)"
        )


class TooManyConnections(HttpError):
    """The largest allowed number of connections is open."""

    status, code = 503, "too_many_connections"

    def __init__(self, allowed: int) -> None:
        super().__init__(f"all {allowed} connections that are allowed (VAE_MAX_CONNECTIONS) are open; try again in a moment")
