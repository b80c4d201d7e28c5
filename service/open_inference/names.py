"""The names of the protocol's models: `mnist.encode` is the operation encode of the model mnist, `encode` that of the default.

Knows nothing of requests.
"""

from collections.abc import Iterator, Mapping

from service.inference.catalog import Catalog
from service.inference.served_model import ServedModel
from service.observe.printable import short
from service.open_inference.answers import VERSION
from service.open_inference.errors import NoSuchModel
from service.open_inference.operations import OPERATIONS
from service.open_inference.operations.operation import Operation
from service.suggestion import suggestion


def find(catalog: Catalog, path: Mapping[str, str]) -> tuple[str, ServedModel, Operation]:
    """Return the name, the model and the operation that a path asks for. Raises NoSuchModel."""
    name = path["model"]
    check_version(name, path)
    first, dot, last = name.rpartition(".")
    model = catalog.models.get(first if dot else catalog.default)
    operation = OPERATIONS.get(last)
    if model is None or operation is None or not operation.serves(model):
        raise NoSuchModel(_explained(catalog, name))
    return name, model, operation


def check_version(name: str, path: Mapping[str, str]) -> None:
    """Raise NoSuchModel for a version that no model has."""
    version = path.get("version", VERSION)
    if version != VERSION:
        raise NoSuchModel(f"{short(name)} has no version {short(version)}; every model has the version {VERSION} alone")


def loadable(name: str) -> str:
    """Return the name of the loaded model, or of a directory, of a model of the protocol: `mnist` of `mnist.encode`."""
    first, dot, last = name.rpartition(".")
    return first if dot and last in OPERATIONS else name


def all_names(catalog: Catalog) -> Iterator[tuple[str, ServedModel, Operation]]:
    """Yield all models of the protocol: first those of the default model without its name."""
    served = [("", catalog.models[catalog.default])] if catalog.default in catalog.models else []
    served += [(f"{name}.", model) for name, model in catalog.models.items()]
    for prefix, model in served:
        for operation in OPERATIONS.values():
            if operation.serves(model):
                yield f"{prefix}{operation.name}", model, operation


def _explained(catalog: Catalog, name: str) -> str:
    if name in catalog.models:
        own = [f"{name}.{one.name}" for one in OPERATIONS.values() if one.serves(catalog.models[name])]
        return f"ask {short(name)} for one of its operations: {', '.join(own)}"
    known = [found for found, _, _ in all_names(catalog)]
    hint = suggestion(name, known, f"there are, for example, {', '.join(known[:4])}.")
    return f"no model {short(name)} is served; {hint} GET /v2/models lists all of them"
