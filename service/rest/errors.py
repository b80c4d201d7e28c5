"""Turn exceptions into HTTP answers: one table, one handler. Errors that belong to HTTP carry their own status."""

import logging
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.errors import Closed, DeadlineExceeded, DeviceLost, DeviceStuck, DeviceUnusable, Overloaded, TooLarge
from service.formats.decoder_processes.fork_server import DecoderUnavailable
from service.formats.errors import BadInput, TooBig, TooCostly, Undecodable, Unsupported, Unusable
from service.formats.forms import TooManyParts
from service.formats.json_size import TooManyValues
from service.http.nothing_here import NothingHere
from service.http.problems import HttpError, Problem, problem
from service.inference.catalog import AlreadyLoaded, CatalogError, NoCheckpoint, SeveralWorkers, StillNeeded, UnknownModel
from service.inference.priors import NoSuchLabel, NoSuchPrior
from service.inference.regret_lane import ModelChanged
from service.latents.density import NoDensity
from service.latents.directions import NoDirection
from service.operations.collection_map import NoPlane
from service.operations.collection_model import ModelNotLoaded, NoSigmaWeight
from service.operations.complete import NotSequences, TooLong
from service.operations.compress import OtherModel
from service.operations.directions import BadSides
from service.operations.items import LISTED_IDS
from service.operations.manifold import NoSuchDimension
from service.operations.score import NoCalibration, NoSuchScore
from service.operations.traverse import NoKl
from service.rest.parameters import AskedTooMuch, BadParameter
from service.store.filters import BadFilter, UnknownKey
from service.store.interface import (
    BadItem,
    BadName,
    DirectionsFull,
    DiskFull,
    ItemsExist,
    MetadataTooLarge,
    ModelMismatch,
    NoPicture,
    PicturesFull,
    ReadOnly,
    SnapshotTooLarge,
    StoreBusy,
    StoreFull,
    StoreUnavailable,
    StoreUnusable,
    UnknownCollection,
    UnknownDirection,
    UnknownItem,
)

log = logging.getLogger(__name__)


STATUSES: dict[type[Exception], tuple[int, str]] = {
    Undecodable: (400, "undecodable"),
    UnknownModel: (404, "unknown_model"),
    NoCheckpoint: (404, "no_checkpoint"),
    UnknownCollection: (404, "unknown_collection"),
    UnknownItem: (404, "unknown_item"),
    UnknownDirection: (404, "unknown_direction"),
    NoPicture: (404, "no_picture"),
    AlreadyLoaded: (409, "already_loaded"),
    StillNeeded: (409, "still_needed"),
    SeveralWorkers: (409, "several_workers"),
    ItemsExist: (409, "items_exist"),
    ModelMismatch: (409, "model_mismatch"),
    ModelNotLoaded: (409, "model_not_loaded"),
    DirectionsFull: (409, "directions_full"),
    ModelChanged: (409, "model_changed"),
    ReadOnly: (409, "read_only"),
    NoCalibration: (409, "no_calibration"),
    OtherModel: (409, "model_mismatch"),
    TooBig: (413, "too_many_pixels"),
    TooCostly: (413, "too_costly"),
    TooLarge: (413, "too_many_items"),
    TooManyParts: (413, "too_many_items"),
    SnapshotTooLarge: (413, "collection_too_large"),
    TooManyValues: (413, "too_many_items"),
    MetadataTooLarge: (413, "metadata_too_large"),
    Unsupported: (415, "unsupported_media_type"),
    AskedTooMuch: (422, "too_many_items"),
    BadParameter: (422, "invalid_parameter"),
    NoSigmaWeight: (422, "invalid_parameter"),
    NoDensity: (422, "no_density"),
    NoPlane: (422, "invalid_parameter"),
    NoSuchDimension: (422, "invalid_parameter"),
    NoKl: (422, "invalid_parameter"),
    NotSequences: (422, "unusable_model"),
    TooLong: (422, "invalid_parameter"),
    NoSuchScore: (422, "invalid_parameter"),
    NoSuchPrior: (422, "no_such_prior"),
    NoSuchLabel: (422, "no_such_label"),
    Unusable: (422, "unusable_input"),
    BadName: (422, "unusable_input"),
    BadItem: (422, "unusable_input"),
    BadSides: (422, "unusable_input"),
    NoDirection: (422, "no_direction"),
    UnknownKey: (409, "unknown_key"),
    BadFilter: (422, "invalid_filter"),
    CatalogError: (422, "unusable_model"),
    DeviceUnusable: (422, "unusable_model"),
    Overloaded: (429, "queue_full"),
    Closed: (503, "draining"),
    DeviceLost: (503, "device_lost"),
    DeviceStuck: (503, "device_stuck"),
    DecoderUnavailable: (503, "decoder_unavailable"),
    StoreBusy: (503, "busy"),
    StoreUnavailable: (503, "store_unavailable"),
    StoreUnusable: (503, "store_unusable"),
    DeadlineExceeded: (504, "deadline_exceeded"),
    StoreFull: (507, "store_full"),
    PicturesFull: (507, "pictures_full"),
    DiskFull: (507, "disk_full"),
}
HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}
INTERNAL = (500, "internal_error")
INTERNAL_DETAIL = "the service failed to answer this request; its log has the reason under the same request_id"


def describe(error: Exception, request_id: str, trace_id: str = "") -> Problem:
    """Return status, headers and problem body of an exception. One that is not in the table is logged and becomes a 500."""
    if isinstance(error, HttpError):
        return problem(error, error.status, error.code, request_id)
    if isinstance(error, HTTPException):
        code = HTTP_CODES.get(error.status_code, "http_error")
        found = problem(Exception(error.detail), error.status_code, code, request_id)
        found.headers.update({name.lower(): value for name, value in (error.headers or {}).items()})
        return found
    status, code = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), INTERNAL)
    if status == INTERNAL[0]:
        ids = {"request_id": request_id} | ({"trace_id": trace_id} if trace_id else {})
        log.error("request %s failed", request_id, exc_info=error, extra=ids)
        return problem(Exception(INTERNAL_DETAIL), status, code, request_id)
    extra: dict[str, Any] = {}
    if isinstance(error, BadInput | BadItem | UnknownItem) and error.item is not None:
        extra = {"item": error.item}
    elif isinstance(error, ItemsExist):
        extra = {"ids": error.ids[:LISTED_IDS]}
    return problem(error, status, code, request_id, **extra)


async def handle(request: Request, error: Exception) -> Response:
    """Handle every exception of the application."""
    if isinstance(error, HTTPException) and error.status_code == 404:
        if request.method != "DELETE" and (location := _without_slash(request)):
            return Response(None, 307, {"location": location})
        error = NothingHere(request.url.path, request.scope.get("root_path", ""))
    elif isinstance(error, HTTPException) and error.status_code == 405:
        allowed = _allowed(request, (error.headers or {}).get("Allow", ""))
        detail = f"{request.method} is not allowed at {request.url.path}; allowed: {', '.join(allowed)}"
        error = HTTPException(405, detail, {"Allow": ", ".join(allowed)})
    state = request.scope.get("state", {})
    status, _, headers, body = describe(error, state.get("request_id", ""), state.get("trace_id", ""))
    return Response(body, status, headers)


def _allowed(request: Request, stated: str) -> list[str]:
    """Return the methods of all routes of a path. The framework states only those of one route."""
    methods = {method.strip() for method in stated.split(",") if method.strip()}
    for route in request.app.state.routes:
        if route.matches(request.scope)[0] != Match.NONE:
            methods |= route.methods or set()
    return sorted(methods)


def _without_slash(request: Request) -> str:
    """Return a relative redirect for a path with a superfluous slash at its end; empty if no route matches without it."""
    path: str = request.scope["path"]
    short = path.removesuffix("/")
    scope = {**request.scope, "path": short}
    if short == path or all(route.matches(scope)[0] == Match.NONE for route in request.app.state.routes):
        return ""
    query = request.scope["query_string"].decode("latin-1")
    return f"../{quote(short.rpartition('/')[2], safe='')}" + (f"?{query}" if query else "")


class Failures:
    """Answers exceptions that no handler has caught. It is inside the middleware that adds headers to answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
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
    """Have `handle` answer all exceptions, 404 and 405 included. Middleware that is added later wraps this."""
    for kind in (*STATUSES, HttpError, HTTPException):
        app.add_exception_handler(kind, handle)
    app.add_middleware(Failures)
