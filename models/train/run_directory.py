"""What lies in a run's directory beside state and log: its explanation, and weights at log-spaced steps.

Knows nothing of objectives or of how training goes.
"""

import hashlib
import json
import os
import platform
import resource
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.files.atomic_file import write_atomically
from models.files.regular_file import read_regular

README = "README.md"
SNAPSHOTS = "snapshots"
MAX_SNAPSHOTS = 24
PACKAGES = ("torch", "numpy", "pillow", "safetensors", "vae-service")

FILES = """
| file | what it is |
|---|---|
| `../config.json`, `../model.safetensors` | the checkpoint: the best weights so far, for `models.load` and the service |
| `metrics.jsonl` | a line of JSON for every epoch: nats per picture, the ELBO and its terms always at beta = 1 |
| `samples-NNNN.png` | the same draws from the prior after epochs 1, 2, 4, 8, ... and the last |
| `snapshots/STEP.safetensors` | weights after so many steps, log-spaced: `models.checkpoint.read_weights` |
| `tensorboard/` | the log again, for TensorBoard (with `--tensorboard`) |
| `state.safetensors` | all that `--resume` needs: raw and averaged weights, optimiser, generators, position, arguments |

In the log, `train` is the mean over the epoch's steps with the weights as they moved; `validation` is measured after it with
the weights that are saved, the averaged ones with `--ema`. `loss` is what was minimised, `beta` the weight that the KL had in
it, `bound` the importance-weighted one. `skipped_steps` counts steps without effect because their loss was not finite.
`images_per_second` is of the steps alone; `peak_memory_mb` of the whole process, on a GPU of torch's tensors there.
"""


def snapshot_steps(steps: int) -> frozenset[int]:
    """0, and up to 23 more from 1 to `steps`, their logarithms evenly spaced."""
    intervals = MAX_SNAPSHOTS - 2
    return frozenset({0, *(round(steps ** (i / intervals)) for i in range(intervals + 1))})


def snapshot_path(directory: Path, step: int) -> Path:
    """Where the weights after so many steps lie in a run's directory."""
    return directory / SNAPSHOTS / f"{step:08d}.safetensors"


def data_digest(x: Tensor) -> str:
    """SHA-256, hexadecimal, over the shape and the bytes of pictures, uint8 (N, C, H, W)."""
    digest = hashlib.sha256(repr(tuple(x.shape)).encode())
    digest.update(np.ascontiguousarray(x.cpu().numpy()).data)
    return digest.hexdigest()


def peak_memory_mb(device: torch.device) -> float:
    """The most memory that was taken so far: by tensors on a GPU, otherwise by the process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def explain(directory: Path, command: str, facts: Mapping[str, str], arguments: Mapping[str, Any], step: int) -> None:
    """Write README.md into a run's directory; a resumed run adds its command and versions to it. Raises OSError."""
    path = directory / README
    versions = "; ".join([f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in PACKAGES)])
    here = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    if step and path.exists():
        lines = [read_regular(path).decode().rstrip(), "", f"Resumed after step {step}: `{command}` ({versions}; {here})", ""]
    else:
        lines = [
            "# A training run of models.train",
            "",
            f"```sh\n{command}\n```",
            "",
            *(f"- {name}: {value}" for name, value in {**facts, "versions": versions, "machine": here}.items()),
            FILES,
            f"All arguments:\n\n```json\n{json.dumps(dict(arguments), indent=2)}\n```",
            "",
        ]
    write_atomically(path, "\n".join(lines).encode(), durable=False)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
