"""Triton with its dynamic batching and its Python backend; V2 inference protocol, each picture is a BYTES element.

A second model, `encode`, takes pixels as a tensor.

The server and the backend come from the package nvidia-pytriton. Run as a script, this module writes a model
repository and replaces itself by the server, whose backend imports the model from here.
"""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import task

INSTANCES = 1
CONFIG = f"""
backend: "python"
max_batch_size: {task.MAX_BATCH}
input {{ name: "images" data_type: TYPE_STRING dims: [1] }}
output [
  {{ name: "mu" data_type: TYPE_FP32 dims: [-1] }},
  {{ name: "sigma" data_type: TYPE_FP32 dims: [-1] }}
]
instance_group {{ count: {INSTANCES} kind: KIND_CPU }}
dynamic_batching {{ max_queue_delay_microseconds: {round(1e6 * task.WAIT_SECONDS)} }}
"""

TENSOR_CONFIG = f"""
backend: "python"
max_batch_size: {task.MAX_BATCH}
input {{ name: "image" data_type: TYPE_UINT8 dims: [28, 28, 1] }}
output [
  {{ name: "mu" data_type: TYPE_FP32 dims: [-1] }},
  {{ name: "sigma" data_type: TYPE_FP32 dims: [-1] }}
]
instance_group {{ count: {INSTANCES} kind: KIND_CPU }}
dynamic_batching {{ max_queue_delay_microseconds: 0 }}
"""


class TritonPythonModel:
    """The Triton model: pictures in, posteriors out, all requests of a batch at once."""

    def initialize(self, _arguments: dict[str, str]) -> None:
        self.vae = task.load()

    def execute(self, requests: list[Any]) -> list[Any]:
        import triton_python_backend_utils as triton  # It exists only in the backend's process.

        images = [triton.get_input_tensor_by_name(request, "images").as_numpy()[:, 0] for request in requests]
        mu, sigma = task.encode(self.vae, [task.pixels(image) for image in np.concatenate(images)])
        ends = np.cumsum([len(rows) for rows in images])[:-1]
        parts = zip(*(np.split(np.array(rows, np.float32), ends) for rows in (mu, sigma)), strict=True)
        return [
            triton.InferenceResponse([triton.Tensor("mu", mean), triton.Tensor("sigma", deviation)])
            for mean, deviation in parts
        ]


class TensorModel:
    """The same for pixels, (N, H, W, 1). Requests bring whole batches, so nothing waits for more."""

    def initialize(self, _arguments: dict[str, str]) -> None:
        self.vae = task.load()

    def execute(self, requests: list[Any]) -> list[Any]:
        import triton_python_backend_utils as triton  # It exists only in the backend's process.

        blocks = [triton.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        mu, sigma = task.encode_arrays(self.vae, np.concatenate(blocks)[..., 0][:, None])
        ends = np.cumsum([len(block) for block in blocks])[:-1]
        parts = zip(np.split(mu, ends), np.split(sigma, ends), strict=True)
        return [
            triton.InferenceResponse([triton.Tensor("mu", mean), triton.Tensor("sigma", deviation)])
            for mean, deviation in parts
        ]


def main(port: str) -> None:
    """Replace this process by a server of this model."""
    site = Path(sysconfig.get_path("purelib"))
    triton = site / "pytriton" / "tritonserver"
    home = Path(tempfile.mkdtemp())
    # The backend's process uses neither PYTHONPATH nor the virtual environment.
    paths = [str(site), str(Path(__file__).resolve().parent), *os.environ["PYTHONPATH"].split(os.pathsep)]
    for name, config, model in (("vae", CONFIG, "TritonPythonModel"), ("encode", TENSOR_CONFIG, "TensorModel")):
        version = home / "models" / name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(config)
        program = f"import sys\n\nsys.path[:0] = {paths}\nfrom triton_peer import {model} as TritonPythonModel\n"
        (version / "model.py").write_text(program)
    # The binary is built per Python version, and finds its libraries relative to its real path.
    backend = home / "backends" / "python"
    backend.mkdir(parents=True)
    stub = triton / "python_backend_stubs" / sysconfig.get_python_version()
    for file in (stub / "triton_python_backend_stub", *(triton / "backends" / "python").iterdir()):
        (backend / file.name).symlink_to(file)
    libraries = [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH", "")]
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries))}
    arguments = [
        f"--model-repository={home / 'models'}",
        f"--backend-directory={home / 'backends'}",
        f"--http-port={port}",
        "--http-address=127.0.0.1",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--log-info=false",
    ]
    server = triton / "bin" / "tritonserver"
    os.execve(server, [str(server), *arguments], environment)


if __name__ == "__main__":
    main(sys.argv[1])
