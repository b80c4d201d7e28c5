"""Splits the target of a request, the part between method and version, into path and query. Knows nothing of connections."""

from service.asgi import Headers
from service.http.problems import Malformed

LONGEST_PATH = 1 << 15


def path_and_query(target: bytes, headers: Headers) -> tuple[bytes, bytes]:
    """Return the path and the query of a target, undecoded. Raise Malformed.

    If the target is a full URL, its host replaces the one in the headers (RFC 9112, section 3.2.2).
    """
    if not target.startswith(b"/") and b"://" in target:
        target = _without_authority(target, headers)
    path, _, query = target.partition(b"#")[0].partition(b"?")
    if len(path) > LONGEST_PATH:
        raise Malformed(f"the path of the request has {len(path)} bytes, at most {LONGEST_PATH} are allowed")
    return path, query


def _without_authority(url: bytes, headers: Headers) -> bytes:
    authority, slash, rest = url.partition(b"://")[2].partition(b"/")
    authority, mark, query = authority.partition(b"?")
    hosts = [i for i, (name, _) in enumerate(headers) if name == b"host"]
    if len(hosts) == 1:  # a missing or repeated Host header is refused elsewhere
        headers[hosts[0]] = b"host", authority
    return slash + rest if slash else b"/" + mark + query
