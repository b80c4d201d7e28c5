"""Make the examples of the OpenAPI page fit the loaded models: their names, and the sizes of their latents.

/docs fills its fields with these examples, and each of them works when it is sent.
"""

from typing import Any

from service.inference.catalog import Catalog
from service.rest.components import operations
from service.rest.kinds import wire_of

LATENTS = ("z", "mu", "sigma")
COMPLETE = "/complete"


def fit_examples(page: dict[str, Any], catalog: Catalog) -> None:
    """Write the default model into the examples, and latents of its size; /admin unloads and loads another one, if any."""
    default = catalog.default
    dim = catalog.get(None).latent_dim
    others = [name for name in catalog.models if name != default]
    for operation in operations(page):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "model":
                parameter["schema"]["examples"] = [default]
            elif parameter["in"] == "path" and operation["tags"] == ["models"]:
                parameter["example"] = default
            elif parameter["in"] == "path" and operation["tags"] == ["admin"]:
                reloaded = operation["operationId"] == "reload_model"
                parameter["example"] = default if reloaded else next(iter(others), parameter["example"])
        for content in operation.get("requestBody", {}).get("content", {}).values():
            if "example" in content:
                content["example"] = _fitted(content["example"], default, dim)
    for operation in page["paths"].get(COMPLETE, {}).values():
        _continue(operation, catalog)


def _continue(operation: dict[str, Any], catalog: Catalog) -> None:
    """Let the example of /complete begin something that a loaded model can continue, if there is one."""
    model = next((loaded for loaded in catalog.models.values() if loaded.kind.steps), None)
    if model is not None:
        begun = model.manifest.preprocessing.items(model.kind.begun)
        example = {"model": model.name, wire_of(model).many: begun, "n": 2, "seed": 7}
        operation["requestBody"]["content"]["application/json"]["example"] = example
        for parameter in operation["parameters"]:
            if parameter["name"] == "model":
                parameter["schema"]["examples"] = [model.name]


def _fitted(example: Any, model: str, dim: int) -> Any:
    """Return an example with another model, and with latents of `dim` numbers."""
    if isinstance(example, list):
        return [_fitted(one, model, dim) for one in example]
    if not isinstance(example, dict):
        return example
    fitted = {name: _fitted(value, model, dim) for name, value in example.items()}
    if "model" in fitted:
        fitted["model"] = model
    for name in (name for name in LATENTS if name in fitted):
        rows = fitted[name]
        fitted[name] = [_row(row, dim) for row in rows] if isinstance(rows[0], list) else _row(rows, dim)
    return fitted


def _row(row: list[float], dim: int) -> list[float]:
    """Return `dim` numbers: those of the row, and the last of them again."""
    return [*row, *[row[-1]] * dim][:dim]
