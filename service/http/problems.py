"""Problem bodies (RFC 9457), and the base class of errors that belong to HTTP, which carry their own status and code.

Knows nothing about models, stores or operations.
"""

from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple

import orjson

from service.asgi import Scope, Send
from service.http.request_id import request_id_of
from service.observe.printable import one_line

LONGEST_DETAIL = 4000
# Basic comes first because Chromium reads only the first challenge of a header. It then asks its user for the password.
BEARER = 'Bearer realm="vae-service"'
CHALLENGE = f'Basic realm="vae-service", charset="UTF-8", {BEARER}'
# Scripts that ask their user for a key themselves send this header, by custom with the value XMLHttpRequest.
OF_A_SCRIPT = b"x-requested-with"


class Problem(NamedTuple):
    """The answer to a request that failed."""

    status: int
    code: str
    headers: dict[str, str]
    body: bytes


class HttpError(Exception):
    """Base class of errors that do not depend on the operation. Subclasses set the status, a stable code and the detail."""

    status: ClassVar[int]
    code: ClassVar[str]
    detail: ClassVar[str]

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.detail)


class Malformed(HttpError):
    """The request is not valid HTTP."""

    status, code, detail = 400, "malformed_request", "this is not a well-formed HTTP/1.1 request"


def problem(error: Exception, status: int, code: str, request_id: str, **extra: Any) -> Problem:
    """Return the answer to a request that failed. `extra` members are added to the body."""
    detail = one_line(str(error)[:LONGEST_DETAIL])  # It may repeat text of the caller or of a file.
    headers = {"content-type": "application/problem+json", "x-request-id": request_id}
    if status in (429, 503):
        headers["retry-after"] = str(getattr(error, "retry_after", 1))
    if status == 401:
        headers["www-authenticate"] = CHALLENGE
    body = {
        "type": f"urn:vae-service:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "error": f"{code}: {detail}",
        "request_id": request_id,
        **extra,
    }
    return Problem(status, code, headers, orjson.dumps(body))


async def refuse(scope: Scope, send: Send, error: HttpError) -> None:
    """Answer a request with an error instead of passing it on."""
    status, _, headers, body = problem(error, error.status, error.code, request_id_of(scope))
    if status == 401 and any(name == OF_A_SCRIPT for name, _ in scope["headers"]):
        headers["www-authenticate"] = (
            BEARER  # With Basic, the browser would open its own window before the script hears of it.
        )
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
