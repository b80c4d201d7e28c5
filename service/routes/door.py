"""The FastAPI door to an operation: reads the body within its bound, calls (engine, call) -> answer, and notices when the
caller leaves. Knows nothing of what an operation does.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.calls import Answer, Call
from service.engine import Engine
from service.errors import BodyTooLarge, Starting, describe
from service.gate import Closed
from service.schemas import Parameters, Pictures, Problem

Operation = Callable[[Engine, Call], Awaitable[Answer]]

# about a batch: a request that is done by then is not worth watching
PATIENCE_SECONDS = 0.05


def engine_of(request: Request) -> Engine:
    """The engine, once the models are loaded. Raises Starting."""
    engine: Engine | None = request.app.state.engine
    if engine is None:
        raise Starting
    return engine


def door(operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for an operation; every exception becomes its problem body here."""

    async def endpoint(request: Request) -> Response:
        watch = _Watch(request)
        try:
            engine = engine_of(request)
            body = await _read(request, request.app.state.max_body_bytes)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}
            watch.start()
            answer = await operation(engine, Call(headers, request.scope["query_string"].decode("latin-1"), body))
        except (ClientDisconnect, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not watch.gone:  # drained for as long as it was allowed
                status, problem_headers, problem = describe(
                    Closed("the service is shutting down"), request.scope["state"]["request_id"]
                )
                return Response(problem, status, problem_headers)
            return Response(status_code=499)  # nobody reads it
        except Exception as error:
            status, problem_headers, problem = describe(error, request.scope["state"]["request_id"])
            return Response(problem, status, problem_headers)
        finally:
            watch.stop()
        return Response(answer.body, answer.status, answer.headers, answer.media_type)

    return endpoint


class _Watch:
    """Cancels the operation when the client hangs up before the answer is ready."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._caller: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._listener: asyncio.Task[None] | None = None
        self.gone = False

    def start(self) -> None:
        self._caller = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._listen)

    def _listen(self) -> None:
        self._listener = asyncio.ensure_future(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._caller is not None:
            self._caller.cancel()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()


async def _read(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as it is known to be."""
    stated = request.headers.get("content-length", "")
    if re.fullmatch(r"[0-9]{1,18}", stated) and int(stated) > max_bytes:
        raise BodyTooLarge(max_bytes)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


# --- what the OpenAPI page says of an operation

# a "1" of 28 x 28, so that the examples work when pressed
PICTURE_EXAMPLE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcAQAAAABaduI5AAAAJElEQVR42mNgwAmYGxiYGBgYIAQDAzsDEheDwC/Lx4BiFA4AAEkB"
    "AMB9G7MtAAAAAElFTkSuQmCC"
)

BINARY = {"schema": {"type": "string", "format": "binary"}}
FORM_OF_PICTURES = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "array", "items": BINARY["schema"]}},
}
PICTURE_BODIES = {
    "multipart/form-data": {"schema": FORM_OF_PICTURES},
    "image/png": BINARY,
    "image/jpeg": BINARY,
    "image/webp": BINARY,
    "image/gif": BINARY,
    "image/bmp": BINARY,
    "image/tiff": BINARY,
    "application/x-npy": BINARY,
}
PICTURE_ANSWERS = {
    "application/json": {"schema": Pictures.model_json_schema()},
    "application/x-npy": BINARY,
    "image/png": BINARY,
}
PROBLEMS: dict[str, Any] = {
    "description": "a problem body says why",
    "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
}
ERRORS = (400, 404, 413, 415, 422, 429, 500, 503, 504)


def describe_operation(
    parameters: type[Parameters], answer: dict[str, Any], body: dict[str, Any], body_required: bool = True
) -> dict[str, Any]:
    """Keyword arguments of `add_api_route` that document an operation whose body and query are read by itself."""
    schema = parameters.model_json_schema()
    extra: dict[str, Any] = {"parameters": [_query(name, value) for name, value in schema["properties"].items()]}
    extra["requestBody"] = {"content": body, "required": body_required}
    return {
        "openapi_extra": extra,
        "responses": {200: {"content": answer, "description": "the answer"}, **dict.fromkeys(ERRORS, PROBLEMS)},
        "response_class": Response,
    }


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in schema.pop("anyOf", []) if option.get("type") != "null"]
    schema = {key: value for key, value in {**schema, **(options[0] if options else {})}.items() if key != "title"}
    if schema.get("default", "") is None or schema.get("default") == []:
        schema.pop("default")
    return {"name": name, "in": "query", "required": False, "description": schema.pop("description", ""), "schema": schema}


def add(
    router: APIRouter, path: str, methods: list[str], operation: Operation, summary: str, description: dict[str, Any]
) -> None:
    """Register an operation under a path: one route that answers, and for the OpenAPI page an entry a method."""
    router.add_api_route(path, door(operation), methods=methods, include_in_schema=False)
    for method in methods:
        details = dict(description)
        if method == "GET":  # a GET has no body
            details["openapi_extra"] = {k: v for k, v in details["openapi_extra"].items() if k != "requestBody"}
        router.add_api_route(
            path,
            door(operation),
            methods=[method],
            summary=summary,
            description=operation.__doc__ or "",
            operation_id=f"{path.strip('/')}_{method.lower()}",
            **details,
        )
