"""Register operations: their routes, scopes and metric labels, and their entries in the OpenAPI page.

Knows nothing about what an operation does.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from service.engine.errors import Overloaded
from service.http.direct import Direct
from service.http.endpoint import Endpoint, Operation, Starting
from service.http.registry import Registration
from service.operations.service import Service
from service.rest.body_schemas import Begun, Data, PicturesAnswer, Problem
from service.rest.components import PROBLEM_TYPE, SCHEMAS
from service.rest.errors import describe
from service.rest.schemas import NoParameters, PictureParameters


class RestOfPath(PathConvertor):
    """A parameter {name:rest} of a path: it may have slashes, as {name:path} may, but it is not empty."""

    regex = ".+"


register_url_convertor("rest", RestOfPath())


class Router(APIRouter):
    """A router that also records each endpoint in `registrations`, for access control, metrics and the shortcut."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.registrations: list[Registration] = []

    def page(self, path: str, scope: str, label: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a GET endpoint that is an ordinary FastAPI function: `get` with a scope and a label."""
        self.registrations.append(Registration(self.prefix + path, ("GET",), scope, label))
        return self.get(path, **options)


def service_of(request: Request) -> Service:
    """Return the service. Raises Starting until the models are loaded."""
    service: Service | None = request.app.state.service
    if service is None:
        raise Starting
    return service


# --- entries of the OpenAPI page


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model under the name of its class. `name_parts` moves it to the components of the page."""
    return model.model_json_schema(ref_template=f"{SCHEMAS}{{model}}") | {"title": model.__name__}


def json_content(model: type[BaseModel], example: object = None) -> dict[str, Any]:
    """Return the OpenAPI content of a body or an answer in JSON."""
    return {"application/json": {"schema": schema_of(model)} | ({} if example is None else {"example": example})}


# A handwritten "1" of 28 x 28 pixels, so that the examples of the page work.
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
# For the other fields of a form, in which everything is text. Without the example, /docs would send "string" in each.
AS_IN_QUERY = {"type": "string", "description": "The same as in the query. An empty field counts as none.", "example": ""}
PICTURES = {f"image/{kind}": BINARY for kind in ("png", "jpeg", "webp", "gif", "bmp", "tiff")}
TEXT = {"schema": {"type": "string"}}
# Data of tables, drawings and texts.
TEXTS = {"text/csv": TEXT, "image/svg+xml": TEXT, "text/plain": TEXT}
PICTURE_BODIES = {
    **json_content(Data, {"images": [PICTURE_EXAMPLE]}),
    "multipart/form-data": {"schema": FORM_OF_PICTURES},
    **PICTURES,
    "application/x-npy": BINARY,
    **TEXTS,
}
PICTURE_ANSWERS = {
    **json_content(PicturesAnswer),
    "application/x-npy": BINARY,
    "image/png": BINARY,
    **TEXTS,
}
SEQUENCE_BODIES = {
    **json_content(Begun, {"strokes": [[[0, 0, 0], [30, 5, 0], [10, 20, 1]]]}),
    "image/svg+xml": TEXT,
    "text/plain": TEXT,
}
SEQUENCE_ANSWERS = {"image/svg+xml": TEXT, "text/plain": TEXT, "image/png": BINARY}
PROBLEMS: dict[str, Any] = {
    "description": "The error as a problem body (RFC 9457): what was found, what is allowed, and what to do.",
    "content": {PROBLEM_TYPE: {"schema": schema_of(Problem)}},
}
WARNINGS_HEADER = {
    "description": "The number of warnings about the pictures, if there are any. JSON answers have the warnings themselves.",
    "schema": {"type": "integer", "minimum": 1},
}
NOT_WORD = re.compile(r"\W+")
ERRORS = (400, 404, 413, 415, 422, 429, 500, 503, 504)
STORE_ERRORS = (*ERRORS, 403, 409, 507)  # of operations that change what is stored


# How bodies are named among the components: EncodeBody, EncodeForm.
BODY_NAMES = {"application/json": "Body", "multipart/form-data": "Form"}


# Examples of parameters that have neither a default nor a choice of values.
EXAMPLES: Mapping[str, Any] = {
    "model": "mnist",
    "timeout_ms": 60_000,
    "n": 4,
    "seed": 7,
    "scale": 8,
    "description": "handwritten digits",
    "id": "ones/first",
    "cursor": "ones/first",
    "candidates": 100,
    "metric": "w2",
    "sigma_weight": 3,
    "exact": True,
    "samples": 16,
    "bandwidth": "auto",
}


def describe_operation(
    parameters: type[NoParameters],
    answer: dict[str, Any],
    body: dict[str, Any],
    body_required: bool = True,
    path: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    errors: Sequence[int] = ERRORS,
) -> dict[str, Any]:
    """Return keyword arguments for `add_api_route` that document an operation which parses its own body and query.

    `path`: schema and example of each parameter in the route's path. `errors`: statuses of its error answers.
    """
    listed = parameters.model_json_schema()["properties"]
    extra: dict[str, Any] = {"parameters": [_query(name, dict(schema)) for name, schema in listed.items()]}
    extra["parameters"] += [{"name": name, "in": "path", "required": True, **described} for name, described in path.items()]
    beside = {"application/json": listed, "multipart/form-data": dict.fromkeys(listed, AS_IN_QUERY)}
    for kind in beside.keys() & body.keys():
        payload = body[kind]["schema"]
        if payload.get("additionalProperties"):  # a merge patch, which has no place for parameters
            continue
        own = payload.get("properties", {})
        properties = own | {name: one for name, one in beside[kind].items() if name not in own}
        for name, one in properties.items():
            if one.get("default", one) in (None, "", []):  # A generated client would send it.
                properties[name] = {key: value for key, value in one.items() if key != "default"}
        named = {"title": parameters.__name__.removesuffix("Parameters") + BODY_NAMES[kind], "properties": properties}
        body = body | {kind: {**body[kind], "schema": {**payload, **named, "additionalProperties": False}}}
    if body:
        extra["requestBody"] = {"content": body, "required": body_required}
    answered: dict[str, Any] = {"content": answer, "description": "The answer."}
    if issubclass(parameters, PictureParameters) and answer.keys() != {"application/json"}:
        answered["headers"] = {"X-Warnings": WARNINGS_HEADER}
    return {
        "openapi_extra": extra,
        "responses": {200: answered, **dict.fromkeys(errors, PROBLEMS)},
        "response_class": Response,
    }


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of a parameter in the query.

    Its default stands in the description alone: /docs and generated clients would send it, and it would override the body.
    """
    options = [option for option in schema.pop("anyOf", []) if option.get("type") != "null"]
    written = [option for option in options if option.get("type") != "array"]  # A list is only for JSON.
    own = {"anyOf": written} if len(written) > 1 else options[0] if options else {}
    schema = {key: value for key, value in {**schema, **own}.items() if key != "title"}
    description, default = schema.pop("description", ""), schema.pop("default", None)
    if default not in (None, "", []):
        description += f" The default is {str(default).lower()}."
    entry = {"name": name, "in": "query", "required": False, "description": description}
    if name == "filter":
        # Without an example, /docs would send a made-up filter.
        return {**entry, "content": {"application/json": {"schema": schema, "example": {}}}}
    if "examples" in schema:  # /docs fills the field with it.
        return {**entry, "schema": schema, "example": schema["examples"][0]}
    word = options[-1].get("items", {}) if options else {}
    choices = [
        EXAMPLES.get(name),
        schema.get("const"),
        word.get("const"),
        *word.get("enum", ()),
        *schema.get("enum", ()),
        default,
    ]
    known = [one for one in choices if one is not None][:1]  # `label` has none: labels differ from model to model.
    return {**entry, "schema": {**schema, **({"examples": known} if known else {})}}


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
    name: str = "",
    tag: str = "",
    hot: bool = False,
    direct: Callable[[Mapping[str, str], str], Direct | None] | None = None,
) -> None:
    """Register an operation: one route that answers, and one entry of the OpenAPI page for each method.

    `scope`: the scope that a key needs. `label`: its name in the metrics. `tagged`: answers to GET may have ETags.
    `name`: the operationId of the first method, from which generated clients name a function; `tag`: its group on the page.
    `hot`: plain requests take the hot path; the operation must only compute, and change nothing. `direct`: serves plain
    requests without the operation, with the same answers.
    """
    endpoint = Endpoint(operation, describe, (Overloaded,))
    router.registrations.append(Registration(path, tuple(methods), scope, label, endpoint, hot, direct))
    router.add_route(path, endpoint, methods, include_in_schema=False)  # type: ignore[arg-type]

    def documented() -> None:  # Only documentation: the route above answers.
        raise NotImplementedError

    path_name = NOT_WORD.sub("_", path).strip("_")
    for method in methods:
        details = dict(description)
        if tagged and method == "GET":
            details["responses"] = details["responses"] | {304: {"description": "The copy of the client is still valid."}}
        if method in ("GET", "DELETE"):  # These methods have no request body.
            details["openapi_extra"] = {k: v for k, v in details["openapi_extra"].items() if k != "requestBody"}
        router.add_api_route(
            path,
            documented,
            methods=[method],
            summary=summary if method == methods[0] else f"{summary}, with parameters in the body",
            description=inspect.cleandoc(operation.__doc__ or ""),
            operation_id=name if name and method == methods[0] else f"{name or path_name}_{method.lower()}",
            tags=[tag] if tag else None,
            **details,
        )
