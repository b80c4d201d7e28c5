"""What the service says of itself, and of each model: metadata and configuration, as the protocol has them."""

from typing import Any

from service.inference.catalog import Catalog
from service.inference.served_model import ServedModel
from service.open_inference.answers import VERSION
from service.open_inference.operations.operation import Operation

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "statistics",
)
# The names that the protocol has for them.
PLATFORMS = {"onnx": "onnx_onnxv1", "torch": "pytorch_torchscript"}
BACKENDS = {"onnx": "onnxruntime", "torch": "pytorch"}


def of_server(version: str) -> dict[str, Any]:
    """Return the metadata of the service."""
    return {"name": "vae-service", "version": version, "extensions": EXTENSIONS}


def of_model(name: str, model: ServedModel, operation: Operation) -> dict[str, Any]:
    """Return the metadata of a model: what requests must and may send, and what is answered unless they name outputs."""
    return {
        "name": name,
        "versions": [VERSION],
        "platform": PLATFORMS[model.engine],
        "inputs": [one.metadata() for one in operation.inputs(model)],
        "outputs": [one.metadata() for one in operation.outputs(model)],
    }


def config_of(catalog: Catalog, name: str, model: ServedModel, operation: Operation) -> dict[str, Any]:
    """Return the configuration of a model. `max_batch_size` is how many items a request may have."""
    device = catalog.device
    parameters = {
        "loaded_model": model.label,
        "outputs_on_request": ", ".join(one.name for one in operation.on_request(model)),
        "request_parameters": ", ".join(sorted(operation.parameters(model))),
        "rows_per_batch": str(device.limits.max_batch),
    }
    return {
        "name": name,
        "platform": PLATFORMS[model.engine],
        "backend": BACKENDS[model.engine],
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": device.limits.max_rows,
        "input": [one.config() | {"optional": one.optional} for one in operation.inputs(model)],
        "output": [one.config() for one in operation.outputs(model)],
        "instance_group": [
            {"name": name, "kind": "KIND_CPU" if device.torch_device.type == "cpu" else "KIND_GPU", "count": 1}
        ],
        "dynamic_batching": {"preferred_batch_size": [device.limits.max_batch], "max_queue_delay_microseconds": 0},
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }
