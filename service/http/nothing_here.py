"""The error for a path without an endpoint; it says where those of the same door are listed."""

from service.http.problems import HttpError

# The first part of paths -> what lists its endpoints, which are not on the OpenAPI page.
LISTED = {
    "v2": "docs/open-inference.md lists those of the Open Inference Protocol",
    "diffusers": "docs/diffusers.md lists those of /diffusers",
    "explore": "docs/explore.md describes the page at /explore",
}
BY_DEFAULT = "/docs lists all endpoints"


class NothingHere(HttpError):
    """The path does not exist, whatever the key."""

    status, code = 404, "not_found"

    def __init__(self, path: str, root_path: str = "") -> None:
        """`root_path`: the beginning of the path under which a proxy shows the service."""
        door = path.removeprefix(root_path).strip("/").partition("/")[0]
        super().__init__(f"there is no endpoint at {path}; {LISTED.get(door, BY_DEFAULT)}")
