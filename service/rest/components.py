"""Give the parts of an OpenAPI page names: schemas and the problem answer move to its components, and references replace them.

Knows nothing of what the page describes.
"""

from collections.abc import Iterator
from typing import Any

SCHEMAS = "#/components/schemas/"
PROBLEM = {"$ref": "#/components/responses/Problem"}
PROBLEM_TYPE = "application/problem+json"


def name_parts(page: dict[str, Any]) -> None:
    """Move every schema that has a title, and the definitions beside it, to the page's components; likewise the problem."""
    components: dict[str, Any] = page.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    for operation in operations(page):
        contents = [operation.get("requestBody", {}), *operation["responses"].values(), *operation.get("parameters", ())]
        for content in (one for described in contents for one in described.get("content", {}).values()):
            content["schema"] = _moved(content.get("schema", {}), schemas)
        for status, response in operation["responses"].items():
            if PROBLEM_TYPE in response.get("content", {}):
                components.setdefault("responses", {})["Problem"] = response
                operation["responses"][status] = dict(PROBLEM)
    components["schemas"] = {name: _without_titles(schemas[name]) | {"title": name} for name in sorted(schemas)}


def _moved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to a schema that has a name, which is put among `schemas`; any other schema as it is."""
    schema = _identified(schema, schemas)
    for name, definition in schema.pop("$defs", {}).items():
        schemas.setdefault(name, definition)
    name = schema.get("title", "")
    if not name.isidentifier():  # FastAPI has titles of several words for what has no class.
        return {key: value for key, value in schema.items() if key != "title"}
    schemas.setdefault(name, schema)
    return {"$ref": SCHEMAS + name}


def _identified(schema: Any, schemas: dict[str, Any]) -> Any:
    """Return a schema in which a reference stands for every part that has an $id; the part is put among `schemas`."""
    if isinstance(schema, list):
        return [_identified(one, schemas) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _identified(value, schemas) for key, value in schema.items()}
    if "$id" not in schema:
        return schema
    name, beside = schema.pop("$id"), {key: schema.pop(key) for key in ("description", "default", "title") if key in schema}
    schemas.setdefault(name, schema)
    return {"$ref": SCHEMAS + name} | ({"description": beside["description"]} if "description" in beside else {})


def _without_titles(schema: Any) -> Any:
    """Return a schema without the titles of its parts, which repeat their names."""
    if isinstance(schema, list):
        return [_without_titles(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _without_titles(one) for name, one in value.items()} if key == "properties" else _without_titles(value)
        for key, value in schema.items()
        if key != "title"
    }


def resolve(page: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that a reference leads to; any other schema is returned as it is."""
    found: dict[str, Any] = page["components"]["schemas"][schema["$ref"].removeprefix(SCHEMAS)] if "$ref" in schema else schema
    return found


def operations(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the operations of the page, in its order."""
    for methods in page["paths"].values():
        yield from methods.values()
