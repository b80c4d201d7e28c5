"""Which model a request names. Knows nothing of models, and does without PyTorch, which each proxy would import with it."""

from urllib.parse import parse_qs, unquote

from service.asgi import Scope

# Serve routes a request by this header; it takes hyphens for underscores.
MODEL_HEADER = b"serve_multiplexed_model_id"
MODEL_PATH = "/models/"


def model_of(path: str, scope: Scope) -> str | None:
    """Return the model that the head of a request names: in its query, in its path, or in Serve's header."""
    named = parse_qs(scope["query_string"].decode("latin-1")).get("model")
    if named:
        return str(named[-1])
    if path.startswith(MODEL_PATH):
        return unquote(path.removeprefix(MODEL_PATH).partition("/")[0]) or None
    for name, value in scope["headers"]:
        if name.replace(b"-", b"_") == MODEL_HEADER:
            return str(value.decode("latin-1"))
    return None
