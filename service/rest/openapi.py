"""Complete the OpenAPI page with what only a running service knows: limits, models and API keys."""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from service.http.access.guard import Access
from service.http.registry import ANY_KEY
from service.inference.catalog import Catalog
from service.rest.components import PROBLEM, name_parts, operations, resolve
from service.rest.page_examples import COMPLETE, fit_examples

SCHEMES: Mapping[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "X-API-Key: KEY"},
    "basic": {"type": "http", "scheme": "basic", "description": "the key as password, with any user name"},
}
# The groups of operations, in the order in which /docs shows them.
GROUPS: Mapping[str, str] = {
    "inference": "Pictures to posteriors, whose means are embeddings; latents to pictures; new pictures; morphs.",
    "collections": "Named collections, each of posteriors of one model.",
    "items": "The items of a collection: add, list and change them, and search for similar pictures.",
    "directions": "Directions in the latent space of a collection, and edits along them.",
    "densities": "A collection as a density: log densities, two sets compared, maps, and the coverage of the prior.",
    "deletion": "Delete items, directions and collections.",
    "models": "The loaded models.",
    "service": "Limits, versions, counts and metrics of the service.",
    "health": "The state of the service, for probes.",
    "admin": "Load, reload and unload models while others are served.",
}
# Paths that stand after all others: an original exists once an item does, and a collection is deleted after its items.
LAST = {"/collections/{name}/items/{id}/picture": 1, "/collections/{name}": 2}
# The parameters that set the number of items in an answer.
COUNTS = ("n", "steps")
# Its n is the side of a square of pictures.
MANIFOLD = "/manifold"
# The fields that are lists of latents.
LATENTS = ("z", "mu")


def describe_bounds(page: dict[str, Any], max_rows: int, problem: Mapping[str, Any]) -> None:
    """Add the largest number of items in a request, and the statuses that any path may answer: 431 for long headers, 408 for
    slow bodies, 421 for unknown hosts. `problem`: the OpenAPI response of a problem body.
    """
    for path, methods in page["paths"].items():
        for operation in methods.values():
            statuses = ["431"] if path.startswith("/health/") else ["421", "431"]
            for status in (*statuses, *(["408"] if "requestBody" in operation else [])):
                operation["responses"].setdefault(status, dict(problem))
        for name, schema in _schemas(page, path):
            if name in COUNTS and schema["type"] == "integer":  # In a form it is a string.
                schema["maximum"] = math.isqrt(max_rows) if path == MANIFOLD else max_rows


def describe_models(page: dict[str, Any], catalog: Catalog) -> None:
    """Add the latent sizes, the priors and the labels of the loaded models."""
    dims = sorted({loaded.latent_dim for loaded in catalog.models.values()})
    sizes = [{"minItems": dim, "maxItems": dim} for dim in dims]
    priors = {name: None for loaded in catalog.priors.values() for name in loaded.names}
    conditions = [loaded.condition for loaded in catalog.models.values() if loaded.condition is not None]
    told = list({value: None for condition in conditions for value in condition.values})
    labels = list({name: None for loaded in catalog.priors.values() for name in loaded.labels} | dict.fromkeys(told))
    for path in page["paths"]:
        for name, schema in _schemas(page, path):
            if name == "label":
                known = labels if path == "/sample" else told
                for text in (one for one in (schema, *schema.get("anyOf", ())) if one.get("type") == "string"):
                    text.pop("enum", None)
                    text.update({"enum": known} if known else {})
    for path in ("/decode", "/sample"):
        for name, schema in _schemas(page, path):
            if name in LATENTS:
                schema["items"] = {**_row(schema["items"]), **(sizes[0] if len(sizes) == 1 else {"anyOf": sizes})}
            elif name == "prior":
                next(one for one in (schema, *schema.get("anyOf", ())) if "enum" in one)["enum"] = list(priors)


def _row(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a latent without the size that an earlier call has added."""
    return {name: value for name, value in schema.items() if name not in ("minItems", "maxItems", "anyOf")}


def _schemas(page: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, schema) of each parameter of a path, both in the query and in bodies."""
    for operation in page["paths"][path].values():
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query" and "schema" in parameter:
                yield parameter["name"], parameter["schema"]
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield from resolve(page, content["schema"]).get("properties", {}).items()


def of_kinds(page: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Return the page without what no loaded model can do: /complete needs one of drawings or texts."""
    if any(loaded.kind.steps for loaded in catalog.models.values()):
        return page
    return page | {"paths": {path: methods for path, methods in page["paths"].items() if path != COMPLETE}}


def describe_access(page: dict[str, Any], access: Access, problem: Mapping[str, Any]) -> None:
    """Add the ways to send a key, and the scope that each path needs. `problem`: the OpenAPI response of a problem body."""
    page.setdefault("components", {})["securitySchemes"] = dict(SCHEMES)
    for path, methods in page["paths"].items():
        scope = access.scope_of(path)
        if not scope:
            continue
        for operation in methods.values():
            operation["security"] = [{scheme: []} for scheme in SCHEMES]
            needed = "Needs a key." if scope == ANY_KEY else f"Needs a key with the scope `{scope}`."
            operation["description"] = f"{operation.get('description', '')}\n\n{needed}".strip()
            for status in ("401", "429") if scope == ANY_KEY else ("401", "403", "429"):
                operation["responses"].setdefault(status, dict(problem))


def group_operations(page: dict[str, Any]) -> None:
    """Order the paths so that /docs shows what is deleted last, after what was in it, and describe the groups."""
    page["paths"] = dict(sorted(page["paths"].items(), key=lambda item: LAST.get(item[0], 0)))
    used = {tag for operation in operations(page) for tag in operation["tags"]}
    page["tags"] = [{"name": name, "description": text} for name, text in GROUPS.items() if name in used]


def complete_page(app: FastAPI, max_rows: int) -> None:
    """Make the application complete its OpenAPI page when it is requested."""
    openapi = app.openapi

    def complete() -> dict[str, Any]:
        made = app.openapi_schema is not None
        page = openapi()
        if not made:
            page = app.openapi_schema = copy.deepcopy(page)  # The page shares parts with the routes.
            group_operations(page)
            name_parts(page)
            describe_bounds(page, max_rows, PROBLEM)
            if app.state.access is not None:
                describe_access(page, app.state.access, PROBLEM)
        if app.state.service is not None:
            describe_models(page, app.state.service.pipeline.catalog)
            fit_examples(page, app.state.service.pipeline.catalog)
            return of_kinds(page, app.state.service.pipeline.catalog)
        return page

    app.openapi = complete  # type: ignore[method-assign]
