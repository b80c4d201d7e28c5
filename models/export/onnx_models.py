"""Graphs of a checkpoint -> ONNX models that say what they are, compared with torch before they are written.

Knows nothing of commands.
"""

import json
from typing import Any

import numpy as np
import torch

from models.checkpoint import Checkpoint
from models.export.graphs import ITEMS, Graph
from models.onnx_graph import is_installed, onnx_bytes, onnx_runtime
from models.program import first_line

# Largest allowed difference from torch's answers, relative and absolute.
TOLERANCE = 1e-5
# A function is traced with so many items, and compared with others: their number must not become a constant of the graph.
TRACED = 3


class ExportError(Exception):
    """The model cannot be exported; the message says why."""


def onnx_model(graph: Graph, checkpoint: Checkpoint, name: str) -> tuple[bytes, str]:
    """Return an ONNX model and a line about its inputs and outputs. Raises ExportError."""
    if not is_installed():
        raise ExportError("ONNX models need the packages onnx and onnxruntime: pip install 'vae-service[onnx]'")
    import onnx

    with torch.inference_mode():
        wanted = [answer.numpy() for answer in graph.function(*graph.examples.values())]
    traced = {key: value[:TRACED] for key, value in graph.examples.items()}
    try:
        model = onnx.load_from_string(onnx_bytes(graph.function, traced, graph.outputs, graph.steps))
        onnx.helper.set_model_props(model, _said(checkpoint, name))
        for output, own in zip(model.graph.output, wanted, strict=True):  # The exporter does not know all sizes.
            sizes = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ["batch", *own.shape[1:]])
            output.type.CopyFrom(sizes)
        content: bytes = model.SerializeToString()
        session = _session(content)
        answers = session.run(None, {key: value.numpy() for key, value in graph.examples.items()})
    except Exception as error:  # exporter and runtime raise many unrelated types
        raise ExportError(
            f"ONNX cannot hold the {graph.name} of this model; nothing was written: {first_line(error)}"
        ) from error
    for output, found, own in zip(graph.outputs, answers, wanted, strict=True):
        away = np.abs(found - own) / (1 + np.abs(own))
        if not (away <= TOLERANCE).all():  # NaN fails this comparison too.
            raise ExportError(
                f"{output} of the {graph.name} differs from torch's answers for {ITEMS} items by up to "
                f"{np.nanmax(away, initial=0):.2g}, {TOLERANCE:g} is allowed; nothing was written"
            )
    return content, f"{_listed(session.get_inputs())} -> {_listed(session.get_outputs())}"


def _session(content: bytes) -> Any:
    """Return a session of ONNX Runtime, which does not print the errors that it also raises."""
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    return runtime.InferenceSession(content, options, ["CPUExecutionProvider"])


def _said(checkpoint: Checkpoint, name: str) -> dict[str, str]:
    """Return the metadata: which model it is, and what its callers must do before and after."""
    model, spec = checkpoint.manifest.model, checkpoint.manifest.preprocessing
    return {
        "name": name,
        "digest": checkpoint.digest,
        "kind": model.kind,
        "preprocessing": json.dumps(spec.stored()),
        **({"condition": json.dumps(model.stored()["condition"])} if model.condition else {}),
    }


def _listed(arguments: Any) -> str:
    """Return the names, types and shapes of inputs or outputs."""
    return ", ".join(
        f"{one.name} {one.type.removeprefix('tensor(').removesuffix(')')} ({', '.join(map(str, one.shape))})"
        for one in arguments
    )
