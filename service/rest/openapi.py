"""What the OpenAPI page says of bounds and models: what only a running service knows. Knows nothing of how they are served."""

from collections.abc import Iterator, Mapping
from typing import Any

from service.formats.pictures import MAX_LATENT
from service.inference.catalog import Catalog

# parameters that say how many items an answer has
COUNTS = ("n", "steps")


def describe_bounds(page: dict[str, Any], max_rows: int, problem: Mapping[str, Any]) -> None:
    """State how many items one request may ask for, how far latents may lie from 0, and what becomes of long heads, slow
    bodies and unknown hosts, whatever is asked for. `problem`: what stands there of a problem body.
    """
    for path, operations in page["paths"].items():
        for operation in operations.values():
            statuses = ["431"] if path.startswith("/health/") else ["421", "431"]
            for status in (*statuses, *(["408"] if "requestBody" in operation else [])):
                operation["responses"].setdefault(status, dict(problem))
        for name, schema in _schemas(page, path):
            if name in COUNTS:
                schema["maximum"] = max_rows
            elif name == "z":
                schema["items"]["items"] |= {"minimum": -MAX_LATENT, "maximum": MAX_LATENT}


def describe_models(page: dict[str, Any], catalog: Catalog) -> None:
    """State what the loaded models take: the default model's latents, and the priors of all of them."""
    dim = catalog.get(None).manifest.model.latent_dim
    priors = {name: None for loaded in catalog.priors.values() for name in loaded.names}
    for path in ("/decode", "/sample"):
        for name, schema in _schemas(page, path):
            if name == "z":
                schema["items"] |= {"minItems": dim, "maxItems": dim}
            elif name == "prior":
                next(one for one in (schema, *schema.get("anyOf", ())) if "enum" in one)["enum"] = list(priors)


def _schemas(page: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, schema) of the parameters of a path's operations, in the query and in bodies."""
    for operation in page["paths"][path].values():
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query" and "schema" in parameter:
                yield parameter["name"], parameter["schema"]
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield from content["schema"].get("properties", {}).items()
