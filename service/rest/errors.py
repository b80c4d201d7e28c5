"""Exception -> HTTP answer: one table, one handler, one body (RFC 9457). No other module knows a status of an error."""

import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.errors import Closed, DeadlineExceeded, DeviceLost, DeviceStuck, DeviceUnusable, Overloaded, TooLarge
from service.formats.decoding.fork_server import DecoderUnavailable
from service.formats.errors import BadInput, TooBig, TooCostly, Undecodable, Unsupported, Unusable
from service.formats.forms import TooManyParts
from service.http.access.allowance import ConcurrencyExceeded, RateExceeded
from service.http.access.keys import MissingScope, NothingHere, Unauthorized
from service.http.body_memory import (
    HeadTooLarge,
    Malformed,
    MemoryFull,
    TooManyConnections,
    TooSlow,
    TrailersTooLarge,
    UnknownHost,
)
from service.http.cors import OtherSite
from service.http.request_id import request_id_of
from service.inference.catalog import AlreadyLoaded, CatalogError, NoCheckpoint, SeveralWorkers, StillNeeded, UnknownModel
from service.inference.priors import NoSuchPrior
from service.observe.printable import one_line
from service.operations.collection_model import ModelNotLoaded, NoKlPerDim
from service.rest.bodies import TooManyValues
from service.rest.item_bodies import MetadataTooLarge
from service.rest.parameters import AskedTooMuch, BadParameter
from service.store.filters import BadFilter, UnknownKey
from service.store.interface import (
    BadItem,
    DiskFull,
    ModelMismatch,
    StoreBusy,
    StoreFull,
    StoreUnavailable,
    StoreUnusable,
    UnknownCollection,
    UnknownItem,
)

log = logging.getLogger(__name__)


class BodyTooLarge(Exception):
    """More bytes than allowed; noticed while reading, or before, from Content-Length."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the body has more than {max_bytes} bytes (VAE_MAX_BODY_BYTES)")


class Starting(Exception):
    """The models are not loaded yet."""

    def __init__(self) -> None:
        super().__init__("the models are being loaded; come back in a moment")


STATUSES: dict[type[Exception], tuple[int, str]] = {
    Undecodable: (400, "undecodable"),
    Malformed: (400, "malformed_request"),
    Unauthorized: (401, "unauthorized"),
    MissingScope: (403, "missing_scope"),
    OtherSite: (403, "other_site"),
    NothingHere: (404, "not_found"),
    UnknownModel: (404, "unknown_model"),
    NoCheckpoint: (404, "no_checkpoint"),
    UnknownCollection: (404, "unknown_collection"),
    UnknownItem: (404, "unknown_item"),
    TooSlow: (408, "too_slow"),
    AlreadyLoaded: (409, "already_loaded"),
    StillNeeded: (409, "still_needed"),
    SeveralWorkers: (409, "several_workers"),
    ModelMismatch: (409, "model_mismatch"),
    ModelNotLoaded: (409, "model_not_loaded"),
    BodyTooLarge: (413, "body_too_large"),
    TooBig: (413, "too_many_pixels"),
    TooCostly: (413, "too_costly"),
    TooLarge: (413, "too_many_items"),
    TooManyParts: (413, "too_many_items"),
    TooManyValues: (413, "too_many_items"),
    MetadataTooLarge: (413, "metadata_too_large"),
    Unsupported: (415, "unsupported_media_type"),
    AskedTooMuch: (422, "too_many_items"),
    BadParameter: (422, "invalid_parameter"),
    NoKlPerDim: (422, "invalid_parameter"),
    NoSuchPrior: (422, "no_such_prior"),
    Unusable: (422, "unusable_input"),
    BadItem: (422, "unusable_input"),
    UnknownKey: (409, "unknown_key"),
    BadFilter: (422, "invalid_filter"),
    CatalogError: (422, "unusable_model"),
    DeviceUnusable: (422, "unusable_model"),
    Overloaded: (429, "queue_full"),
    RateExceeded: (429, "rate_exceeded"),
    ConcurrencyExceeded: (429, "concurrency_exceeded"),
    MemoryFull: (429, "memory"),
    UnknownHost: (421, "unknown_host"),
    HeadTooLarge: (431, "headers_too_large"),
    TrailersTooLarge: (431, "trailers_too_large"),
    TooManyConnections: (503, "too_many_connections"),
    Closed: (503, "draining"),
    DeviceLost: (503, "device_lost"),
    DeviceStuck: (503, "device_stuck"),
    DecoderUnavailable: (503, "decoder_unavailable"),
    Starting: (503, "starting"),
    StoreBusy: (503, "busy"),
    StoreUnavailable: (503, "store_unavailable"),
    StoreUnusable: (503, "store_unusable"),
    DeadlineExceeded: (504, "deadline_exceeded"),
    StoreFull: (507, "store_full"),
    DiskFull: (507, "disk_full"),
}
HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}
INTERNAL = (500, "internal_error")
LONGEST_DETAIL = 4000
# Basic first: Chromium reads one challenge of a line, and asks its user for the password
CHALLENGE = 'Basic realm="vae-service", charset="UTF-8", Bearer realm="vae-service"'


def describe(error: Exception, request_id: str, trace_id: str = "") -> tuple[int, dict[str, str], bytes]:
    """(status, headers, problem body) of an exception; one that is not in the table is our fault, and logged."""
    headers = {"content-type": "application/problem+json", "x-request-id": request_id}
    extra: dict[str, Any] = {}
    if isinstance(error, HTTPException):
        status, code, detail = error.status_code, HTTP_CODES.get(error.status_code, "http_error"), str(error.detail)
        headers |= {name.lower(): value for name, value in (error.headers or {}).items()}
    else:
        status, code = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), INTERNAL)
        detail = str(error)
    if status == 500:
        ids = {"request_id": request_id} | ({"trace_id": trace_id} if trace_id else {})
        log.error("request %s failed", request_id, exc_info=error, extra=ids)
        detail = "the service failed to answer this request; its log has the reason under this request_id"
    detail = one_line(detail[:LONGEST_DETAIL])  # parts of it may be the caller's words, or a file's
    if isinstance(error, BadInput | BadItem) and error.item is not None:
        extra["item"] = error.item
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
    return status, headers, orjson.dumps(body)


async def refuse(scope: Scope, send: Send, error: Exception) -> None:
    """Answer a request that comes no further."""
    status, headers, body = describe(error, request_id_of(scope))
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def handle(request: Request, error: Exception) -> Response:
    """The one handler of the application."""
    if isinstance(error, HTTPException) and error.status_code == 404:
        if location := _without_slash(request):
            return Response(None, 307, {"location": location})
        error = HTTPException(404, f"there is nothing at {request.url.path}; /docs lists what there is")
    elif isinstance(error, HTTPException) and error.status_code == 405:
        allowed = _allowed(request, (error.headers or {}).get("Allow", ""))
        are = f"{' and '.join(allowed)} {'are' if allowed[1:] else 'is'}"
        detail = f"{request.method} is not allowed at {request.url.path}; {are}"
        error = HTTPException(405, detail, {"Allow": ", ".join(allowed)})
    state = request.scope.get("state", {})
    status, headers, body = describe(error, state.get("request_id", ""), state.get("trace_id", ""))
    return Response(body, status, headers)


def _allowed(request: Request, stated: str) -> list[str]:
    """What all routes of a path take together; the framework names the methods of one of them."""
    methods = {method.strip() for method in stated.split(",") if method.strip()}
    for route in request.app.state.routes:
        if route.matches(request.scope)[0] != Match.NONE:
            methods |= route.methods or set()
    return sorted(methods)


def _without_slash(request: Request) -> str:
    """Where a path with a slash too many at its end leads, relative to it and whatever the host; empty where to nothing."""
    path: str = request.scope["path"]
    short = path.removesuffix("/")
    scope = {**request.scope, "path": short}
    if short == path or all(route.matches(scope)[0] == Match.NONE for route in request.app.state.routes):
        return ""
    query = request.scope["query_string"].decode("latin-1")
    return f"../{quote(short.rpartition('/')[2], safe='')}" + (f"?{query}" if query else "")


class Failures:
    """Answers whatever no handler of the application has taken, inside of all that adds headers to answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's event, as ASGI has it."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise
            await (await handle(Request(scope), error))(scope, receive, send)


def install(app: Starlette) -> None:
    """Answer every exception of the table, 404, 405 and whatever else by `handle`. Middleware added later is outside."""
    for kind in (*STATUSES, HTTPException):
        app.add_exception_handler(kind, handle)
    app.add_middleware(Failures)
