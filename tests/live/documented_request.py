"""The requests that Swagger UI makes when nothing but Execute is pressed: all values are examples of the OpenAPI document."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

Document = dict[str, Any]


@dataclass(frozen=True)
class DocumentedRequest:
    """The request of an operation. `path` has its query; `body` is what its JSON says."""

    operation: str
    method: str
    path: str
    accept: str
    content_type: str | None
    body: Any


def documented_requests(document: Document) -> list[DocumentedRequest]:
    """Return the requests of all operations, in the order of the page: by tags, and then as in the document."""
    found: dict[str, list[DocumentedRequest]] = {tag["name"]: [] for tag in document["tags"]}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            found[operation["tags"][0]].append(_request(path, method, operation))
    return [request for requests in found.values() for request in requests]


def _request(path: str, method: str, operation: dict[str, Any]) -> DocumentedRequest:
    query: dict[str, Any] = {}
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        if parameter["in"] == "path":
            path = path.replace(f"{{{name}}}", quote(str(parameter["example"]), safe=""))
        elif parameter.get("example", "") != "":
            query[name] = parameter["example"]
        elif "content" in parameter:  # JSON in a query: Swagger UI fills in the smallest that has its type.
            query[name] = json.dumps({})
    bodies = operation.get("requestBody", {}).get("content", {})
    content_type = next(iter(bodies), None)
    return DocumentedRequest(
        operation=operation["operationId"],
        method=method.upper(),
        path=f"{path}?{urlencode(query)}" if query else path,
        accept=next(iter(operation["responses"]["200"]["content"])),
        content_type=content_type,
        body=bodies[content_type].get("example") if content_type else None,
    )
