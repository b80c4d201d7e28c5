"""What the OpenAPI page says of keys: how they are presented, what each operation needs, how it refuses. Knows no key."""

from collections.abc import Mapping
from typing import Any

from service.http.access.guard import ANY, Access

SCHEMES: Mapping[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "X-API-Key: KEY"},
    "basic": {"type": "http", "scheme": "basic", "description": "the key as password, whatever the user"},
}


def describe_access(page: dict[str, Any], access: Access, problem: Mapping[str, Any]) -> None:
    """Add it to the page. `problem`: what stands there of a problem body."""
    page.setdefault("components", {})["securitySchemes"] = dict(SCHEMES)
    for path, methods in page["paths"].items():
        scope = access.scope_of(path)
        if not scope:
            continue
        for operation in methods.values():
            operation["security"] = [{scheme: []} for scheme in SCHEMES]
            needed = "Needs a key." if scope == ANY else f"Needs a key with the scope `{scope}`."
            operation["description"] = f"{operation.get('description', '')}\n\n{needed}".strip()
            for status in ("401", "429") if scope == ANY else ("401", "403", "429"):
                operation["responses"].setdefault(status, dict(problem))
