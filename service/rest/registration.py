"""How operations get into the FastAPI application: their routes, and what the OpenAPI page says of them.

Knows nothing of what an operation does.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from service.engine.errors import Overloaded
from service.http.endpoint import Endpoint, Operation, Starting
from service.http.registry import Registration
from service.inference.pipeline import Engine
from service.rest.errors import describe
from service.rest.schemas import NoParameters, PicturesAnswer, Problem


class Router(APIRouter):
    """The endpoints of one family. Each is registered once; who has to know about paths reads `registrations`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.registrations: list[Registration] = []

    def page(self, path: str, scope: str, label: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a function that FastAPI calls: `get` with a scope and a label."""
        self.registrations.append(Registration(self.prefix + path, ("GET",), scope, label))
        return self.get(path, **options)


def engine_of(request: Request) -> Engine:
    """The engine, once the models are loaded. Raises Starting."""
    engine: Engine | None = request.app.state.engine
    if engine is None:
        raise Starting
    return engine


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
# of a form's other fields. Types are given once, for the query: in a form all is text, and beside files tools cannot check
# against a schema what they make up
AS_IN_QUERY = {"description": "as in the query"}
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
    "application/json": {"schema": PicturesAnswer.model_json_schema()},
    "application/x-npy": BINARY,
    "image/png": BINARY,
}
PROBLEMS: dict[str, Any] = {
    "description": "a problem body says why",
    "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
}
NO_WORD = re.compile(r"\W+")
ERRORS = (400, 404, 413, 415, 422, 429, 500, 503, 504)


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model with what it refers to in its place: the page has no other place for it."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(one) for one in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).removeprefix("#/$defs/")
        return resolved(definitions[name]) if name in definitions else {key: resolved(one) for key, one in node.items()}

    found: dict[str, Any] = resolved(schema)
    return found


# The page speaks of deadlines in words alone. Whoever asks for what it lists gets an answer, which nobody promises to one who
# gives us a millisecond.
UNLISTED = ("timeout_ms",)


def describe_operation(
    parameters: type[NoParameters],
    answer: dict[str, Any],
    body: dict[str, Any],
    body_required: bool = True,
    path: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    errors: Sequence[int] = ERRORS,
) -> dict[str, Any]:
    """Keyword arguments of `add_api_route` that document an operation whose body and query are read by itself.

    `path`: schema and example of each name in the route's path.
    """
    listed = {name: schema for name, schema in parameters.model_json_schema()["properties"].items() if name not in UNLISTED}
    extra: dict[str, Any] = {"parameters": [_query(name, dict(schema)) for name, schema in listed.items()]}
    extra["parameters"] += [{"name": name, "in": "path", "required": True, **described} for name, described in path.items()]
    beside = {
        "application/json": listed,
        "multipart/form-data": dict.fromkeys(listed, AS_IN_QUERY),
    }
    for kind in beside.keys() & body.keys():
        payload = body[kind]["schema"]
        own = {name: schema for name, schema in payload.get("properties", {}).items() if name not in UNLISTED}
        properties = {**beside[kind], **own}  # parameters may stand beside what is worked on
        body = body | {kind: {**body[kind], "schema": {**payload, "properties": properties, "additionalProperties": False}}}
    if body:
        extra["requestBody"] = {"content": body, "required": body_required}
    return {
        "openapi_extra": extra,
        "responses": {200: {"content": answer, "description": "the answer"}, **dict.fromkeys(errors, PROBLEMS)},
        "response_class": Response,
    }


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    if name == "filter":
        shape = {key: value for key, value in schema.items() if key not in ("default", "description", "title")}
        content = {"application/json": {"schema": shape}}
        return {"name": name, "in": "query", "required": False, "description": schema["description"], "content": content}
    options = [option for option in schema.pop("anyOf", []) if option.get("type") != "null"]
    schema = {key: value for key, value in {**schema, **(options[0] if options else {})}.items() if key != "title"}
    if schema.get("default", "") is None or schema.get("default") == []:
        schema.pop("default")
    return {"name": name, "in": "query", "required": False, "description": schema.pop("description", ""), "schema": schema}


def add(
    router: Router,
    path: str,
    methods: list[str],
    operation: Operation,
    summary: str,
    description: dict[str, Any],
    *,
    scope: str,
    label: str,
    tagged: bool = False,
) -> None:
    """Register an operation under a path: one route that answers, and for the OpenAPI page an entry for each method.

    `scope`: what a key needs. `label`: its name in the metrics. `tagged`: the answers to GET may have ETags.
    """
    endpoint = Endpoint(operation, describe, (Overloaded,))
    router.registrations.append(Registration(path, tuple(methods), scope, label, endpoint))
    router.add_route(path, endpoint, methods, include_in_schema=False)  # type: ignore[arg-type]

    def documented() -> None:  # The route before it answers.
        raise NotImplementedError

    for method in methods:
        details = dict(description)
        if tagged and method == "GET":
            details["responses"] = details["responses"] | {304: {"description": "the copy that If-None-Match names is good"}}
        if method in ("GET", "DELETE"):  # They have no body.
            details["openapi_extra"] = {k: v for k, v in details["openapi_extra"].items() if k != "requestBody"}
        router.add_api_route(
            path,
            documented,
            methods=[method],
            summary=summary,
            description=operation.__doc__ or "",
            operation_id=f"{NO_WORD.sub('_', path).strip('_')}_{method.lower()}",
            **details,
        )
