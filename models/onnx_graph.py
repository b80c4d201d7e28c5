"""A function of tensors -> an ONNX model. Both the service, at its start, and `python -m models.export` make theirs here.

Knows nothing of VAEs.
"""

import io
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

Function = Callable[..., Tensor | tuple[Tensor, ...]]


def is_installed() -> bool:
    """Return whether the optional packages of the extra `onnx` are installed."""
    return find_spec("onnxruntime") is not None and find_spec("onnx") is not None


def onnx_runtime() -> Any:
    """Return the module `onnxruntime`."""
    # From version 1.29 on, ONNX Runtime writes an identifier into the home directory and reports processes and models to its
    # maker, unless this variable is set before the first import.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def onnx_bytes(function: Function, examples: Mapping[str, Tensor], outputs: Sequence[str], steps: Sequence[str] = ()) -> bytes:
    """Return an ONNX model that computes a function. Raises what torch's exporter raises, which is many unrelated types.

    `examples` are its inputs by name, and `outputs` names what it returns. The first axis of all is the batch, of any size;
    the second axis of the inputs `steps` has any size, too.
    """
    file = io.BytesIO()
    axes = {name: {0: "batch", 1: "steps"} if name in steps else {0: "batch"} for name in (*examples, *outputs)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, but the new one takes ten times as long
        torch.onnx.export(
            _Module(function),
            tuple(examples.values()),
            file,  # type: ignore[arg-type]
            input_names=list(examples),
            output_names=list(outputs),
            dynamic_axes=axes,
            dynamo=False,
        )
    return file.getvalue()


class _Module(nn.Module):
    """A function wrapped as a module, which the exporter needs."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self._function = function

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Call the function."""
        return self._function(*inputs)
